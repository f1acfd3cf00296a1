import type { Accepted, Arrival } from "../store/store.ts";
import { receiptSpanOf, revisionSpanOf, traceIdOf, type Span, type Trace } from "../trace.ts";

/** Notes which revision a receipt comes to while it is decided. Null when it is not decided: the same bytes again, or no run. */
export function revisionOf(arrival: Arrival): { arrival: Arrival; revision(): number | null } {
  let revision: number | null = null;
  const { run } = arrival;
  if (run === null) return { arrival, revision: () => null };
  const decide: typeof run.decide = (known) => {
    const decision = run.decide(known);
    revision = decision.state.revision;
    return decision;
  };
  return { arrival: { ...arrival, run: { ...run, decide } }, revision: () => revision };
}

/** The span of a receipt that is on disk. What was not understood is of no run, and has none. */
export function traceReceipt(
  trace: Trace,
  { receipt }: Arrival,
  { runId, verdict, deliveries }: Accepted,
  {
    kind,
    revision,
    startedAt,
    finishedAt,
  }: Pick<Span, "kind" | "startedAt" | "finishedAt"> & { revision: number | null },
): void {
  if (trace === null || runId === null) return;
  const isNews = revision !== null && ["accepted", "updated", "corrected"].includes(verdict);
  trace({
    traceId: traceIdOf(runId),
    spanId: isNews ? revisionSpanOf(runId, revision) : receiptSpanOf(receipt.id),
    parentSpanId: null,
    link: null,
    name: kind === "server" ? "webhook.received" : "run.ingested",
    kind,
    startedAt,
    finishedAt,
    attributes: {
      "skyvern.run_id": runId,
      "skyvern_relay.receipt_id": receipt.id,
      "skyvern_relay.verdict": verdict,
      "skyvern_relay.source": receipt.source,
      "skyvern_relay.revision": revision,
      "skyvern_relay.deliveries": deliveries,
    },
    error: null,
  });
}
