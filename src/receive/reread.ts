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

/** Reads unrecognized receipts again, because a newer release may recognize them. Returns how many it recognized. */
export async function rereadUnrecognized(deps: RereadDeps): Promise<number> {
  let adopted = 0;
  // In the order of their arrival: the oldest page first.
  for (const after of (await pageStarts(deps.store)).toReversed()) {
    const page = await deps.store.unrecognizedReceipts({ limit: PAGE, ...after });
    adopted += await rereadAll(deps, page.toReversed());
  }
  return adopted;
}

/** Where each page begins, the newest page first. */
async function pageStarts(store: RereadDeps["store"]): Promise<Pick<Page, "after">[]> {
  const starts: Pick<Page, "after">[] = [{}];
  for (;;) {
    const last = (await store.unrecognizedReceipts({ limit: PAGE, ...starts.at(-1) })).at(PAGE - 1);
    if (last === undefined) return starts;
    starts.push({ after: { at: last.received_at, id: last.id } });
  }
}

async function rereadAll(
  { store, intake, organizationOf, runtime, log }: RereadDeps,
  receipts: readonly Receipt[],
): Promise<number> {
  let adopted = 0;
  for (const receipt of receipts) {
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
