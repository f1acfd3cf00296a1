import { setImmediate } from "node:timers/promises";
import type { Page, RunFilter, Store, StoredRun } from "./store.ts";

/** So many runs are in memory at one time; one may be as large as a webhook's body may. */
const PAGE_SIZE = 50;

/** All runs that fit, newest first, page by page, until the signal aborts. Between pages everybody else gets their turn. */
export async function* pagesOf(
  store: Pick<Store, "runs">,
  filter: RunFilter,
  signal: AbortSignal,
): AsyncGenerator<StoredRun[], void> {
  let after: Page["after"];
  while (!signal.aborted) {
    const rows = await store.runs(filter, { limit: PAGE_SIZE, ...(after ? { after } : {}) });
    if (rows.length > 0) yield rows;
    const last = rows.at(-1)?.state.run;
    if (last === undefined || rows.length < PAGE_SIZE) return;
    after = { at: last.received_at, id: last.run_id };
    await setImmediate();
  }
}
