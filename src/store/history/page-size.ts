/**
 * How many runs are read at one time: as many as were asked for, but large ones only up to a number of bytes. A run may
 * be as large as a webhook's body, and two hundred of those would not fit into a small machine.
 */
import { sql, type RawBuilder, type Selectable } from "kysely";
import type { Database } from "../database.ts";
import type { Tables } from "../tables.ts";

type RowSource = Pick<Database, "db">;

/** The most bytes of the states of one page, as JSON. A single run may be larger. */
export const PAGE_BYTES = 8 * 1024 * 1024;
/** Smaller states come with the list. Larger ones are read one by one, once it is known that they fit. */
const WITH_LIST_BYTES = 64 * 1024;

/** The block that holds the state of a selected run. */
export const stateBlock: RawBuilder<Uint8Array> = sql`(select block from receipts where receipts.id = runs.state_receipt)`;

export type WholeRow = Pick<Selectable<Tables["runs"]>, "run_id" | "artifacts_status" | "artifacts"> & {
  block: Uint8Array;
};

/** What a list selects of `runs` instead of the state. */
export const STATE_COLUMNS = [
  sql<Uint8Array | null>`case when runs.state_bytes <= ${sql.lit(WITH_LIST_BYTES)} then ${stateBlock} end`.as("block"),
  sql<number | null>`runs.state_bytes`.as("bytes"),
] as const;

/** How many of the first rows form one page: at least one, if there is any. */
export function pageLength(rows: readonly { bytes: number | null }[]): number {
  let total = 0;
  for (const [i, { bytes }] of rows.entries()) {
    total += bytes ?? 0;
    if (total > PAGE_BYTES && i > 0) return i;
  }
  return rows.length;
}

/** The same rows with their states; null for a run that was removed meanwhile. */
export async function wholeRows(
  source: RowSource,
  rows: readonly (Omit<WholeRow, "block"> & { block: Uint8Array | null })[],
): Promise<(WholeRow | null)[]> {
  const whole: (WholeRow | null)[] = [];
  for (const row of rows) {
    const block = row.block ?? (await readBlock(source, row.run_id));
    whole.push(block === null ? null : { ...row, block });
  }
  return whole;
}

async function readBlock({ db }: RowSource, runId: string): Promise<Uint8Array | null> {
  const own = db.selectFrom("runs").select(stateBlock.as("block")).where("run_id", "=", runId);
  return (await own.executeTakeFirst())?.block ?? null;
}
