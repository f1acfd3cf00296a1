import { expect, it } from "vitest";
import { sendOnce } from "../../src/sinks/send-once.ts";
import type { Log } from "../../src/platform/log.ts";
import type { Job, Sink } from "../../src/sinks/sink.ts";
import { aReport } from "./a-report.ts";

const lines: unknown[][] = [];
const keep = (...line: unknown[]) => void lines.push(line);
const log: Log = { debug: keep, info: keep, warn: keep, error: keep };

const send = (deliver: Sink["deliver"], more: Partial<Parameters<typeof sendOnce>[0]> = {}) =>
  sendOnce({
    sink: { name: "ops", kind: "test", deliver },
    deliveryId: "dlv_1",
    runId: "tsk_1",
    prepare: () => ({ attempt: 1, cause: "result", queuedAt: 0, maybeSent: false, report: aReport(), previous: null }),
    timeoutMs: 5_000,
    log,
    ...more,
  });

const whenAborted = (signal: AbortSignal) =>
  new Promise<unknown>((resolve) => signal.addEventListener("abort", () => resolve(signal.reason)));

it("sending once answers what the sink answers, and gives it the delivery's id", async () => {
  const jobs: Job[] = [];
  const outcome = await send(async (job) => (jobs.push(job), { kind: "delivered", receipt: { status: 200 } }));
  expect(outcome).toEqual({ kind: "delivered", receipt: { status: 200 } });
  expect(jobs).toMatchObject([{ deliveryId: "dlv_1", cause: "result" }]);
});

it("sending once aborts the sink's signal when the time is over, and when the relay stops", async () => {
  const reasons: unknown[] = [];
  const waiting: Sink["deliver"] = async (_job, signal) => {
    reasons.push(await whenAborted(signal));
    return { kind: "retry", reason: "cut short" };
  };
  await send(waiting, { timeoutMs: 5 });
  const stopping = new AbortController();
  const sent = send(waiting, { signal: stopping.signal });
  setTimeout(() => stopping.abort("stopped"), 5);
  await sent;
  expect(reasons).toEqual([expect.objectContaining({ name: "TimeoutError" }), "stopped"]);
});

it("sending once sends nothing when the relay was stopped before", async () => {
  const outcome = await send(() => Promise.reject(new Error("it was sent")), { signal: AbortSignal.abort() });
  expect(outcome).toEqual({ kind: "retry", reason: "the relay was stopped before the message was sent" });
});

it.each([
  ["the sink", () => send(() => Promise.reject(new Error("a bug")))],
  [
    "what makes the message",
    () =>
      send(async () => ({ kind: "delivered", receipt: {} }), {
        prepare: () => {
          throw new Error("a bug");
        },
      }),
  ],
])("a bug in %s is logged and retried, not knowing whether it was sent", async (_what, act) => {
  lines.length = 0;
  expect(await act()).toMatchObject({ kind: "retry", unknown: true });
  expect(lines).toMatchObject([
    [
      "delivery.crashed",
      { delivery_id: "dlv_1", run_id: "tsk_1", sink: "ops", error: expect.stringContaining("a bug") },
    ],
  ]);
});
