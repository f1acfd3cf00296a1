/** The configured database beside a running relay, for commands that look at it. */
import { existsSync } from "node:fs";
import type { Config } from "../config.ts";
import { openSqliteReadOnly } from "../store/database.ts";
import { SCHEMA_VERSION, versionOf } from "../store/migrate.ts";
import { createSqlStore } from "../store/sql.ts";
import type { Store } from "../store/store.ts";
import { EXIT, type Shell } from "./command.ts";

export interface ReadingParts {
  /** The command's, to open what it says on standard error. */
  name: string;
  config: Pick<Config, "database">;
  shell: Pick<Shell, "stderr">;
}

/** Opens, does `work` and closes, writing nothing. Resolves with its exit code, or with 1 after saying why it could not. */
export async function reading(
  { name, config, shell }: ReadingParts,
  work: (store: Store) => Promise<number>,
): Promise<number> {
  const wrong = (message: string): number => {
    shell.stderr(`skyvern-relay ${name}: ${message}\n`);
    return EXIT.failed;
  };
  const { path } = config.database;
  if (path === ":memory:") return wrong("DATABASE_URL is in memory, which no other process can reach");
  if (!existsSync(path)) return wrong(`there is no database at ${path}: no relay has run on it yet`);
  try {
    const database = openSqliteReadOnly(path);
    try {
      const version = await versionOf(database);
      if (version !== SCHEMA_VERSION) {
        const other = `the database has schema version ${version}, this release ${SCHEMA_VERSION}`;
        return wrong(`${other}: use the release that the relay runs`);
      }
      return await work(createSqlStore(database));
    } finally {
      await database.close();
    }
  } catch (error) {
    return wrong(`the database ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
}
