/** What the Store takes for granted of a Durable Object's storage, shown on it. */
import { createHash } from "node:crypto";
import { sql } from "kysely";
import { beforeEach, describe, expect, it } from "vitest";
import type { Database } from "../../../src/store/database.ts";
import { dropLoosePieces } from "../../../src/edge/large-values.ts";
import { createSqlStore } from "../../../src/store/sql-store.ts";
import { anArrival, aRun } from "../../support/a-run.ts";
import { databases } from "../../store/stores.ts";
import { currentStorage } from "./storage.ts";

describe.each(Object.entries(databases))("%s", (_name, open) => {
  let database: Database;
  const settings = async () =>
    (await database.db.selectFrom("settings").select("name").where("name", "like", "test_%").execute()).map(
      ({ name }) => name,
    );
  const insert = (db: Database["db"], name: string) => db.insertInto("settings").values({ name, value: "" }).execute();
  beforeEach(async () => {
    database = await open();
  });

  it("a transaction that fails leaves nothing of itself, whatever it waited for in between", async () => {
    const failed = database.transaction(async (tx, rows) => {
      await insert(tx, "test_1");
      await rows.insert("settings", [{ name: "test_2", value: "" }]);
      await Promise.resolve();
      throw new Error("it fails");
    });
    await expect(failed).rejects.toThrow("it fails");
    expect(await settings()).toEqual([]);
    await database.transaction((tx) => insert(tx, "test_3"));
    expect(await settings()).toEqual(["test_3"]);
  });

  it("a statement that fails takes the whole transaction with it", async () => {
    const failed = database.transaction(async (tx) => {
      await insert(tx, "test_1");
      await insert(tx, "test_1");
    });
    await expect(failed).rejects.toThrow(/UNIQUE/);
    expect(await settings()).toEqual([]);
  });

  it("a write beside a transaction that fails stays, and is not seen inside it", async () => {
    let seen: unknown[] = [];
    const failed = database.transaction(async (tx) => {
      await insert(tx, "test_1");
      const beside = insert(database.db, "test_2");
      void beside.catch(() => {});
      await new Promise((resolve) => queueMicrotask(() => resolve(null)));
      seen = (await tx.selectFrom("settings").select("name").where("name", "=", "test_2").execute()) as unknown[];
      throw new Error("it fails");
    });
    await expect(failed).rejects.toThrow("it fails");
    expect(seen).toEqual([]);
    expect(await settings()).toEqual(["test_2"]);
  });

  it("a statement takes more parameters than the platform does", async () => {
    const numbers = Array.from({ length: 5_000 }, (_none, i) => i);
    const query = sql<{
      n: number;
    }>`select count(*) as n from json_each(${JSON.stringify(numbers)}) where value in (${sql.join(numbers)})`;
    expect((await query.execute(database.db)).rows).toEqual([{ n: 5_000 }]);
    const names = Array.from({ length: 150 }, (_none, i) => `test_${i}?`);
    await database.db
      .insertInto("settings")
      .values(names.map((name) => ({ name, value: "é\0'\"" })))
      .execute();
    expect((await settings()).toSorted()).toEqual(names.toSorted());
  });

  it("the database keeps values larger than the platform's rows, and drops the pieces of removed ones", async () => {
    const store = createSqlStore(database);
    // What does not compress, and letters of one to four bytes.
    const noise = Array.from({ length: 30_000 }, (_none, i) => createHash("sha256").update(`${i}`).digest("base64"));
    const output = `ä€😀${noise.join("")}`;
    const title = "ä€😀".repeat(200_000);
    const body = JSON.stringify({ output });
    const artifacts = noise.map((artifact_id) => ({ artifact_id, type: "har", created_at: null }));
    await store.accept([anArrival(aRun({ output, title }), { body })]);
    await store.saveArtifacts("tsk_1", { artifacts, status: "complete" }, null);
    const storage = currentStorage();
    const all = async () => {
      const [receipt] = await store.receipts("tsk_1");
      const [run, [item]] = [await store.run("tsk_1"), await store.listItems({}, { limit: 1 })];
      expect(Buffer.from((await store.body(receipt?.id ?? "")) ?? []).toString() === body).toBe(true);
      expect([run?.state.run.output === output, run?.state.run.title === title]).toEqual([true, true]);
      expect(run?.artifacts.length).toBe(noise.length);
      expect(item?.title).toBe(title.slice(0, 240).toWellFormed());
    };
    await all();
    expect(dropLoosePieces(storage)).toBe(0);
    await all();
    storage.sql.exec("update runs set artifacts = null");
    expect(dropLoosePieces(storage)).toBe(1);
    storage.sql.exec("update receipts set block = null");
    expect(dropLoosePieces(storage)).toBe(1);
    storage.sql.exec("delete from runs");
    expect(dropLoosePieces(storage)).toBe(1);
    expect(storage.sql.exec("select count(*) as n from pieces").toArray()).toEqual([{ n: 0 }]);
  });
});
