import type { Log } from "../platform/log.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { ReceiptStore } from "../store/contract/receipts.ts";
import type { Intake } from "./intake.ts";

export interface RereadDeps {
  store: Pick<ReceiptStore, "unrecognizedReceipts" | "body">;
  intake: Pick<Intake, "reread">;
  /** The organization of a key, by its name. */
  organizationOf(keyName: string | null): string | null;
  runtime: Pick<Runtime, "now">;
  log: Log;
}

/** Newest first; what is older than this many was not understood by many releases. */
const LIMIT = 1_000;

/** Reads unrecognized receipts again, as a newer release may recognize them. Returns how many it recognized. */
export async function rereadUnrecognized({ store, intake, organizationOf, runtime, log }: RereadDeps): Promise<number> {
  let adopted = 0;
  // Oldest first, as they came.
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
      now: runtime.now(),
    });
    if (reread.kind === "unchanged") continue;
    const { runId, error } = reread;
    // What a release crashes on must not keep it from starting.
    if (reread.kind === "crashed") log.error("receipt.crashed", { receipt_id: receipt.id, run_id: runId, error });
    else {
      adopted += 1;
      log.info("receipt.recognized", { receipt_id: receipt.id, run_id: runId });
    }
  }
  return adopted;
}
