/**
 * How many runs are read at one time: as many as were asked for, but of large ones only so many bytes. A run may be as
 * large as a webhook's body, and two hundred of those would not fit into a small machine.
 */
import { sql, type Selectable } from "kysely";
import type { Database } from "./database.ts";
import type { Dialect } from "./statements.ts";
import { storedState, type Stored } from "./states.ts";
import type { Tables } from "./tables.ts";

type Source = Pick<Database, "db" | "dialect">;

/** Of the states of one page, as JSON. One run alone may be larger. */
export const PAGE_BYTES = 8 * 1024 * 1024;
/** States up to this come with the list; larger ones are read one by one, once it is known that there is room. */
const WITH_LIST_BYTES = 64 * 1024;

export type WholeRow = Pick<Selectable<Tables["runs"]>, "run_id" | "artifacts_status"> & { state: Stored };

/** What a list selects of `runs` instead of the state. */
export const stateColumns = (dialect: Dialect) =>
  [
    sql<Stored | null>`case when runs.state_bytes <= ${sql.lit(WITH_LIST_BYTES)} then ${storedState(dialect)} end`.as(
      "state",
    ),
    sql<number | null>`runs.state_bytes`.as("bytes"),
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
  source: Source,
  rows: readonly (Omit<WholeRow, "state"> & { state: Stored | null })[],
): Promise<(WholeRow | null)[]> {
  const whole: (WholeRow | null)[] = [];
  for (const row of rows) {
    const state = row.state ?? (await stateOf(source, row.run_id));
    whole.push(state === null ? null : { ...row, state });
  }
  return whole;
}

async function stateOf({ db, dialect }: Source, runId: string): Promise<Stored | null> {
  const own = db.selectFrom("runs").select(storedState(dialect).as("state")).where("run_id", "=", runId);
  return (await own.executeTakeFirst())?.state ?? null;
}
