import type { Database } from "./database.ts";

/** Raised with each change of schema.sql, together with a step in {@link STEPS}. */
export const SCHEMA_VERSION = 1;

/** What brings a database of version N to N + 1, by N. */
const STEPS: Record<number, string> = {};

/** Brings the database to this version's schema, each step in one transaction. Throws when it is from a newer version. */
export async function migrate(database: Database): Promise<void> {
  let version = await versionOf(database);
  if (version > SCHEMA_VERSION) {
    throw new Error(
      `the database has schema version ${version}, this relay knows ${SCHEMA_VERSION}: it was used by a newer release`,
    );
  }
  if (version === 0) {
    await step(database, database.schema(), SCHEMA_VERSION);
    return;
  }
  for (; version < SCHEMA_VERSION; version += 1) await step(database, STEPS[version] ?? "", version + 1);
}

/** The schema's version in a database; 0 when it has none. */
export async function versionOf({ db }: Database): Promise<number> {
  const tables = await db.introspection.getTables();
  if (!tables.some((table) => table.name === "settings")) return 0;
  const row = await db.selectFrom("settings").select("value").where("name", "=", "schema_version").executeTakeFirst();
  return Number(row?.value ?? 0);
}

const step = (database: Database, sql: string, version: number): Promise<void> =>
  database.transaction(async (db) => {
    await database.script(sql);
    await db
      .insertInto("settings")
      .values({ name: "schema_version", value: String(version) })
      .onConflict((conflict) => conflict.column("name").doUpdateSet({ value: String(version) }))
      .execute();
  });
