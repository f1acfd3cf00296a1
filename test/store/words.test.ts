/** Words come into the full-text index after the run: nothing that was accepted is missed by a list meanwhile, and none is lost. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sql } from "kysely";
import { describe, expect, it, onTestFinished } from "vitest";
import { openSqlite, openSqliteReadOnly } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { createSqlStore, type SqlStore } from "../../src/store/sql.ts";
import type { RunFilter, Store } from "../../src/store/store.ts";
import { wordsOf } from "../../src/store/text-words.ts";
import { aRun, anArrival } from "./a-run.ts";
import { storesAsOpened } from "./stores.ts";

const searchFor = (text: string): RunFilter => ({ search: [{ words: wordsOf(text), prefix: false }] });
const idsIn = async (store: Store, filter: RunFilter): Promise<string[]> => {
  const { runs } = await store.runs(filter, { limit: 5_000 });
  expect((await store.briefs(filter, { limit: 5_000 })).map(({ run_id }) => run_id)).toEqual(runs.map(idOf));
  return runs.map(idOf);
};
const idOf = ({ state }: { state: { run: { run_id: string } } }): string => state.run.run_id;

const aPrompt = (id: string, prompt: string, receivedAt = 1_000) =>
  anArrival(aRun({ run_id: id, prompt, received_at: receivedAt }));

describe.each(Object.entries(storesAsOpened))("%s", (_name, open) => {
  const opened = async (): Promise<SqlStore> => {
    const store = await open();
    onTestFinished(() => store.close());
    return store;
  };

  it("a search finds what was accepted before it", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice"), aPrompt("tsk_2", "a letter")]);
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_1"]);
    expect(await store.indexWords(10)).toBe(0);
  });

  it("a run whose words changed is found by the new ones alone, however often that was", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice")]);
    await store.indexWords(10);
    await store.accept([aPrompt("tsk_1", "a letter", 1_001)]);
    await store.accept([aPrompt("tsk_1", "a parcel", 1_002)]);
    expect(await idsIn(store, searchFor("parcel"))).toEqual(["tsk_1"]);
    expect(await idsIn(store, searchFor("invoice"))).toEqual([]);
    expect(await idsIn(store, searchFor("letter"))).toEqual([]);
  });

  it("one that was removed before its turn came is no hindrance", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice"), aPrompt("tsk_2", "an invoice", 9_000)]);
    const step = { before: 5_000, after: null, limit: 10, hold: [], dryRun: false };
    expect(await store.pruneRuns(step)).toMatchObject({ removed: 1 });
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_2"]);
    expect(await store.indexWords(10)).toBe(0);
  });

  it("in steps, until nothing is left", async () => {
    const store = await opened();
    await store.accept(Array.from({ length: 5 }, (_none, i) => aPrompt(`tsk_${i}`, "an invoice")));
    let steps = 0;
    while ((await store.indexWords(2)) > 0) steps += 1;
    expect(steps).toBeLessThanOrEqual(3);
    expect(await idsIn(store, searchFor("invoice"))).toHaveLength(5);
  });
});

describe("where the index cannot be brought up to date", () => {
  async function writerAndReader(): Promise<{ writer: SqlStore; reader: Store }> {
    const folder = mkdtempSync(join(tmpdir(), "relay-"));
    const path = join(folder, "relay.db");
    const database = openSqlite(path, { exclusive: true });
    await migrate(database);
    const writer = createSqlStore(database);
    const reader = createSqlStore(openSqliteReadOnly(path));
    onTestFinished(async () => {
      await reader.close();
      await writer.close();
      rmSync(folder, { recursive: true });
    });
    return { writer, reader };
  }

  it("filters find all runs, and text those that are in it", async () => {
    const { writer, reader } = await writerAndReader();
    await writer.accept([aPrompt("tsk_1", "an invoice", 1)]);
    await writer.indexWords(10);
    await writer.accept([aPrompt("tsk_2", "an invoice", 2), aPrompt("tsk_3", "a letter", 3)]);
    const filter = { status: ["failed", "completed"], source: ["webhook"] };
    expect(await idsIn(reader, filter)).toEqual(["tsk_3", "tsk_2", "tsk_1"]);
    expect(await idsIn(reader, searchFor("invoice"))).toEqual(["tsk_1"]);
    await writer.indexWords(10);
    expect(await idsIn(reader, searchFor("invoice"))).toEqual(["tsk_2", "tsk_1"]);
  });

  it("more came than a search waits for: it finds what there is, and the next ones the rest", async () => {
    const database = openSqlite(":memory:", { exclusive: true });
    await migrate(database);
    const store = createSqlStore(database);
    onTestFinished(() => store.close());
    const many = 2_500;
    await store.accept(Array.from({ length: many }, (_none, i) => aPrompt(`tsk_${i}`, "an invoice", i)));
    const first = (await store.briefs(searchFor("invoice"), { limit: many })).length;
    expect(first).toBeGreaterThan(0);
    expect(first).toBeLessThan(many);
    expect(await idsIn(store, searchFor("invoice"))).toHaveLength(many);
    const { rows } = await sql`select doc from unindexed`.execute(database.db);
    expect(rows).toEqual([]);
  });
});
