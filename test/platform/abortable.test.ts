import { getEventListeners } from "node:events";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { withDeadline } from "../../src/platform/abortable.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const untilAborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));

describe("withDeadline", () => {
  it("a deadline aborts the work with a TimeoutError when its time is up", async () => {
    const failed = withDeadline(50, undefined, untilAborted).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(50);
    expect(await failed).toMatchObject({ name: "TimeoutError", message: "not done within 50 ms" });
  });

  it("a deadline aborts the work with the caller's reason as soon as the caller aborts", async () => {
    const caller = new AbortController();
    const failed = withDeadline(50, caller.signal, untilAborted).catch((error: unknown) => error);
    caller.abort("the relay stops");
    expect(await failed).toBe("the relay stops");
  });

  it("a deadline's signal is aborted from the start when the caller has aborted before", async () => {
    const work = (signal: AbortSignal) => Promise.resolve([signal.aborted, signal.reason]);
    expect(await withDeadline(50, AbortSignal.abort("gone"), work)).toEqual([true, "gone"]);
  });

  it.each([
    ["resolves", () => Promise.resolve()],
    ["rejects", () => Promise.reject(new Error("failed"))],
  ])("a deadline leaves no timer and no listener behind when the work %s", async (_how, work) => {
    const caller = new AbortController();
    const done = withDeadline(50, caller.signal, work).catch(() => {});
    expect(vi.getTimerCount()).toBe(1);
    expect(getEventListeners(caller.signal, "abort")).toHaveLength(1);
    await done;
    expect(vi.getTimerCount()).toBe(0);
    expect(getEventListeners(caller.signal, "abort")).toHaveLength(0);
  });
});
