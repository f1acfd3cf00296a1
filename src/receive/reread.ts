import type { Log } from "../platform/log.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Receipt, ReceiptStore } from "../store/contract/receipts.ts";
import type { Page } from "../store/contract/runs.ts";
import type { Intake } from "./intake.ts";

export interface RereadDeps {
  store: Pick<ReceiptStore, "unrecognizedReceipts" | "body">;
  intake: Pick<Intake, "reread">;
  /** The organization of a key, by the key's name. */
  organizationOf(keyName: string | null): string | null;
  runtime: Pick<Runtime, "now">;
  log: Log;
}

/** Receipts in memory at once. */
const PAGE = 1_000;

type Place = NonNullable<Page["after"]>;

/**
 * Reads unrecognized receipts again, because a newer release may recognize them. Returns how many it recognized. When
 * `signal` aborts, the others wait for the next time.
 */
export async function rereadUnrecognized(deps: RereadDeps, signal: AbortSignal): Promise<number> {
  let adopted = 0;
  // In the order of their arrival: the oldest page first.
  for (const after of (await pageStarts(deps.store, signal)).toReversed()) {
    const page = await deps.store.unrecognizedReceipts({ limit: PAGE, after });
    for (const receipt of page.toReversed()) {
      if (signal.aborted) return adopted;
      if (await rereadOne(deps, receipt)) adopted += 1;
    }
  }
  return adopted;
}

/** Where each page begins, the newest page first. What arrives from now on is on none of them, and so moves none. */
async function pageStarts(store: RereadDeps["store"], signal: AbortSignal): Promise<Place[]> {
  const [newest] = await store.unrecognizedReceipts({ limit: 1 });
  const starts: Place[] = [];
  let after: Place | null = newest ? { at: newest.received_at + 1, id: "" } : null;
  while (after !== null && !signal.aborted) {
    starts.push(after);
    const last: Receipt | undefined = (await store.unrecognizedReceipts({ limit: PAGE, after })).at(PAGE - 1);
    after = last ? { at: last.received_at, id: last.id } : null;
  }
  return starts;
}

/** True when it was recognized. */
async function rereadOne(
  { store, intake, organizationOf, runtime, log }: RereadDeps,
  receipt: Receipt,
): Promise<boolean> {
  const body = await store.body(receipt.id);
  if (body === null) return false;
  const reread = await intake.reread({
    receiptId: receipt.id,
    body,
    receivedAt: receipt.received_at,
    source: receipt.source,
    organization: organizationOf(receipt.key_name),
    channel: receipt.channel,
    labels: receipt.labels,
    now: runtime.now(),
  });
  if (reread.kind === "unchanged") return false;
  const { runId, error } = reread;
  if (reread.kind === "adopted") {
    log.info("receipt.recognized", { receipt_id: receipt.id, run_id: runId });
    return true;
  }
  // A receipt that crashes a release must not keep it from starting.
  log.error("receipt.crashed", { receipt_id: receipt.id, run_id: runId, error });
  return false;
}
