import type { Source, Verdict } from "../domain/run.ts";
import { receiptSpanOf, revisionSpanOf, traceIdOf, type Span, type Trace } from "./trace.ts";

/** The result of a receipt as its span shows it. */
interface StoredReceipt {
  accepted: { runId: string | null; verdict: Verdict; revision: number | null; deliveries: number };
  receiptId: string;
}

/** The span of a durable receipt. An unrecognized receipt has no run, and so no span. */
export function traceReceipt(
  trace: Trace,
  { accepted: { runId, verdict, revision, deliveries }, receiptId }: StoredReceipt,
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
