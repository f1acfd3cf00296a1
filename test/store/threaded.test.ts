/** What a transaction in a thread must keep beside the promises of every Store. */
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Database } from "../../src/store/database.ts";
import { createSqlStore } from "../../src/store/sql.ts";
import { StorageFault } from "../../src/store/store.ts";
import { anArrival, aRun } from "./a-run.ts";
import { openThreaded } from "./stores.ts";

let database: Database;
beforeEach(async () => {
  database = await openThreaded();
});
afterEach(() => database.close());

const names = async () => (await database.db.selectFrom("settings").select("name").execute()).map(({ name }) => name);

describe("a transaction", () => {
  it("shows nothing before its commit, and all of it after", async () => {
    await database.transaction(async (tx, rows) => {
      await rows.insert("settings", [{ name: "one", value: "1" }]);
      await tx.insertInto("settings").values({ name: "two", value: "2" }).execute();
      expect(await names()).toEqual(["schema_version"]);
    });
    expect(await names()).toEqual(["one", "schema_version", "two"]);
  });

  it("in which a write fails that nobody waited for is taken back as a whole", async () => {
    const twice = database.transaction(async (_tx, rows) => {
      await rows.insert("settings", [{ name: "one", value: "1" }]);
      await rows.insert("settings", [{ name: "schema_version", value: "2" }]);
      await rows.insert("settings", [{ name: "three", value: "3" }]);
    });
    await expect(twice).rejects.toThrow(/UNIQUE/);
    await expect(twice).rejects.not.toBeInstanceOf(StorageFault);
    expect(await names()).toEqual(["schema_version"]);
  });

  it("that failed early cannot be committed late: what comes after in it fails as well", async () => {
    const late = database.transaction(async (tx, rows) => {
      await rows.insert("settings", [{ name: "schema_version", value: "2" }]);
      await tx
        .insertInto("settings")
        .values({ name: "two", value: "2" })
        .execute()
        .catch(() => {});
      await tx
        .insertInto("settings")
        .values({ name: "three", value: "3" })
        .execute()
        .catch(() => {});
    });
    await expect(late).rejects.toThrow(/UNIQUE/);
    expect(await names()).toEqual(["schema_version"]);
  });

  it("whose work throws is taken back, and the next one is none the worse", async () => {
    const broken = database.transaction(async (_tx, rows) => {
      await rows.insert("settings", [{ name: "one", value: "1" }]);
      throw new Error("a bug");
    });
    await expect(broken).rejects.toThrow("a bug");
    await database.transaction((_tx, rows) => rows.insert("settings", [{ name: "two", value: "2" }]));
    expect(await names()).toEqual(["schema_version", "two"]);
  });

  it("waits for the one before it", async () => {
    const add = (name: string) =>
      database.transaction(async (tx, rows) => {
        const { rows: before } = await sql<{ n: number }>`select count(*) as n from settings`.execute(tx);
        await rows.insert("settings", [{ name, value: String(before[0]?.n) }]);
      });
    await Promise.all(["a", "b", "c", "d"].map(add));
    const stored = database.db.selectFrom("settings").select("value").where("name", "in", ["a", "b", "c", "d"]);
    expect((await stored.execute()).map(({ value }) => value).toSorted()).toEqual(["1", "2", "3", "4"]);
  });
});

it("a storage that cannot be written says so as a StorageFault, and is used again when it can", async () => {
  const [file] = (await sql<{ file: string }>`pragma database_list`.execute(database.db)).rows;
  const other = new (await import("better-sqlite3")).default(file?.file ?? "");
  other.exec("BEGIN IMMEDIATE");
  const store = createSqlStore(database);
  await expect(store.accept([anArrival(aRun())])).rejects.toBeInstanceOf(StorageFault);
  other.exec("ROLLBACK");
  other.close();
  expect(await store.accept([anArrival(aRun())])).toMatchObject([{ verdict: "accepted" }]);
});
