/**
 * What retention removed is gone from the disk, too: not in the database file, not in its WAL once that is written
 * back, not in a backup that is made later. What is looked for are unusual words, and pieces of what was compressed.
 */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { sql } from "kysely";
import { expect, it, onTestFinished } from "vitest";
import { prune } from "../../src/app/retention.ts";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import type { Outcome } from "../../src/domain/run.ts";
import { copyDatabase } from "../../src/store/sqlite/backup.ts";
import { openSqlite } from "../../src/store/database.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aFolder } from "../support/app.ts";
import { newDatabase } from "../support/postgres.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";
import { databases } from "./stores.ts";

const DAY = 86_400_000;

const RUNS = 150;
const isOld = (n: number): boolean => n % 3 !== 0;
const all = Array.from({ length: RUNS }, (_none, n) => n);

/**
 * A word that nothing else holds, nor begins like any other: the index keeps of a word only what differs from the one
 * before it.
 */
const word = (...of: (string | number)[]): string =>
  `w${BigInt(`0x${createHash("sha256").update(of.join(" ")).digest("hex")}`)
    .toString(36)
    .slice(0, 24)}`;
/** What is sure to stand in a file where the word does. */
const endOf = (text: string): string => text.slice(6);

/** One in every field of a run that is stored, and in what came of it. `version`: of the run. */
const wordsOf = (n: number, version = 1) => ({
  title: word("title", n, version),
  prompt: word("prompt", n, version),
  summary: word("summary", n, version),
  output: word("output", n, version),
  reason: word("reason", n, version),
  host: word("host", n, version),
  channel: word("channel", n, version),
  workflow: word("workflow", n, version),
  artifact: word("artifact", n, version),
  error: word("error", n, version),
  answer: word("answer", n, version),
});
const idOf = (n: number): string => word("id", n);

