/**
 * What a run is found by stands in the full-text index when it is accepted, changes with the run, and is made anew by a
 * release that makes other words.
 */
import fc from "fast-check";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { join } from "node:path";
import type { Json } from "../../src/platform/json.ts";
import { parseJson } from "../../src/platform/json.ts";
import { openSqlite, openSqliteReadOnly, type Database } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { RunFilter } from "../../src/store/contract/runs.ts";
import type { Store } from "../../src/store/store.ts";
import { chanceOf } from "../faults/support/chance.ts";
import { aFolder } from "../support/app.ts";
import { toWords } from "../../src/store/search/text-words.ts";
import { aRun, anArrival } from "../support/a-run.ts";
import { databases, storesAsOpened } from "./stores.ts";
import { ANY_CHARACTER } from "../support/any-character.ts";

const searchFor = (text: string): RunFilter => ({ search: [{ words: toWords(text), prefix: false }] });
const idsIn = async (store: Store, filter: RunFilter): Promise<string[]> => {
  const { runs } = await store.runs(filter, { limit: 5_000 });
  expect((await store.listItems(filter, { limit: 5_000 })).map(({ run_id }) => run_id)).toEqual(runs.map(idOf));
  return runs.map(idOf);
};
const idOf = ({ state }: { state: { run: { run_id: string } } }): string => state.run.run_id;

const aPrompt = (id: string, prompt: string, receivedAt = 1_000) =>
  anArrival(aRun({ run_id: id, prompt, received_at: receivedAt }));
const aStep = { after: null, limit: 100, hold: [], dryRun: false };

describe.each(Object.entries(storesAsOpened))("%s", (_name, open) => {
  const opened = async (): Promise<Store> => {
    const store = await open();
    onTestFinished(() => store.close());
    return store;
  };

  it("a search finds what was accepted before it", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice"), aPrompt("tsk_2", "a letter")]);
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_1"]);
  });

  it("a run whose words changed is found by the new ones alone, however often that was", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice")]);
    // Twice in one transaction.
    await store.accept([aPrompt("tsk_1", "a letter", 1_001), aPrompt("tsk_1", "a card", 1_002)]);
    await store.accept([aPrompt("tsk_1", "a parcel", 1_003)]);
    expect(await idsIn(store, searchFor("parcel"))).toEqual(["tsk_1"]);
    for (const old of ["invoice", "letter", "card"]) expect(await idsIn(store, searchFor(old))).toEqual([]);
  });

  it("a run whose words changed without a receipt is found by the new ones alone", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice")]);
    const revised = await store.revise(
      "tsk_1",
      ({ state }) => ({
        verdict: "updated",
        note: null,
        routing: null,
        state: { ...state, run: { ...state.run, prompt: "a letter" }, revision: 2 },
        deliveries: [],
        cancel: [],
      }),
      2_000,
    );
    expect(revised).toBe(true);
    expect(await idsIn(store, searchFor("letter"))).toEqual(["tsk_1"]);
    expect(await idsIn(store, searchFor("invoice"))).toEqual([]);
  });

  it("a run that was unrecognized at first is found once it is recognized", async () => {
    const store = await opened();
    const arrival = aPrompt("tsk_1", "an invoice");
    await store.accept([{ ...arrival, run: null }]);
    expect(await idsIn(store, searchFor("invoice"))).toEqual([]);
    const { run, receipt } = arrival;
    if (run === null) throw new Error("the arrival has no run");
    expect(await store.adopt(receipt.id, "completed", run, 2_000)).toBe(true);
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_1"]);
  });

  it("a removed run is no longer found, and a run that takes its place is", async () => {
    const store = await opened();
    await store.accept([aPrompt("tsk_1", "an invoice"), aPrompt("tsk_2", "an invoice", 9_000)]);
    expect(await store.pruneRuns({ ...aStep, before: 5_000 })).toMatchObject({ removed: 1 });
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_2"]);
    await store.accept([aPrompt("tsk_1", "a letter", 9_001)]);
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_2"]);
    expect(await idsIn(store, searchFor("letter"))).toEqual(["tsk_1"]);
  });
});

it("a process that only reads a file that a relay writes finds what was accepted", async () => {
  const path = join(aFolder(), "relay.db");
  const database = openSqlite(path, { exclusive: true });
  await migrate(database);
  const writer = createSqlStore(database);
  const reader = createSqlStore(openSqliteReadOnly(path));
  onTestFinished(async () => {
    await reader.close();
    await writer.close();
  });
  await writer.accept([aPrompt("tsk_1", "an invoice", 1), aPrompt("tsk_2", "a letter", 2)]);
  expect(await idsIn(reader, { status: ["failed", "completed"], source: ["webhook"] })).toEqual(["tsk_2", "tsk_1"]);
  expect(await idsIn(reader, searchFor("invoice"))).toEqual(["tsk_1"]);
});

