import type { Log } from "../log.ts";
import { toReport, type Links } from "../report.ts";
import type { Artifact, ArtifactsStatus, Outcome, Run } from "../run.ts";
import type { Evidence } from "../sinks/evidence.ts";
import type { Sink } from "../sinks/sink.ts";
import type { Claimed, FoundArtifacts } from "../store/store.ts";
import { traceparentOf } from "../trace.ts";

export interface AttemptParts {
  /** The run's artifacts, within its own budget; never fails. `found`: what is new of them, to be saved with the attempt. */
  enrich(
    claimed: Claimed,
    signal: AbortSignal,
  ): Promise<{ artifacts: Artifact[]; status: ArtifactsStatus; found?: FoundArtifacts }>;
  /** What there is to show about a run; nothing is read before a sink asks. */
  evidence?(run: Run, artifacts: readonly Artifact[]): Evidence;
  links: Links;
  /** Whether sinks get the trace along: somebody collects it. */
  traced?: boolean;
  /** What a sink gets to answer, ms. */
  timeoutMs: number;
  log: Log;
}

export interface Attempted {
  outcome: Outcome;
  found?: FoundArtifacts;
}

/** One attempt: enrich → sink.deliver under a deadline → Outcome. Never throws: a bug in a sink is logged and retried. */
export type Attempt = (claimed: Claimed, sink: Sink, signal: AbortSignal) => Promise<Attempted>;

export function createAttempt({ enrich, evidence, links, traced = false, timeoutMs, log }: AttemptParts): Attempt {
  return async (claimed, sink, signal) => {
    const { delivery, maybeSent, state, previous } = claimed;
    let more: Pick<Attempted, "found"> = {};
    try {
      const { artifacts, status, found } = await enrich(claimed, signal);
      if (found) more = { found };
      if (signal.aborted) {
        return { outcome: { kind: "retry", reason: "the relay was stopped before the message was sent" }, ...more };
      }
      const { run, revision } = state;
      const report = toReport({ run, revision, artifacts, artifactsStatus: status }, links);
      const { id: deliveryId, attempts: attempt, cause } = delivery;
      const shown = evidence ? { evidence: evidence(state.run, artifacts) } : {};
      const context = traced ? { traceparent: traceparentOf(delivery.run_id, deliveryId, attempt) } : {};
      const job = { deliveryId, attempt, cause, maybeSent, report, previous, ...shown, ...context };
      const deadline = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      return { outcome: await sink.deliver(job, deadline), ...more };
    } catch (error) {
      log.error("delivery.crashed", {
        delivery_id: delivery.id,
        run_id: delivery.run_id,
        sink: sink.name,
        error: error instanceof Error ? (error.stack ?? error.message) : String(error),
      });
      const reason = "the relay met a bug in this sink; its log has the details";
      return { outcome: { kind: "retry", unknown: true, reason }, ...more };
    }
  };
}