async function aStoreOnFile() {
  const path = join(aFolder(), "relay.db");
  const database = openSqlite(path, { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database, { recordsRestMs: 0 });
  onTestFinished(() => store.close());
  return { path, store };
}

const aWordyRun = (n: number, receivedAt: number, version = 1) => {
  const words = wordsOf(n, version);
  return aRun({
    run_id: idOf(n),
    received_at: receivedAt,
    title: words.title,
    prompt: words.prompt,
    summary: words.summary,
    output: { text: words.output },
    url: `https://${words.host}.example/`,
    channel: words.channel,
    workflow: { run_id: null, permanent_id: words.workflow, id: null, title: null },
    failure: { reason: words.reason, codes: [], categories: [], errors: [] },
  });
};

const receivedAt = (n: number): number => (isOld(n) ? DAY : 9 * DAY) + n;
const receiptOf = (n: number): string => `rcp_hash of ${idOf(n)} at ${receivedAt(n)}`;

/** Runs with all that comes of them: their artifacts, an attempt that failed, one that arrived. */
async function acceptAll(store: Store): Promise<void> {
  for (let i = 0; i < RUNS; i += 10) await acceptSome(store, all.slice(i, i + 10));
}

async function acceptSome(store: Store, ns: readonly number[]): Promise<void> {
  const deliveryOf = (n: number): string => `dlv_${String(n).padStart(6, "0")}`;
  await store.accept(
    ns.map((n) => {
      const run = aWordyRun(n, receivedAt(n));
      // What does not compress.
      const noise = Array.from({ length: 20 + (n % 7) * 30 }, (_none, i) => word("noise", n, i)).join("");
      const body = JSON.stringify({ ...run, noise });
      return anArrival(run, { body, decision: { deliveries: [aDelivery(deliveryOf(n))] } });
    }),
  );
  const save = (n: number) =>
    store.saveArtifacts(
      idOf(n),
      { artifacts: [{ artifact_id: wordsOf(n).artifact, type: "har", created_at: 1 }], status: "complete" },
      null,
    );
  await Promise.all(ns.map(save));
  const attempt = async (number: number, outcomeOf: (n: number) => Outcome): Promise<void> => {
    const times = { now: 9e12, startedAt: 9e12, finishedAt: 9e12, nextAttemptAt: 9e12 };
    await store.claimDue({ sink: "ops", holdMs: null }, { now: 9e12, leaseMs: 60_000, limit: RUNS, except: [] });
    const finished = { sink: "ops", n: number, revision: 1, circuit: CLOSED, ...times };
    const record = (n: number) => store.record({ ...finished, deliveryId: deliveryOf(n), outcome: outcomeOf(n) });
    expect(await Promise.all(ns.map(record))).not.toContain(false);
  };
  await attempt(1, (n) => ({ kind: "retry", reason: wordsOf(n).error }));
  await attempt(2, (n) => ({ kind: "delivered", receipt: { ts: wordsOf(n).answer } }));
}

/** As retention does, to the end, and upkeep then. */
async function pruneRuns(store: Store, before: number): Promise<void> {
  for (let after: string | null = null; ;) {
    const { next } = await store.pruneRuns({ before, after, limit: 20, hold: [], dryRun: false });
    if (next === null) break;
    after = next;
  }
  await shrink(store);
}

async function shrink(store: Store): Promise<void> {
  while ((await store.shrink(64)) > 0);
}

/** Pieces of the blocks of these receipts that no other block holds: by these, what is compressed is found. */
function piecesOf(path: string, receiptIds: readonly string[]): Buffer[] {
  const sqlite = new BetterSqlite(path, { readonly: true });
  const rows = sqlite.prepare<[], { id: string; block: Buffer }>("select id, block from receipts").all();
  sqlite.close();
  const wanted = new Set(receiptIds);
  const others = rows.filter(({ id }) => !wanted.has(id));
  const pieces = rows.flatMap(({ id, block }) =>
    wanted.has(id)
      ? [0.2, 0.4, 0.6, 0.8].map((part) => {
          const start = Math.floor(part * block.length);
          return block.subarray(start, start + 32);
        })
      : [],
  );
  return pieces.filter((piece) => !others.some(({ block }) => block.includes(piece)));
}

/** What the files hold once all is written back: the database, its WAL, and a backup made now. */
async function filesOf(path: string): Promise<Record<string, Buffer>> {
  const sqlite = new BetterSqlite(path);
  sqlite.pragma("wal_checkpoint(TRUNCATE)");
  sqlite.close();
  const copy = join(aFolder(), "backup.db");
  await copyDatabase(path, copy, { counting: false, signal: new AbortController().signal, progress: () => {} });
  const files = { database: path, WAL: `${path}-wal`, backup: copy };
  return Object.fromEntries(
    Object.entries(files).map(([name, file]) => [name, existsSync(file) ? readFileSync(file) : Buffer.alloc(0)]),
  );
}

/** How many of these are in each file. */
const countIn = (files: Record<string, Buffer>, wanted: readonly (string | Buffer)[]): Record<string, number> =>
  Object.fromEntries(
    Object.entries(files).map(([name, bytes]) => [name, wanted.filter((one) => bytes.includes(one)).length]),
  );
const NONE = { database: 0, WAL: 0, backup: 0 };

it("a run that retention removed is no longer in any file, and the others are", async () => {
  const { path, store } = await aStoreOnFile();
  await acceptAll(store);
  const plain = (n: number) => [idOf(n), ...Object.values(wordsOf(n))].map(endOf);
  const [old, young] = [all.filter(isOld).flatMap(plain), all.filter((n) => !isOld(n)).flatMap(plain)];
  const pieces = piecesOf(path, all.filter(isOld).map(receiptOf));
  expect(pieces.length).toBeGreaterThan(300);
  const before = await filesOf(path);
  expect(countIn(before, old)).toEqual({ ...NONE, database: old.length, backup: old.length });
  expect(countIn(before, pieces)["database"]).toBeGreaterThan(0.9 * pieces.length);

  await pruneRuns(store, 5 * DAY);

  const files = await filesOf(path);
  expect(countIn(files, young)).toEqual({ ...NONE, database: young.length, backup: young.length });
  expect(countIn(files, old)).toEqual(NONE);
  expect(countIn(files, pieces)).toEqual(NONE);
});

it("the words that a run had before it changed are no longer in any file", async () => {
  const { path, store } = await aStoreOnFile();
  for (const version of [1, 2])
    for (let i = 0; i < RUNS; i += 10)
      await store.accept(
        all.slice(i, i + 10).map((n) => anArrival(aWordyRun(n, DAY, version), { hash: `${n} ${version}` })),
      );
  /** Those that are stored as text. The channel is none of them, as its first receipt still names it. */
  const words = (version: number) =>
    all.flatMap((n) => {
      const { title, prompt, summary, output, reason, host, workflow } = wordsOf(n, version);
      return [title, prompt, summary, output, reason, host, workflow].map(endOf);
    });
  await shrink(store);
  const files = await filesOf(path);
  expect(countIn(files, words(2))).toEqual({ ...NONE, database: words(2).length, backup: words(2).length });
  expect(countIn(files, words(1))).toEqual(NONE);
});

it("bytes received that retention removed are no longer in any file", async () => {
  const { path, store } = await aStoreOnFile();
  await acceptAll(store);
  const pieces = piecesOf(path, all.filter(isOld).map(receiptOf));
  await store.pruneBodies({ before: 5 * DAY, after: null, limit: 1_000, hold: [], dryRun: false });
  await shrink(store);
  expect(countIn(await filesOf(path), pieces)).toEqual(NONE);
});

/** A round of retention, as the relay does it every hour. */
const pruneAll = (store: Store, settings: { runsMs: number | null; rawMs: number | null }) =>
  prune({ store, settings: { ...settings, hold: [] }, now: () => 10 * DAY, sleep: () => Promise.resolve() });

/** The files as they lie there, with what is not written back yet. */
const filesAsTheyAre = (path: string): Record<string, Buffer> => ({
  database: readFileSync(path),
  WAL: existsSync(`${path}-wal`) ? readFileSync(`${path}-wal`) : Buffer.alloc(0),
});

it("a removed run is neither in the database file nor in the WAL at the end of the round", async () => {
  const { path, store } = await aStoreOnFile();
  await acceptAll(store);
  const plain = (n: number) => [idOf(n), ...Object.values(wordsOf(n))].map(endOf);
  const old = all.filter(isOld).flatMap(plain);
  const young = all.filter((n) => !isOld(n)).flatMap(plain);
  const pieces = piecesOf(path, all.filter(isOld).map(receiptOf));
  expect(countIn(filesAsTheyAre(path), old)["WAL"]).toBeGreaterThan(0);
  expect(await pruneAll(store, { runsMs: 5 * DAY, rawMs: null })).toMatchObject({ runs: 100 });
  const files = filesAsTheyAre(path);
  expect(countIn(files, old)).toEqual({ database: 0, WAL: 0 });
  expect(countIn(files, pieces)).toEqual({ database: 0, WAL: 0 });
  expect(countIn(files, young)["database"]).toBe(young.length);
});

it("removed bytes are neither in the database file nor in the WAL at the end of the round", async () => {
  const { path, store } = await aStoreOnFile();
  await acceptAll(store);
  const pieces = piecesOf(path, all.filter(isOld).map(receiptOf));
  expect(await pruneAll(store, { runsMs: null, rawMs: 5 * DAY })).toMatchObject({ raw: 100 });
  expect(countIn(filesAsTheyAre(path), pieces)).toEqual({ database: 0, WAL: 0 });
});

it("the WAL is emptied in a later round while another process reads the database", async () => {
  const { path, store } = await aStoreOnFile();
  await acceptAll(store);
  const another = new BetterSqlite(path, { readonly: true });
  another.exec("BEGIN; SELECT count(*) FROM runs");
  expect(await store.emptyLog()).toBe(false);
  another.close();
  expect(await store.emptyLog()).toBe(true);
  expect(filesAsTheyAre(path)["WAL"]).toHaveLength(0);
});

it.runIf("postgres" in databases)(
  "removed runs and bytes are in no table of PostgreSQL, so that no later backup holds them",
  async () => {
    const database = await openPostgres(await newDatabase());
    const store = createSqlStore(database, { recordsRestMs: 0 });
    onTestFinished(() => store.close());
    await acceptAll(store);
    const tables = async (): Promise<string> => {
      const named = await sql<{
        name: string;
      }>`select tablename as name from pg_tables where schemaname = current_schema()`.execute(database.db);
      const rows = await Promise.all(
        named.rows.map(({ name }) =>
          sql<{ row: string }>`select t::text as row from ${sql.table(name)} t`.execute(database.db),
        ),
      );
      return rows.flatMap((result) => result.rows.map(({ row }) => row)).join("\n");
    };
    const blocks = async () =>
      new Map(
        (await database.db.selectFrom("receipts").select(["id", "block"]).execute()).map(({ id, block }) => [
          id,
          Buffer.from(block ?? []).toString("hex"),
        ]),
      );
    const plain = (n: number) => [idOf(n), ...Object.values(wordsOf(n))];
    const [old, young] = [all.filter(isOld).flatMap(plain), all.filter((n) => !isOld(n)).map(idOf)];
    const before = { tables: await tables(), blocks: await blocks() };
    const oldBlocks = all.filter(isOld).map((n) => before.blocks.get(receiptOf(n)) ?? "");
    expect(old.filter((word) => before.tables.includes(word)).length).toBeGreaterThan(500);
    for (const block of oldBlocks) expect(before.tables).toContain(block);
    await pruneAll(store, { runsMs: 5 * DAY, rawMs: null });
    const after = await tables();
    expect(old.filter((word) => after.includes(word))).toEqual([]);
    expect(oldBlocks.filter((block) => after.includes(block))).toEqual([]);
    expect(young.filter((id) => !after.includes(id))).toEqual([]);
  },
);
