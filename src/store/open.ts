import { existsSync } from "node:fs";
import { openSqlite, openSqliteReadOnly, type Database } from "./database.ts";
import { IN_MEMORY, isInMemory, type DatabaseSettings } from "./address.ts";
import { openPostgres } from "./postgres/postgres.ts";

/** Why no other process than the relay can use the database, or null. For PostgreSQL only opening it shows that. */
export function unreachable(settings: DatabaseSettings): string | null {
  if (settings.kind === "postgres") return null;
  if (isInMemory(settings)) return IN_MEMORY;
  return existsSync(settings.path) ? null : noDatabase(settings.path);
}

export const noDatabase = (path: string): string =>
  `there is no database at ${path}, as no relay has run on it yet: start one there, or correct DATABASE_URL`;

/**
 * `onCorrupt` is called whenever a statement finds that a SQLite file is damaged. How a database is opened:
 *
 * - `relay`: creates what is missing; on SQLite by this process alone, else DatabaseInUse.
 * - `patient`: the same for long work: migrating, copying.
 * - `beside`: writes while a relay may be running.
 * - `read`: writes nothing.
 */
export async function openDatabase(
  settings: DatabaseSettings,
  how: "relay" | "patient" | "beside" | "read",
  onCorrupt?: () => void,
): Promise<Database> {
  if (settings.kind === "postgres")
    return openPostgres(settings.url.reveal(), { readOnly: how === "read", patient: how === "patient" });
  const { path } = settings;
  if (how === "read") return openSqliteReadOnly(path);
  return openSqlite(path, { exclusive: how !== "beside", ...(onCorrupt ? { onCorrupt } : {}) });
}
