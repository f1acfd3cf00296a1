/**
 * Whose a run is, asked of Skyvern: it shows a run to the keys of its organization alone. Receipts of an organization
 * that did not speak for the run so far wait for that.
 */
import type { RereadDeps } from "../receive/reread.ts";
import type { JsonObject } from "../platform/json.ts";
import type { Organization } from "../domain/run.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { SkyvernFault } from "../skyvern/api-call.ts";
import type { ReceiptStore } from "../store/contract/receipts.ts";

/** Skyvern's answers to each organization about a run. */
export interface OwnerAnswers {
  /** GET run, as each organization was answered to whose keys the run was shown. */
  answers: Map<Organization, JsonObject>;
  /** Why it is not known of every organization; null when it is. */
  fault: SkyvernFault | null;
}

/**
 * Asks about a run with each key, one request at a time. Once a key of an organization was answered, its other keys are
 * skipped. `first` stops as soon as one organization is shown the run.
 */
export async function askEachKey(
  client: SkyvernClient,
  runId: string,
  signal: AbortSignal,
  { first = false } = {},
): Promise<OwnerAnswers> {
  const answers: OwnerAnswers["answers"] = new Map();
  let fault: SkyvernFault | null = null;
  for (const [organization, keys] of Map.groupBy(client.perKey(), (key) => key.organization)) {
    let unknown: SkyvernFault | null = null;
    for (const { client: one } of keys) {
      const answer = await one.with({ tries: 1 }).getRun(runId, signal);
      if (answer.ok) {
        answers.set(organization, answer.value);
        if (first) return { answers, fault: null };
        unknown = null;
        break;
      }
      // Keys with an unknown organization may belong to several, so each of them is used.
      if (answer.fault.kind === "not_found" && organization !== null) {
        unknown = null;
        break;
      }
      if (answer.fault.kind !== "not_found") unknown = answer.fault;
    }
    fault ??= unknown;
  }
  return { answers, fault };
}

export interface OwnersDeps extends Omit<RereadDeps, "store"> {
  store: Pick<ReceiptStore, "receipts" | "body">;
  client: SkyvernClient;
  /** Called when deliveries may have been queued. */
  nudge(): void;
}

/** `settled` counts the settled receipts. `asked` is false when Skyvern could not say. */
export interface DisputeResult {
  settled: number;
  asked: boolean;
}

/** Settles the disputed receipts of a run once Skyvern has said for each key whether it shows the run. */
export async function settleDispute(deps: OwnersDeps, runId: string, signal: AbortSignal): Promise<DisputeResult> {
  const { store, intake, client, organizationOf, runtime, log, nudge } = deps;
  const disputed = (await store.receipts(runId)).filter(({ verdict }) => verdict === "disputed");
  if (disputed.length === 0) return { settled: 0, asked: true };
  const { answers, fault } = await askEachKey(client, runId, signal);
  if (fault !== null) {
    log.warn("dispute.not_settled", { run_id: runId, receipts: disputed.length, reason: fault.reason });
    return { settled: 0, asked: false };
  }
  const shownTo = [...answers.keys()];
  let settled = 0;
  for (const receipt of disputed) {
    const body = await store.body(receipt.id);
    if (body === null) continue;
    // Skyvern's API showed the answer to one of the relay's keys, so it belongs to the organizations that are shown the
    // run now.
    const organization = receipt.source === "webhook" ? organizationOf(receipt.key_name) : (shownTo[0] ?? null);
    const { received_at: receivedAt, source, channel, labels } = receipt;
    const now = runtime.now();
    const unsettled = { receiptId: receipt.id, body, receivedAt, source, organization, shownTo, channel, labels, now };
    const reread = await intake.reread(unsettled);
    if (reread.kind === "crashed")
      log.error("receipt.crashed", { receipt_id: receipt.id, run_id: runId, error: reread.error });
    if (reread.kind === "adopted") settled += 1;
  }
  log.warn("dispute.settled", { run_id: runId, shown_to: shownTo, receipts: settled });
  if (settled > 0) nudge();
  return { settled, asked: true };
}
