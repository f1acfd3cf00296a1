import type { Log } from "../platform/log.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { ReceiptStore } from "../store/contract/receipts.ts";
import type { Intake } from "./intake.ts";

export interface RereadDeps {
  store: Pick<ReceiptStore, "unrecognizedReceipts" | "body">;
  intake: Pick<Intake, "reread">;
  /** The organization of a key, by the key's name. */
  organizationOf(keyName: string | null): string | null;
  runtime: Pick<Runtime, "now">;
  log: Log;
}

/** The newest receipts that are read again. Many releases have failed to recognize older ones. */
const LIMIT = 1_000;

/** Reads unrecognized receipts again, because a newer release may recognize them. Returns how many it recognized. */
export async function rereadUnrecognized({ store, intake, organizationOf, runtime, log }: RereadDeps): Promise<number> {
  let adopted = 0;
  // Oldest first, in the order of their arrival.
  for (const receipt of (await store.unrecognizedReceipts(LIMIT)).toReversed()) {
    const body = await store.body(receipt.id);
    if (body === null) continue;
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
    if (reread.kind === "unchanged") continue;
    const { runId, error } = reread;
    // A receipt that crashes a release must not keep it from starting.
    if (reread.kind === "crashed") log.error("receipt.crashed", { receipt_id: receipt.id, run_id: runId, error });
    else {
      adopted += 1;
      log.info("receipt.recognized", { receipt_id: receipt.id, run_id: runId });
    }
  }
  return adopted;
}
