/** Reports an attempt beside its record: a log line, metrics and a span. */
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { isoTime } from "../platform/time.ts";
import type { Claimed, FinishedAttempt } from "../store/contract/outbox.ts";
import { attemptSpanOf, revisionSpanOf, traceIdOf, type Trace } from "../telemetry/trace.ts";

export interface ReportAttemptDeps {
  log: Log;
  metrics: Metrics;
  /** Null or absent when no traces are collected. */
  trace?: Trace;
}

export function logAttempt(
  { metrics, log }: ReportAttemptDeps,
  { delivery, state }: Claimed,
  attempt: FinishedAttempt,
): void {
  const { outcome, sink, n, startedAt, finishedAt, nextAttemptAt } = attempt;
  metrics.attempts.inc({ sink, outcome: outcome.kind });
  metrics.attemptSeconds.observe({ sink }, (finishedAt - startedAt) / 1000);
  const fields = {
    delivery_id: delivery.id,
    run_id: delivery.run_id,
    trace_id: traceIdOf(delivery.run_id),
    revision: state.revision,
    sink,
    kind: delivery.kind,
    cause: delivery.cause,
    attempt: n,
    outcome: outcome.kind,
    reason: outcome.reason ?? null,
    ms: finishedAt - startedAt,
    next_attempt_at: isoTime(nextAttemptAt),
  };
  if (outcome.kind === "delivered") {
    metrics.deliverySeconds.observe({ sink }, (finishedAt - delivery.created_at) / 1000);
    if (outcome.reason === undefined) log.info("delivery.attempted", fields);
    else log.warn("delivery.attempted", fields);
  } else log.warn("delivery.attempted", fields);
  if (outcome.kind === "dead") log.error("delivery.died", fields);
}

export function traceAttempt(trace: Trace, { delivery }: Claimed, attempt: FinishedAttempt): void {
  if (trace === null) return;
  const { outcome, sink, n, startedAt, finishedAt } = attempt;
  trace({
    traceId: traceIdOf(delivery.run_id),
    spanId: attemptSpanOf(delivery.id, n),
    parentSpanId: revisionSpanOf(delivery.run_id, delivery.revision),
    link: n > 1 ? attemptSpanOf(delivery.id, n - 1) : null,
    name: "delivery.attempted",
    kind: "client",
    startedAt,
    finishedAt,
    attributes: {
      "skyvern.run_id": delivery.run_id,
      "skyvern_relay.delivery_id": delivery.id,
      "skyvern_relay.sink": sink,
      "skyvern_relay.sink_kind": delivery.kind,
      "skyvern_relay.cause": delivery.cause,
      "skyvern_relay.attempt": n,
      "skyvern_relay.outcome": outcome.kind,
    },
    error: outcome.kind === "delivered" ? null : outcome.reason,
  });
}
