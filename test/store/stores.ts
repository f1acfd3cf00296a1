import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSqlite, type Database } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { emptyDatabase, newDatabase } from "../support/postgres.ts";

const all: Record<string, () => Promise<Database>> = {
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

/**
 * Every database there is, migrated and empty: a suite that promises something runs on each; of those that
 * `RELAY_TEST_STORES` names, when it names some.
 */
export const databases: typeof all = Object.fromEntries(
  Object.entries(all).filter(([name]) => process.env["RELAY_TEST_STORES"]?.includes(name) ?? true),
);

/** Every Store there is, empty. */
export const stores: Record<string, () => Promise<Store>> = Object.fromEntries(
  Object.entries(databases).map(([name, open]) => [
    name,
    async () => createSqlStore(await open(), { recordsRestMs: 0 }),
  ]),
);

/** SQLite as a relay has it: a file with a connection that writes and one that reads. */
const openOnFile = async (): Promise<Store> => {
  const folder = mkdtempSync(join(tmpdir(), "relay-"));
  const database = openSqlite(join(folder, "relay.db"), { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database, { recordsRestMs: 0 });
  const close = async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { ...store, close };
};

/** The same, and what differs only in how it is opened. */
export const storesAsOpened: typeof stores = { ...stores, "sqlite on a file": openOnFile };
