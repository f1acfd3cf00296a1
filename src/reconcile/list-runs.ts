/** Skyvern's own list of runs, read down to a point in time. */
import type { Rows, SkyvernRunRow, RunsQuery } from "../skyvern/client.ts";
import type { SkyvernFault, SkyvernResult } from "../skyvern/api-call.ts";

/** Skyvern's limits (contract §4). */
export const PAGE_SIZE = 100;
export const MAX_PAGES = 100;

export interface RunListing {
  /** Newest first, each run once. */
  rows: SkyvernRunRow[];
  /** Why it is not the whole list, null when it is. */
  fault: SkyvernFault | null;
}

export interface ListingQuery extends Omit<RunsQuery, "page" | "pageSize"> {
  /** Created then or later, epoch ms. */
  since: number;
  /** No page is read after the first one that has one of these runs. */
  knownFrom?: ReadonlyMap<string, unknown>;
}

/** Pages shift while runs are added, so rows may come twice: they count once, as they were seen last. */
export async function listRuns(
  ask: (query: RunsQuery) => Promise<SkyvernResult<Rows<SkyvernRunRow>>>,
  { since, knownFrom, ...query }: ListingQuery,
): Promise<RunListing> {
  const rows = new Map<string, SkyvernRunRow>();
  let last: number | null = null;
  for (let page = 1; page <= MAX_PAGES; page += 1) {
    const answer = await ask({ ...query, page, pageSize: PAGE_SIZE });
    if (!answer.ok) return { rows: [...rows.values()], fault: answer.fault };
    for (const row of answer.value.rows) if ((row.created_at ?? Infinity) >= since) rows.set(row.run_id, row);
    last = answer.value.rows.at(-1)?.created_at ?? last;
    const isFull = answer.value.rows.length + answer.value.skipped >= PAGE_SIZE;
    const isMet = knownFrom !== undefined && answer.value.rows.some(({ run_id }) => knownFrom.has(run_id));
    if (!isFull || isMet || (last ?? Infinity) < since) return { rows: [...rows.values()], fault: null };
  }
  const down = last === null ? "" : `; runs created before ${new Date(last).toISOString()} are not listed`;
  const reason = `Skyvern's list has more than ${MAX_PAGES} pages${down}`;
  return { rows: [...rows.values()], fault: { kind: "unexpected", status: null, reason } };
}
