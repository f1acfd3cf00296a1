import type { Source } from "../run.ts";
import type { Taken } from "./intake.ts";
import { receiptSpanOf, revisionSpanOf, traceIdOf, type Span, type Trace } from "../trace.ts";

/** The span of a receipt that is on disk. What was not understood is of no run, and has none. */
export function traceReceipt(
  trace: Trace,
  { accepted: { runId, verdict, revision, deliveries }, receiptId }: Taken & { kind: "taken" },
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
