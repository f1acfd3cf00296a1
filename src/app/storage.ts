/** Opens the storage of a relay. */
import { errorText } from "../platform/error-text.ts";
import type { Config } from "../config/config.ts";
import { describeDatabase } from "../store/address.ts";
import type { Database } from "../store/database.ts";
import { migrate } from "../store/schema/migrate.ts";
import { openDatabase } from "../store/open.ts";
import { createSqlStore } from "../store/sql-store.ts";
import type { Store } from "../store/store.ts";

export interface RelayStorage {
  store: Store;
  /** Set where other relays may use the database too; null when this is the only one. */
  shared: Database | null;
}

/**
 * Opens the database and creates or migrates it. Rejects, naming the database, when it is in use or cannot be opened.
 */
export async function openStorage(settings: Config["database"], onCorrupt?: () => void): Promise<RelayStorage> {
  try {
    const database = await openMigrated(settings, onCorrupt);
    return { store: createSqlStore(database), shared: database.session ? database : null };
  } catch (error) {
    const why = errorText(error);
    throw new Error(`the database ${describeDatabase(settings)} cannot be opened: ${why}`, { cause: error });
  }
}

async function openMigrated(settings: Config["database"], onCorrupt?: () => void): Promise<Database> {
  const database = await openDatabase(settings, "patient", onCorrupt);
  try {
    await migrate(database);
  } catch (error) {
    await database.close();
    throw error;
  }
  if (settings.kind === "sqlite") return database;
  await database.close();
  return openDatabase(settings, "relay");
}
