/** Opens the configured database beside a running relay, for commands that read it. */
import { errorText } from "../platform/error-text.ts";
import type { Config } from "../config/config.ts";
import type { Database } from "../store/database.ts";
import { SCHEMA_VERSION, readVersion } from "../store/schema/migrate.ts";
import { describeDatabase } from "../store/address.ts";
import { openDatabase, unreachable } from "../store/open.ts";
import { createSqlStore } from "../store/sql-store.ts";
import type { Store } from "../store/store.ts";
import { complain, EXIT, type Shell } from "./command.ts";

export interface ReadDatabaseInput {
  /** The name of the command, which opens its messages on standard error. */
  name: string;
  config: Pick<Config, "database">;
  shell: Pick<Shell, "stderr">;
}

/**
 * Opens the database for reading, runs `work`, and closes it. Resolves with the exit code of `work`, or 1 after
 * printing why the database could not be read.
 */
export const withDatabase = (input: ReadDatabaseInput, work: (store: Store) => Promise<number>): Promise<number> =>
  using(input, "read", (database) => work(createSqlStore(database)));

/** The same for a command that writes beside a running relay. */
export async function using(
  { name, config, shell }: ReadDatabaseInput,
  how: "beside" | "read",
  work: (database: Database) => Promise<number>,
): Promise<number> {
  const wrong = (message: string): number => complain(shell, name)(EXIT.failed, message);
  const missing = unreachable(config.database);
  if (missing !== null) return wrong(missing);
  try {
    const database = await openDatabase(config.database, how);
    try {
      const version = await readVersion(database);
      if (version !== SCHEMA_VERSION) {
        const other = `the database has schema version ${version}, this release ${SCHEMA_VERSION}`;
        return wrong(`${other}: use the release that the relay runs`);
      }
      return await work(database);
    } finally {
      await database.close();
    }
  } catch (error) {
    // A fault of disk, lock or connection. What was written before it is complete.
    const why = errorText(error);
    return wrong(how === "read" ? `the database ${describeDatabase(config.database)} cannot be read: ${why}` : why);
  }
}
