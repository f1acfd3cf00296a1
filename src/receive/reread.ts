import type { Log } from "../log.ts";
import { parsePayload } from "../skyvern/payload.ts";
import { StorageFault, type Store } from "../store/store.ts";
import { mask, runArrival, type ReceiveParts } from "./receive.ts";

export interface RereadParts extends ReceiveParts {
  store: Pick<Store, "accept" | "keptReceipts" | "body" | "adopt">;
  /** The organization of a key, by its name. */
  organizationOf(keyName: string | null): string | null;
  log: Log;
}

/** Newest first; what is older than this many was not understood by many releases. */
const LIMIT = 1_000;

/** Reads what was kept again: a newer release may understand it. Returns how many it did. */
export async function rereadKept(parts: RereadParts): Promise<number> {
  const { store, redact, runtime } = parts;
  let adopted = 0;
  // Oldest first, as they came.
  for (const receipt of (await store.keptReceipts(LIMIT)).toReversed()) {
    const body = await store.body(receipt.id);
    if (body === null) continue;
    const parsed = parsePayload(mask(Buffer.from(body), redact).masked);
    if (parsed.kind !== "run") continue;
    const run = runArrival(parts, parsed.payload, {
      receivedAt: receipt.received_at,
      source: receipt.source,
      channel: receipt.channel,
      organization: parts.organizationOf(receipt.key_name),
    });
    try {
      if (!(await store.adopt(receipt.id, parsed.payload.status, run, runtime.now()))) continue;
      adopted += 1;
      parts.log.info("receipt.adopted", { receipt_id: receipt.id, run_id: run.id });
    } catch (error) {
      if (error instanceof StorageFault) throw error;
      // What a release crashes on must not keep it from starting.
      parts.log.error("receipt.crashed", { receipt_id: receipt.id, run_id: run.id, error: String(error) });
    }
  }
  return adopted;
}
