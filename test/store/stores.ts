import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MessageChannel } from "node:worker_threads";
import { openSqlite, type Database } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { openPostgres } from "../../src/store/postgres.ts";
import { createSqlStore, type SqlStore } from "../../src/store/sql.ts";
import { serveOperations } from "../../src/store/sqlite-thread.ts";
import type { Deciding } from "../../src/store/store.ts";
import { threadedStore, type Port } from "../../src/store/threaded.ts";
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
export const stores: Record<string, () => Promise<SqlStore>> = Object.fromEntries(
  Object.entries(databases)
    .filter(([name]) => process.env["RELAY_TEST_STORES"]?.includes(name) ?? true)
    .map(([name, open]) => [name, async () => createSqlStore(await open())]),
);

/**
 * As a relay has SQLite, a file that another thread writes, but for the thread: messages go to and fro between two ends of a channel in this
 * one, so that code that decides can be asked on the other side.
 */
export async function openBehindMessages(): Promise<SqlStore & { path: string }> {
  const folder = mkdtempSync(join(tmpdir(), "relay-"));
  const path = join(folder, "relay.db");
  const reader = openSqlite(path, { exclusive: true });
  await migrate(reader);
  await reader.script(reader.db, "pragma query_only = ON");
  const { port1, port2 } = new MessageChannel();
  const asked = new Map<number, Parameters<SqlStore[keyof Deciding]>>();
  serveOperations(port2, path, (operations) => ({
    decide: async (name: keyof Deciding, number: number) =>
      (operations[name] as (...given: readonly unknown[]) => Promise<unknown>)(...(asked.get(number) ?? [])),
  }));
  const ended = new Promise<void>((resolve) => port1.once("close", resolve));
  const { store, call } = threadedStore(reader, port1 as unknown as Port, ended);
  const deciding = (name: keyof Deciding) => {
    return (...given: Parameters<SqlStore[typeof name]>) => {
      asked.set(asked.size, given);
      return call("decide", [name, asked.size - 1]) as Promise<never>;
    };
  };
  const close = async () => {
    await store.close();
    rmSync(folder, { recursive: true, force: true });
  };
  const decided = { accept: deciding("accept"), adopt: deciding("adopt"), revise: deciding("revise") };
  return { ...store, ...decided, close, path };
}

/** The same, and what differs only in how it is opened. */
export const storesAsOpened: typeof stores = { ...stores, "sqlite behind messages": openBehindMessages };
