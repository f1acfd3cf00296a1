/**
 * Pages of an SQLite file that nothing uses any more: new rows take them first, and what is left over goes back to the file system. None stays,
 * as such a page still holds what it held: words of runs that were removed.
 */
import { sql } from "kysely";
import type { Database } from "../database.ts";

/** Gives back up to so many pages, in one transaction. Returns how many; 0 when none is free, or others see to it. */
export async function shrink(database: Database, pages: number): Promise<number> {
  if (database.dialect === "postgres" || database.isManaged) return 0;
  const { rows } = await sql<{ free: number; incremental: number }>`select
    (select freelist_count from pragma_freelist_count) as free,
    (select auto_vacuum from pragma_auto_vacuum) = 2 as incremental`.execute(database.db);
  const [now] = rows;
  if (!now || now.incremental === 0) return 0;
  const count = Math.min(pages, now.free);
  if (count <= 0) return 0;
  // A script: as a statement it would be asked for one row, and so for one page.
  await database.transaction((tx) => database.script(tx, `pragma incremental_vacuum(${count})`));
  return count;
}
