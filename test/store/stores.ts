import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqlite, type Database } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { openPostgres } from "../../src/store/postgres.ts";
import { createSqlStore } from "../../src/store/sql.ts";
import { openSqliteThreaded } from "../../src/store/threaded.ts";
import type { Store } from "../../src/store/store.ts";
import { emptyDatabase, newDatabase } from "../support/postgres.ts";

/** Every database there is, migrated and empty: a suite that promises something runs on each. */
export const databases: Record<string, () => Promise<Database>> = {
  sqlite: async () => {
    const database = openSqlite(":memory:", { exclusive: true });
    await migrate(database);
    return database;
  },
  postgres: async () => {
    const url = free.pop() ?? (await newDatabase());
    const database = await openPostgres(url);
    const close = async () => {
      await database.close();
      await emptyDatabase(url);
      free.push(url);
    };
    return { ...database, close };
  },
};

/** Of this worker, empty: that is sooner made than a new one. */
const free: string[] = [];

/** Every Store there is, empty; of those that `RELAY_TEST_STORES` names, when it names some. */
export const stores: Record<string, () => Promise<Store>> = Object.fromEntries(
  Object.entries(databases)
    .filter(([name]) => process.env["RELAY_TEST_STORES"]?.includes(name) ?? true)
    .map(([name, open]) => [name, async () => createSqlStore(await open())]),
);

/** As a relay opens SQLite: a file, written in a thread. The same SQL, so what is promised beyond single operations is tried without. */
export async function openThreaded(): Promise<Database> {
  const folder = mkdtempSync(join(tmpdir(), "relay-"));
  const database = openSqliteThreaded(join(folder, "relay.db"));
  await migrate(database);
  const close = async () => {
    await database.close();
    rmSync(folder, { recursive: true });
  };
  return { ...database, close };
}

/** The same, and what differs only in how it is opened. */
export const storesAsOpened: typeof stores = {
  ...stores,
  "sqlite in a thread": async () => createSqlStore(await openThreaded()),
};
