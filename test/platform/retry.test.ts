import { expect, it } from "vitest";
import { retry } from "../../src/platform/retry.ts";

/** Acts that come to these results one after the other, on a clock that only waits move. */
function anAct(results: readonly string[]) {
  const waits: number[] = [];
  let acts = 0;
  const act = async () => results[acts++] ?? "no more";
  const sleep = async (ms: number) => void waits.push(ms);
  return { act, sleep, waits, acts: () => acts };
}
const schedule = (result: string, tried: number) => (result === "good" ? null : ([10, 20][tried - 1] ?? null));

it("retrying answers the first result that is final", async () => {
  const { act, sleep, waits } = anAct(["bad", "good", "never"]);
  expect(await retry({ act, sleep, waitMs: schedule })).toBe("good");
  expect(waits).toEqual([10]);
});

it("retrying answers the last result when the schedule is used up", async () => {
  const { act, sleep, waits } = anAct(["bad", "worse", "worst", "never"]);
  expect(await retry({ act, sleep, waitMs: schedule })).toBe("worst");
  expect(waits).toEqual([10, 20]);
});

it("retrying acts once when the signal has aborted, and waits for nothing", async () => {
  const { act, sleep, waits, acts } = anAct(["bad"]);
  expect(await retry({ act, sleep, waitMs: schedule, signal: AbortSignal.abort() })).toBe("bad");
  expect([waits, acts()]).toEqual([[], 1]);
});

it("retrying does not act again when the signal aborts while it waits", async () => {
  const ending = new AbortController();
  const { act, acts } = anAct(["bad", "good"]);
  const sleep = async () => ending.abort();
  expect(await retry({ act, sleep, waitMs: schedule, signal: ending.signal })).toBe("bad");
  expect(acts()).toBe(1);
});

it("retrying passes on what the act throws", async () => {
  const act = () => Promise.reject(new Error("a bug"));
  await expect(retry({ act, sleep: async () => {}, waitMs: () => 1 })).rejects.toThrow("a bug");
});
