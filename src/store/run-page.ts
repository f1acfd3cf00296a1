/**
 * How many runs are read at one time: as many as were asked for, but of large ones only so many bytes. A run may be as
 * large as a webhook's body, and two hundred of those would not fit into a small machine.
 */
import { sql, type Kysely, type Selectable } from "kysely";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

/** Of the states of one page, as they are stored. One run alone may be larger. */
export const PAGE_BYTES = 8 * 1024 * 1024;
/** States up to this come with the list; larger ones are read one by one, once it is known that there is room. */
const WITH_LIST_BYTES = 64 * 1024;

export type WholeRow = Pick<Selectable<Tables["runs"]>, "run_id" | "artifacts_status" | "state">;

/** What a list selects of `runs` instead of the state. Nothing is read to know a text's length in bytes. */
export const STATE_COLUMNS = [
  sql<string | null>`case when octet_length(runs.state) <= ${sql.lit(WITH_LIST_BYTES)} then runs.state end`.as("state"),
  sql<number | null>`octet_length(runs.state)`.as("bytes"),
] as const;

/** How many of the first rows are one page: at least one, if there is any. */
export function pageLength(rows: readonly { bytes: number | null }[]): number {
  let total = 0;
  for (const [i, { bytes }] of rows.entries()) {
    total += bytes ?? 0;
    if (total > PAGE_BYTES && i > 0) return i;
  }
  return rows.length;
}

/** The same rows with their states. A run that was removed meanwhile is null. */
export async function wholeRows(
  db: Db,
  rows: readonly (Omit<WholeRow, "state"> & { state: string | null })[],
): Promise<(WholeRow | null)[]> {
  const whole: (WholeRow | null)[] = [];
  for (const row of rows) {
    const state = row.state ?? (await stateOf(db, row.run_id));
    whole.push(state === null ? null : { ...row, state });
  }
  return whole;
}

const stateOf = async (db: Db, runId: string): Promise<string | null> =>
  (await db.selectFrom("runs").select("state").where("run_id", "=", runId).executeTakeFirst())?.state ?? null;
