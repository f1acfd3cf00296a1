import { setImmediate } from "node:timers/promises";
import type { Page, RunFilter, RunPage, RunStore, StoredRun } from "../contract/runs.ts";

/** So many runs are in memory at one time, or fewer that are large. */
const PAGE_SIZE = 50;

/** All runs that fit, newest first, page by page, until the signal aborts. Between pages everybody else gets their turn. */
export async function* readPages(
  store: Pick<RunStore, "runs">,
  filter: RunFilter,
  signal: AbortSignal,
): AsyncGenerator<StoredRun[], void> {
  for (let after: Page["after"] | null = null; !signal.aborted;) {
    const { runs, next }: RunPage = await store.runs(filter, { limit: PAGE_SIZE, ...(after ? { after } : {}) });
    yield runs;
    if (next === null) return;
    after = next;
    await setImmediate();
  }
}
