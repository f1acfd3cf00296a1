/**
 * Checks a PostgreSQL database: whether it answers, can be written, and has this release's tables. Relays may be
 * running on it.
 */
import { sql } from "kysely";
import { errorText } from "../../platform/error-text.ts";
import type { Database } from "../../store/database.ts";
import { SCHEMA_VERSION, readVersion } from "../../store/schema/migrate.ts";
import { describeDatabase, type DatabaseSettings } from "../../store/address.ts";
import { openDatabase } from "../../store/open.ts";
import { about, fault, ok, type Diagnosis, type Finding } from "./finding.ts";

/** The oldest that schema.sql runs on. */
const OLDEST = 150_000;

export async function checkPostgres(settings: DatabaseSettings & { kind: "postgres" }): Promise<Finding[]> {
  const name = describeDatabase(settings);
  try {
    const database = await openDatabase(settings, "read");
    try {
      return about("database", await lookInside(database, name));
    } finally {
      await database.close();
    }
  } catch (error) {
    const fix =
      "check host, user, password and database of DATABASE_URL, and that the server takes connections from here";
    return about("database", fault(`${name} cannot be opened: ${errorText(error)}`, fix));
  }
}

async function lookInside(database: Database, name: string): Promise<Diagnosis> {
  const { rows } = await sql<{ version: number; standby: boolean }>`
    select current_setting('server_version_num')::int as version, pg_is_in_recovery() as standby`.execute(database.db);
  const { version, standby } = rows[0] ?? { version: 0, standby: false };
  if (version < OLDEST) return fault(`${name} is PostgreSQL ${Math.floor(version / 10_000)}`, "use 15 or newer");
  if (standby) return fault(`${name} is a standby and accepts no writes`, "name the primary in DATABASE_URL");
  const schema = await readVersion(database);
  if (schema === 0) return ok(`${name} answers; the relay makes its tables at its first start`);
  if (schema === SCHEMA_VERSION) return ok(`${name} answers and has the tables of this release`);
  const other = `${name} has schema version ${schema}, this release ${SCHEMA_VERSION}`;
  return fault(
    other,
    schema > SCHEMA_VERSION
      ? "use the release that last ran on it"
      : "start this release once: it brings the tables up to date",
  );
}
