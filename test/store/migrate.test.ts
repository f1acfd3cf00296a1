/** Which databases a relay takes: a new one and its own; another it refuses by name, and leaves as it is. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { openSqlite, type Database } from "../../src/store/database.ts";
import { migrate, SCHEMA_VERSION, readVersion } from "../../src/store/schema/migrate.ts";
import { saveSetting } from "../../src/store/key-values.ts";
import { anApp, aFolder } from "../support/app.ts";
import { mutated } from "../support/fixtures.ts";
import { databases } from "./stores.ts";

describe.each(Object.entries(databases))("a database on %s", (_name, open) => {
  let database: Database;
  beforeEach(async () => {
    database = await open();
  });
  afterEach(() => database.close());

  const settings = async () => (await sql`select * from settings order by name`.execute(database.db)).rows;

  it("a database of this release is taken as it is", async () => {
    const before = await settings();
    await migrate(database);
    expect(await readVersion(database)).toBe(SCHEMA_VERSION);
    expect(await settings()).toEqual(before);
  });

  it.each([
    ["1", /schema version 1, of a relay before its first release; start with a new database/],
    [String(SCHEMA_VERSION + 1), /schema version \d+, this relay knows \d+: it was used by a newer release/],
  ])("a database of schema version %s is refused by name and left as it is", async (version, message) => {
    await database.transaction((tx) => saveSetting(tx, "schema_version", version));
    const before = await settings();
    await expect(migrate(database)).rejects.toThrow(message);
    expect(await settings()).toEqual(before);
    await database.transaction((tx) => saveSetting(tx, "schema_version", String(SCHEMA_VERSION)));
  });

  it("a database of version 2 gets the columns that came since", async () => {
    const columns = async () => {
      const rows = await sql<object>`select * from (select 1 as one) as o left join receipts on 1 = 0`.execute(
        database.db,
      );
      return Object.keys(rows.rows[0] ?? {});
    };
    const wanted = (await columns()).toSorted();
    await database.transaction(async (tx) => {
      await sql`alter table receipts drop column labels`.execute(tx);
      await saveSetting(tx, "schema_version", "2");
    });
    await migrate(database);
    expect((await columns()).toSorted()).toEqual(wanted);
    expect(await readVersion(database)).toBe(SCHEMA_VERSION);
  });
});

/** Made by the release of that version of the schema, out of the webhook fixtures. */
const stored = (version: number): string => {
  const path = join(aFolder(), "relay.db");
  writeFileSync(path, gunzipSync(readFileSync(new URL(`./databases/version-${version}.db.gz`, import.meta.url))));
  return path;
};

const shape = async ({ db }: Database) => {
  const columns = await sql<object>`select t.name as "table", c.name, c.type, c."notnull" from sqlite_schema t
    join pragma_table_info(t.name) c where t.type = 'table' order by 1, 2`.execute(db);
  const indexes = await sql<object>`select name from sqlite_schema where type = 'index' order by 1`.execute(db);
  return [columns.rows, indexes.rows];
};

it.each([2])(
  "a stored database of version %s becomes this release's: its runs are read and found, and it takes what comes",
  async (version) => {
    const path = stored(version);
    const relay = await anApp({ DATABASE_URL: `sqlite:${path}` }, { standIns: ["http"], runtime: systemRuntime() });
    const { data: runs } = await relay.read<{ data: { run_id: string; status: string }[] }>("/v1/runs?limit=100");
    expect(runs).toHaveLength(23);
    for (const { run_id: id, status } of runs) {
      const run = await relay.read<{ receipts: object[] }>(`/v1/runs/${id}`);
      expect(run).toMatchObject({ run_id: id, status });
      expect(run.receipts).not.toEqual([]);
    }
    expect((await relay.read<{ data: object[] }>("/v1/runs?q=invoice&limit=100")).data).not.toEqual([]);
    const webhook = mutated("task_v1.completed", { run_id: "tsk_1", task_id: "tsk_1" });
    expect((await relay.webhook(webhook)).json()).toMatchObject({ result: "accepted" });
    await relay.stop();

    const fresh = openSqlite(":memory:", { exclusive: true });
    await migrate(fresh);
    const migrated = openSqlite(path, { exclusive: true });
    expect(await shape(migrated)).toEqual(await shape(fresh));
    await Promise.all([fresh.close(), migrated.close()]);
  },
);
