import type { Log } from "../platform/log.ts";
import { toReport, type Links } from "../domain/report.ts";
import type { Outcome, Run, RunState } from "../domain/run.ts";
import { attemptEventId, runAtAttempt } from "../domain/run-attempt.ts";
import type { Evidence } from "../sinks/attachments.ts";
import type { Sink } from "../sinks/sink.ts";
import type { Claimed, FoundArtifacts } from "../store/contract/outbox.ts";
import type { KnownArtifacts } from "../store/contract/runs.ts";
import { traceparentOf } from "../telemetry/trace.ts";
import { sendOnce } from "../sinks/send-once.ts";

export interface AttemptDeps {
  /**
   * What Skyvern's API says of the run beside its result, within its own time budget; never fails. `found` holds what
   * is new, to be saved with the attempt.
   */
  enrich(claimed: Claimed, signal: AbortSignal): Promise<Enriched>;
  /** Access to the run's pictures and files; nothing is read before a sink asks. */
  evidence?(run: Run, known: KnownArtifacts): Evidence;
  links: Links;
  /** Sinks get the trace context, because traces are collected. */
  traced?: boolean;
  /** How long a sink may take to answer, ms. */
  timeoutMs: number;
  log: Log;
}

/** `state`: where the run is known better now than when it was claimed. */
export interface Enriched {
  known: KnownArtifacts;
  found?: FoundArtifacts;
  state?: RunState;
}

export interface Attempted {
  outcome: Outcome;
  /** The revision that the message shows, where that is a later one than was claimed. */
  revision?: number;
  found?: FoundArtifacts;
}

/** Makes one attempt: enrich → sink.deliver under a deadline → Outcome. Never throws. */
export type Attempt = (claimed: Claimed, sink: Sink, signal: AbortSignal) => Promise<Attempted>;

export function createAttempt({ enrich, evidence, links, traced = false, timeoutMs, log }: AttemptDeps): Attempt {
  return async (claimed, sink, signal) => {
    const { delivery, maybeSent, state, previous } = claimed;
    const { id: deliveryId, run_id: runId, attempts: attempt, cause, created_at: queuedAt } = delivery;
    let more: Pick<Attempted, "found" | "revision"> = {};
    const context = traced ? { traceparent: traceparentOf(runId, deliveryId, attempt) } : {};
    const same = { attempt, cause, queuedAt, maybeSent, previous, begun: delivery.receipt, ...context };
    const prepareRunAttempt = () => {
      const { run, revision } = state;
      more = { revision: delivery.revision };
      const known = { artifacts: [], status: "pending" } as const;
      const report = toReport({ run: runAtAttempt(run, delivery.revision), revision, known }, links);
      return { ...same, report, attemptEventId: attemptEventId(runId, delivery.revision) };
    };
    const prepareRun = async () => {
      const { known, found, state: later } = await enrich(claimed, signal);
      more = { ...(found ? { found } : {}), ...(later ? { revision: later.revision } : {}) };
      const { run, revision } = later ?? state;
      const report = toReport({ run, revision, known }, links);
      const shown = evidence ? { evidence: evidence(run, known) } : {};
      return { ...same, report, ...shown };
    };
    const prepare = delivery.subject === "attempt" ? prepareRunAttempt : prepareRun;
    const outcome = await sendOnce({ sink, deliveryId, runId, prepare, timeoutMs, signal, log });
    return { outcome, ...more };
  };
}
