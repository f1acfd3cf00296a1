/** Which databases a relay takes: a new one and its own; another it refuses by name, and leaves as it is. */
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Database } from "../../src/store/database.ts";
import { migrate, SCHEMA_VERSION, readVersion } from "../../src/store/schema/migrate.ts";
import { saveSetting } from "../../src/store/key-values.ts";
import { databases } from "./stores.ts";

describe.each(Object.entries(databases))("a database on %s", (_name, open) => {
  let database: Database;
  beforeEach(async () => {
    database = await open();
  });
  afterEach(() => database.close());

  const settings = async () => (await sql`select * from settings order by name`.execute(database.db)).rows;

  it("that is this release's is taken as it is", async () => {
    const before = await settings();
    await migrate(database);
    expect(await readVersion(database)).toBe(SCHEMA_VERSION);
    expect(await settings()).toEqual(before);
  });

  it.each([
    ["1", /schema version 1, of a relay before its first release; start with a new database/],
    [String(SCHEMA_VERSION + 1), /schema version \d+, this relay knows \d+: it was used by a newer release/],
  ])("of schema version %s is refused by name and left as it is", async (version, message) => {
    await database.transaction((tx) => saveSetting(tx, "schema_version", version));
    const before = await settings();
    await expect(migrate(database)).rejects.toThrow(message);
    expect(await settings()).toEqual(before);
    await database.transaction((tx) => saveSetting(tx, "schema_version", String(SCHEMA_VERSION)));
  });
});
