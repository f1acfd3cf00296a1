import type { Log } from "../platform/log.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Receipt, ReceiptStore } from "../store/contract/receipts.ts";
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

/**
 * Reads unrecognized receipts again, because a newer release may recognize them. Returns how many it recognized. When
 * `signal` aborts, the others wait for the next time.
 */
export async function rereadUnrecognized(deps: RereadDeps, signal: AbortSignal): Promise<number> {
  // In the order of their arrival. What arrives from now on was read by this release.
  const [newest] = await deps.store.unrecognizedReceipts({ limit: 1 });
  let adopted = 0;
  let after = { at: 0, id: "" };
  for (let left = newest !== undefined; left;) {
    const page = await deps.store.unrecognizedReceipts({ limit: PAGE, after, oldestFirst: true });
    for (const receipt of page) {
      if (signal.aborted || receipt.received_at > (newest?.received_at ?? 0)) return adopted;
      if (await rereadOne(deps, receipt)) adopted += 1;
      after = { at: receipt.received_at, id: receipt.id };
    }
    left = page.length === PAGE;
  }
  return adopted;
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
