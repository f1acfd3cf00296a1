/** What the log and the trace say of a receipt that is on disk. */
import type { Source } from "../domain/run.ts";
import type { Accepted } from "../store/contract/receipts.ts";
import { receiptSpanOf, revisionSpanOf, traceIdOf, type Span, type Trace } from "../telemetry/trace.ts";

/** Its fields in a log line. */
export function receiptFields(accepted: Accepted) {
  const { receiptId, reportedStatus, runId, verdict, note, deliveries } = accepted;
  return {
    run_id: runId,
    trace_id: runId === null ? null : traceIdOf(runId),
    receipt_id: receiptId,
    verdict,
    note,
    status: reportedStatus,
    deliveries,
    no_delivery: whyNoDelivery(accepted),
  };
}

/** Why it caused no delivery; null when it caused some. */
function whyNoDelivery({ deliveries, verdict, note, matchedRoutes }: Accepted): string | null {
  if (deliveries > 0) return null;
  switch (verdict) {
    case "duplicate":
      return "it says nothing new";
    case "updated":
      return "the outcome is the same, and no sink asks for updates";
    case "stored":
      return note ?? "the status is not final";
    case "disputed":
      return "Skyvern has not said yet whose run it is";
    case "unrecognized":
      return "no run could be read from it";
    case "accepted":
    case "corrected":
      if (matchedRoutes === null) return note ?? "runs of the past are not delivered";
      return matchedRoutes === 0 ? "no route matched" : "no sink is configured";
  }
}

/** Its span. An unrecognized receipt has no run, and so no span. */
export function traceReceipt(
  trace: Trace,
  { receiptId, runId, verdict, revision, deliveries }: Accepted,
  { kind, source, startedAt, finishedAt }: Pick<Span, "kind" | "startedAt" | "finishedAt"> & { source: Source },
): void {
  if (trace === null || runId === null) return;
  const isNews = revision !== null && ["accepted", "updated", "corrected"].includes(verdict);
  trace({
    traceId: traceIdOf(runId),
    spanId: isNews ? revisionSpanOf(runId, revision) : receiptSpanOf(receiptId),
    parentSpanId: null,
    link: null,
    name: kind === "server" ? "webhook.received" : "run.ingested",
    kind,
    startedAt,
    finishedAt,
    attributes: {
      "skyvern.run_id": runId,
      "skyvern_relay.receipt_id": receiptId,
      "skyvern_relay.verdict": verdict,
      "skyvern_relay.source": source,
      "skyvern_relay.revision": revision,
      "skyvern_relay.deliveries": deliveries,
    },
    error: null,
  });
}
