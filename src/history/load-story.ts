/** Reads what the store has about a run, for the page, the history API and the command `why`. */
import { withRelated } from "../domain/related-runs.ts";
import type { DeliveryStore } from "../store/contract/deliveries.ts";
import type { ReceiptStore } from "../store/contract/receipts.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import type { RunStore, StoredRun } from "../store/contract/runs.ts";
import type { StatsStore } from "../store/contract/stats.ts";
import type { UnknownRun } from "./unknown-run.ts";
import type { WhyInput } from "./why.ts";

export type StoryStore = Pick<RunStore, "run" | "runs"> &
  Pick<ReceiptStore, "receipts"> &
  Pick<DeliveryStore, "deliveries" | "attempts">;

export type RunStory = Omit<WhyInput, "circuits">;

/** More than any run has. */
const MAX_DELIVERIES = 1_000;

/** The run with what other runs say of it, and what became of it, oldest first; null when it is not known. */
export async function loadStory(store: StoryStore, runId: string): Promise<RunStory | null> {
  const stored = await store.run(runId);
  if (stored === null) return null;
  const [related, receipts, newestFirst] = await Promise.all([
    loadRelated(store, stored),
    store.receipts(runId),
    store.deliveries({ runId }, { limit: MAX_DELIVERIES }),
  ]);
  const attempts = await store.attempts(newestFirst.map(({ id }) => id));
  return { stored: related, receipts, deliveries: newestFirst.toReversed(), attempts };
}

export type UnknownRunStore = Pick<ReconcileStore, "listedRun"> & Pick<StatsStore, "counts">;

/** What the store has about a run that it does not know. */
export async function loadUnknownRun(
  store: UnknownRunStore,
  runId: string,
  relay: Pick<UnknownRun, "webhookUrl" | "listEveryMs">,
): Promise<UnknownRun> {
  const [listedRun, { unrecognized }] = await Promise.all([store.listedRun(runId), store.counts()]);
  return { listedRun, unrecognized, ...relay };
}

/** The newest of them. */
const MAX_RELATED = 100;

/**
 * The run with its parent, children and retries, where only these name it. Runs of another organization's key do not
 * speak for it.
 */
async function loadRelated(store: Pick<RunStore, "runs">, row: StoredRun): Promise<StoredRun> {
  const { run, owners } = row.state;
  if (run.kind !== "workflow") return row;
  const known = owners.filter((owner) => owner !== null);
  // Runs of an owner that is known have its organization, so those of others do not fill the page.
  const organization = known.length === owners.length ? { organization: known } : {};
  const { runs } = await store.runs({ related: [run.run_id], ...organization }, { limit: MAX_RELATED });
  const others = runs.filter(({ state }) => state.owners.some((owner) => owners.includes(owner)));
  const said = others.map(({ state }) => state.run);
  return { ...row, state: { ...row.state, run: withRelated(run, said) } };
}
