/**
 * Unused pages of a SQLite file: new rows use them first, and the rest goes back to the file system. No such page is
 * left over, as it would still hold its old content: words of runs that were removed.
 */
import { sql } from "kysely";
import type { Database } from "../database.ts";

/**
 * Returns up to `pages` unused pages in one transaction. Returns how many; 0 when none is free, or the host manages
 * space.
 */
export async function shrink(database: Database, pages: number): Promise<number> {
  if (database.dialect === "postgres" || database.isManaged) return 0;
  const { rows } = await sql<{ free: number; incremental: number }>`select
    (select freelist_count from pragma_freelist_count) as free,
    (select auto_vacuum from pragma_auto_vacuum) = 2 as incremental`.execute(database.db);
  const [now] = rows;
  if (!now || now.incremental === 0) return 0;
  const count = Math.min(pages, now.free);
  if (count <= 0) return 0;
  // This is run as a script: as a statement it would be asked for one row, and return one page.
  await database.transaction((tx) => database.script(tx, `pragma incremental_vacuum(${count})`));
  return count;
}
