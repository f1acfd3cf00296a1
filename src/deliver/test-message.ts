import type { Log } from "../platform/log.ts";
import { isoTime } from "../platform/time.ts";
import { emptyReport, type Links, type Report } from "../domain/report.ts";
import type { Delivery, Outcome } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Sink } from "../sinks/sink.ts";
import type { DeliveryStore } from "../store/contract/deliveries.ts";
import { sendOnce } from "../sinks/send-once.ts";

export interface TestSendDeps {
  sinks: readonly Sink[];
  store: Pick<DeliveryStore, "saveTest">;
  links: Links;
  /** How long a sink may take to answer, ms. */
  timeoutMs: number;
  runtime: Pick<Runtime, "now" | "newId">;
  log: Log;
}

export interface SentTest {
  delivery: Delivery;
  outcome: Outcome;
  ms: number;
}

/**
 * Sends a marked test result through one sink: one immediate attempt, whose outcome is the answer.
 *
 * It does not use the outbox, because a test asks what the sink says now. In the outbox it would wait behind the
 * backlog, or for an open circuit, and be retried for a day; it would also need a run in the lists that never happened.
 * Instead it is recorded afterwards as a finished delivery. The circuit stays unchanged: only real messages and
 * `resume` change it.
 *
 * Rejects when there is no such sink.
 */
export function createTestSend(deps: TestSendDeps): (sink: string, by?: Tester) => Promise<SentTest> {
  const { store, runtime, log } = deps;
  return async (name, by = "relay") => {
    const sink = deps.sinks.find((one) => one.name === name);
    if (!sink) throw new Error(`there is no sink ${name}`);
    const runId = runtime.newId("test");
    const deliveryId = runtime.newId("dlv");
    const startedAt = runtime.now();
    const report = { ...testReport(runId, startedAt, deps.links), ...WORDS[by] };
    const prepare = () =>
      ({ attempt: 1, cause: "test", queuedAt: startedAt, maybeSent: false, report, previous: null }) as const;
    const outcome = await sendOnce({ sink, deliveryId, runId, prepare, timeoutMs: deps.timeoutMs, log });
    const finishedAt = runtime.now();
    const { kind } = sink;
    const delivery = await store.saveTest({ deliveryId, runId, sink: name, kind, startedAt, finishedAt, outcome });
    const reason = outcome.kind === "delivered" ? null : outcome.reason;
    log.info("sink.tested", { sink: name, kind, delivery_id: deliveryId, outcome: outcome.kind, reason });
    return { delivery, outcome, ms: Math.max(0, Math.round(finishedAt - startedAt)) };
  };
}

/** Who asked for the test: a user of the relay, or the test button at Skyvern. */
export type Tester = keyof typeof WORDS;

const WORDS = {
  relay: {
    title: "This sink works",
    summary: "skyvern-relay can send results of Skyvern runs here.",
  },
  skyvern: {
    title: "Test webhook of Skyvern",
    summary: "It arrived. skyvern-relay can send results of Skyvern runs here.",
  },
} as const;

/** The status is `test`: receivers that act on `run.completed` must not act on it. */
function testReport(runId: string, now: number, links: Links): Report {
  const at = isoTime(now);
  return {
    ...emptyReport(runId, "test", at),
    ...WORDS.relay,
    output: { test: true },
    // The run does not exist, so the link leads to the sinks' page.
    run_url: links.run(runId).replace(/\/runs\/[^/]*$/, "/sinks"),
  };
}
