import { setImmediate } from "node:timers/promises";
import type { Page, RunFilter, RunPage, RunStore, StoredRun } from "../contract/runs.ts";

/** The most runs in memory at one time; large runs come in smaller pages. */
const PAGE_SIZE = 50;

/**
 * Yields all matching runs, newest first, page by page, until the signal aborts. The event loop turns between pages.
 */
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
