import { existsSync } from "node:fs";
import { openSqlite, openSqliteReadOnly, type Database } from "./database.ts";
import { IN_MEMORY, isInMemory, type DatabaseSettings } from "./address.ts";
import { openPostgres } from "./postgres/postgres.ts";

/** Why another process than the relay cannot use it, or null. Whether a PostgreSQL is there, opening it shows. */
export function unreachable(settings: DatabaseSettings): string | null {
  if (settings.kind === "postgres") return null;
  if (isInMemory(settings)) return IN_MEMORY;
  return existsSync(settings.path) ? null : `there is no database at ${settings.path}: no relay has run on it yet`;
}

/**
 * - `relay`: creates what is missing; on SQLite the only one to do so, else DatabaseInUse.
 * - `patient`: the same for what takes its time: migrating, copying.
 * - `beside`: writes beside a relay that may be running.
 * - `read`: writes nothing.
 */
export async function openDatabase(
  settings: DatabaseSettings,
  how: "relay" | "patient" | "beside" | "read",
): Promise<Database> {
  if (settings.kind === "postgres")
    return openPostgres(settings.url.reveal(), { readOnly: how === "read", patient: how === "patient" });
  const { path } = settings;
  if (how === "read") return openSqliteReadOnly(path);
  return openSqlite(path, { exclusive: how !== "beside" });
}
