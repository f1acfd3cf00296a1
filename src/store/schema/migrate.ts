import { sql, type Kysely } from "kysely";
import type { Database } from "../database.ts";
import { WORDS_VERSION } from "../search/text-words.ts";
import { saveSetting } from "../key-values.ts";
import type { Tables } from "../tables.ts";

/**
 * Raised with each change of schema.sql, together with a step in {@link STEPS} and a stored database to test it from.
 */
export const SCHEMA_VERSION = 3;

/** The steps from version N to N + 1, by N. Version 1 was never released and has no step. */
const STEPS: Record<number, string> = {
  2: "ALTER TABLE receipts ADD COLUMN labels TEXT",
};

/**
 * Brings the database to this version's schema, each step in one transaction; several relays that start at once take
 * turns. Throws when a newer version made the database. `progress` hears the version from which each step starts.
 */
export async function migrate(database: Database, progress: (version: number) => void = () => {}): Promise<void> {
  while (await step(database, progress));
}

/** True when another step may follow. */
const step = (database: Database, progress: (version: number) => void): Promise<boolean> =>
  database.transaction(async (tx, rows) => {
    await rows.lock("schema");
    const version = await versionIn(database, tx);
    if (version === SCHEMA_VERSION) return false;
    if (version > SCHEMA_VERSION) {
      throw new Error(
        `the database has schema version ${version}, this relay knows ${SCHEMA_VERSION}: it was used by a ` +
          "newer release",
      );
    }
    const script = version === 0 ? database.schema() : STEPS[version];
    if (script === undefined) {
      throw new Error(
        `the database has schema version ${version}, of a relay before its first release; start with a new database`,
      );
    }
    progress(version);
    await database.script(tx, script);
    await saveSetting(tx, "schema_version", String(version === 0 ? SCHEMA_VERSION : version + 1));
    if (version === 0) await saveSetting(tx, "words_version", String(WORDS_VERSION));
    return true;
  });

/** The schema's version in a database; 0 when it has none. */
export const readVersion = (database: Database): Promise<number> => versionIn(database, database.db);

async function versionIn({ dialect }: Database, db: Kysely<Tables>): Promise<number> {
  const tables =
    dialect === "sqlite"
      ? sql`select 1 from sqlite_master where type = 'table' and name = 'settings'`
      : sql`select 1 from pg_tables where schemaname = current_schema() and tablename = 'settings'`;
  if ((await tables.execute(db)).rows.length === 0) return 0;
  const row = await db.selectFrom("settings").select("value").where("name", "=", "schema_version").executeTakeFirst();
  return Number(row?.value ?? 0);
}
