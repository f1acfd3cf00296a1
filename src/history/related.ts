/** Reads what other runs say of a run. */
import { withRelated } from "../domain/related-runs.ts";
import type { RunStore, StoredRun } from "../store/contract/runs.ts";

/** The newest of them. */
const MAX_RELATED = 100;

/** The run with its parent, children and retries, where only these name it. */
export async function loadRelated(store: Pick<RunStore, "runs">, row: StoredRun): Promise<StoredRun> {
  const { run } = row.state;
  if (run.kind !== "workflow") return row;
  const { runs } = await store.runs({ related: [run.run_id] }, { limit: MAX_RELATED });
  const others = runs.map(({ state }) => state.run);
  return { ...row, state: { ...row.state, run: withRelated(run, others) } };
}
