/** Reads what other runs say of a run. */
import { withRelated } from "../domain/related-runs.ts";
import type { RunStore, StoredRun } from "../store/contract/runs.ts";

/** The newest of them. */
const MAX_RELATED = 100;

/**
 * The run with its parent, children and retries, where only these name it. Runs of another organization's key do not
 * speak for it.
 */
export async function loadRelated(store: Pick<RunStore, "runs">, row: StoredRun): Promise<StoredRun> {
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
