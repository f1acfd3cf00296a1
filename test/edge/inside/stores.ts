/** In place of test/store/stores.ts inside workerd: the Store on the storage of the object that runs the case. */
import { SCHEMA } from "../../../src/edge/object.ts";
import type { Database } from "../../../src/store/database.ts";
import { durableDatabase } from "../../../src/edge/durable-database.ts";
import { migrate } from "../../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../../src/store/sql-store.ts";
import type { Store } from "../../../src/store/store.ts";
import { currentStorage } from "./storage.ts";

export const databases: Record<string, () => Promise<Database>> = {
  "durable object": async () => {
    // A case may open more than one, after the other.
    await currentStorage().deleteAll();
    const database = durableDatabase(currentStorage(), SCHEMA);
    await migrate(database);
    return database;
  },
};

export const stores: Record<string, () => Promise<Store>> = {
  "durable object": async () => createSqlStore(await (databases["durable object"] as () => Promise<Database>)()),
};

export const storesAsOpened = stores;