describe.each(Object.entries(databases))("the index on %s", (_name, open) => {
  let database: Database;
  let store: Store;
  beforeEach(async () => {
    database = await open();
    store = createSqlStore(database);
  });
  afterEach(() => store.close());

  /** Every place of every word, by the id of its run; and `null` for a run that is not there. */
  async function wordsIn({ dialect, db }: Database): Promise<unknown[]> {
    const places =
      dialect === "sqlite"
        ? sql`select r.run_id, v.term, v."offset" from run_vocabulary v left join runs r on r.seq = v.doc order by 1, 2, 3`
        : sql`select r.run_id, w.words::text from run_words w left join runs r on r.seq = w.rowid order by 1, 2`;
    return (await places.execute(db)).rows;
  }
  /** The words that the same runs have in a new database. */
  async function wordsOfNew(): Promise<unknown[]> {
    const fresh = await open();
    const other = createSqlStore(fresh);
    try {
      const { runs } = await store.runs({}, { limit: 5_000 });
      await other.accept(runs.map(({ state }, i) => anArrival(state.run, { hash: `${i}` })));
      return await wordsIn(fresh);
    } finally {
      await other.close();
    }
  }
  /** As if another release had made the words. */
  async function makeOtherWords(): Promise<void> {
    if (database.dialect === "sqlite") {
      await sql`insert into run_words (run_words) values ('delete-all')`.execute(database.db);
      await sql`insert into run_words (rowid, words) select seq, 'otherwise' from runs`.execute(database.db);
    } else await sql`update run_words set words = 'otherwise'::tsvector`.execute(database.db);
    await store.saveSetting("words_version", "0");
  }
  const rebuild = async (limit: number): Promise<number> => {
    let steps = 0;
    while ((await store.rebuildWords(limit)) > 0) steps += 1;
    return steps;
  };

  it("the search index has no work to be done when this release made it", async () => {
    expect(await store.rebuildWords(10)).toBe(0);
    await store.accept([aPrompt("tsk_1", "an invoice")]);
    expect(await store.rebuildWords(10)).toBe(0);
  });

  it("the search index is made again in steps when another release made it, and once only", async () => {
    await store.accept(Array.from({ length: 5 }, (_none, i) => aPrompt(`tsk_${i}`, "an invoice")));
    await makeOtherWords();
    expect(await rebuild(2)).toBe(3);
    expect(await idsIn(store, searchFor("invoice"))).toHaveLength(5);
    expect(await idsIn(store, searchFor("otherwise"))).toEqual([]);
    expect(await wordsIn(database)).toEqual(await wordsOfNew());
    expect(await store.rebuildWords(2)).toBe(0);
  });

  it("the search index of no runs is made again at once", async () => {
    await store.saveSetting("words_version", "0");
    expect(await store.rebuildWords(2)).toBe(0);
    await store.accept([aPrompt("tsk_1", "an invoice")]);
    expect(await store.rebuildWords(2)).toBe(0);
    expect(await idsIn(store, searchFor("invoice"))).toEqual(["tsk_1"]);
  });

  it("the search index takes runs that come, change and go before it is made again", async () => {
    await store.accept([aPrompt("tsk_1", "one"), aPrompt("tsk_2", "two"), aPrompt("tsk_3", "three", 500)]);
    await makeOtherWords();
    await store.accept([aPrompt("tsk_1", `a letter ${"of many words ".repeat(20)}`, 1_001), aPrompt("tsk_4", "four")]);
    expect(await store.pruneRuns({ ...aStep, before: 501 })).toMatchObject({ removed: 1 });
    await rebuild(2);
    expect(await wordsIn(database)).toEqual(await wordsOfNew());
    expect(await idsIn(store, searchFor("letter"))).toEqual(["tsk_1"]);
  });

  it("the search index holds what a new one would, whatever comes, changes and goes while it is made again", async () => {
    for (const seed of [1, 2, 3, 4]) {
      const chance = chanceOf(seed);
      const words = ["invoice", "letter", "parcel", "card", "Größe", "1e21", "12345678901234567890"];
      let now = seed * 1_000_000;
      const aChange = async (): Promise<void> => {
        const id = `tsk_${seed}_${chance.between(1, 30)}`;
        const prompt = `${chance.oneOf(words)} ${chance.oneOf(words)}`;
        if (chance.happens(0.85)) await store.accept([aPrompt(id, prompt, (now += 1))]);
        else await store.pruneRuns({ ...aStep, before: now - chance.between(0, 20), limit: chance.between(1, 5) });
      };
      for (let i = 0; i < 40; i++) await aChange();
      await makeOtherWords();
      do for (let i = chance.between(0, 4); i > 0; i--) await aChange();
      while ((await store.rebuildWords(chance.between(1, 6))) > 0);
      for (let i = 0; i < 10; i++) await aChange();
      expect([seed, await wordsIn(database)]).toEqual([seed, await wordsOfNew()]);
    }
  });

  it("the search index loses every word of a run that is removed, and keeps those of the others, whatever they hold", async () => {
    await store.accept([aPrompt("tsk_stays", "an invoice", 9e12)]);
    const before = await wordsIn(database);
    const values = fc.oneof(
      fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }).map((value) => parseJson(JSON.stringify(value))),
      fc.constantFrom(
        ...["[1e400,-0,1E2]", '{"2":1,"1":12345678901234567890}', '"\\ud800x"', '"\\u0000"'].map(parseJson),
      ),
    );
    const text = fc.string({ unit: ANY_CHARACTER, maxLength: 40 });
    let n = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(values, text), { minLength: 1, maxLength: 4 }), async (versions) => {
        for (const [output, prompt] of versions)
          await store.accept([
            anArrival(aRun({ run_id: "tsk_1", received_at: 1_000, output: output as Json, prompt }), {
              hash: `${++n}`,
            }),
          ]);
        expect(await store.pruneRuns({ ...aStep, before: 1_001 })).toMatchObject({ removed: 1 });
        expect(await wordsIn(database)).toEqual(before);
      }),
      { numRuns: 60 },
    );
  });
});
