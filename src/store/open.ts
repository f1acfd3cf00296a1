import { existsSync } from "node:fs";
import type { Secret } from "../secret.ts";
import { openSqlite, openSqliteReadOnly, type Database } from "./database.ts";
import { openPostgres } from "./postgres.ts";

/** Which database; `url` is a secret for the password in it. */
export type DatabaseSettings = { kind: "sqlite"; path: string } | { kind: "postgres"; url: Secret };

/** As messages call it: without user and password. */
export function nameOf(settings: DatabaseSettings): string {
  if (settings.kind === "sqlite") return settings.path;
  const { host, pathname } = new URL(settings.url.reveal());
  return `postgres://${host}${pathname}`;
}

export const isInMemory = (settings: DatabaseSettings): boolean =>
  settings.kind === "sqlite" && settings.path === ":memory:";

export const IN_MEMORY = "DATABASE_URL is in memory, which no other process can reach";

/** Why another process than the relay cannot use it, or null. Whether a PostgreSQL is there, opening it shows. */
export function unreachable(settings: DatabaseSettings): string | null {
  if (settings.kind === "postgres") return null;
  if (isInMemory(settings)) return IN_MEMORY;
  return existsSync(settings.path) ? null : `there is no database at ${settings.path}: no relay has run on it yet`;
}

/**
 * - `relay`: creates what is missing; on SQLite the only one to do so, else DatabaseInUse.
 * - `beside`: writes beside a relay that may be running.
 * - `read`: writes nothing.
 */
export function openDatabase(settings: DatabaseSettings, how: "relay" | "beside" | "read"): Promise<Database> {
  if (settings.kind === "postgres") return openPostgres(settings.url.reveal(), { readOnly: how === "read" });
  const { path } = settings;
  return Promise.resolve(how === "read" ? openSqliteReadOnly(path) : openSqlite(path, { exclusive: how === "relay" }));
}
