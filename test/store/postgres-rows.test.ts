/** Rows, texts and faults on their way to PostgreSQL and back, against a real server. */
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from "vitest";
import { setTimeout as pause } from "node:timers/promises";
import { sql } from "kysely";
import pg from "pg";
import type { Database } from "../../src/store/database.ts";
import { toStorageFault } from "../../src/store/postgres/errors.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { buildVector } from "../../src/store/search/postgres.ts";
import type { BulkSql } from "../../src/store/bulk-sql.ts";
import { StorageFault } from "../../src/store/contract/faults.ts";
import { asAdmin, dropDatabase, newDatabase } from "../support/postgres.ts";

let url: string;
let database: Database;
beforeEach(async () => {
  url = await newDatabase({ empty: true });
  database = await openPostgres(url);
  await asAdmin(
    url,
    "create table kept (id text primary key, n bigint, body bytea, words tsvector, added bigint default 7)",
  );
});
afterEach(async () => {
  await database.close();
  await dropDatabase(url);
});

/** A table of this test's own, for an operation that knows those of the store. */
const kept = "kept" as "runs";
type Row = { id: string } & Record<string, string | number | Uint8Array | null>;
const insert = (rows: BulkSql, given: readonly Row[], conflict?: string) => rows.insert(kept, given as never, conflict);
const find = (rows: BulkSql, columns: readonly string[], ids: readonly string[]) =>
  rows.find(kept, columns as never, "id" as never, ids) as unknown as Promise<Row[]>;
const write = <T>(work: (rows: BulkSql) => Promise<T>) => database.transaction((_tx, rows) => work(rows));
const all = () => write((rows) => rows.query<Row>("select id, n, added from kept order by id", []));

describe("rows", () => {
  const texts = ["", "NULL", '{"a":"b\\n,\\""}', "?", "ü 漢 😀", "x".repeat(100_000)];
  const numbers = [0, -1, 2 ** 31, -(2 ** 32) - 1, 1_787_295_854_000, Number.MAX_SAFE_INTEGER];
  const bytes = [Buffer.from([0, 255, 1]), Buffer.alloc(0), Buffer.from("\\x5c")];

  it("rows come back as they were inserted, whatever they hold", async () => {
    const given = texts.map((id, i) => ({ id, n: numbers[i] ?? null, body: bytes[i] ?? null }));
    await write((rows) => insert(rows, given));
    const found = await write((rows) => find(rows, ["id", "n", "body"], texts));
    expect(new Map(found.map((row) => [row.id, row]))).toEqual(new Map(given.map((row) => [row.id, row])));
  });

  it("rows are changed each by its own values, and are answered as they are then", async () => {
    await write((rows) =>
      insert(
        rows,
        [...texts, "other"].map((id) => ({ id, n: 1 })),
      ),
    );
    const given = texts.map((id, i) => ({ id, n: numbers[i] ?? null, body: bytes[i] ?? null }));
    const change = { set: "n = v.n, body = v.body", where: "kept.id = v.id", returning: true } as const;
    const changed = (await write((rows) => rows.update(kept, given as never, change))) as unknown as Row[];
    expect(new Map(changed.map((row) => [row.id, row]))).toEqual(
      new Map(given.map((row) => [row.id, { ...row, words: null, added: 7 }])),
    );
    expect((await all()).find(({ id }) => id === "other")).toMatchObject({ n: 1 });
  });

  it("rows may have more values than one statement takes", async () => {
    const given = Array.from({ length: 40_000 }, (_none, n) => ({ id: `${n}`, n }));
    await write((rows) => insert(rows, given));
    expect(await all()).toHaveLength(given.length);
  });

  it("rows that are there already are treated as the conflict says", async () => {
    await write((rows) => insert(rows, [{ id: "a", n: 1 }]));
    const again = [
      { id: "a", n: 2 },
      { id: "b", n: 3 },
    ];
    await write((rows) => insert(rows, again, "on conflict (id) do update set n = kept.n + excluded.n"));
    expect(await all()).toEqual([
      { id: "a", n: 3, added: 7 },
      { id: "b", n: 3, added: 7 },
    ]);
  });

  it("rows hold the text that PostgreSQL can hold, and anything else is replaced, in whatever way it comes", async () => {
    await write((rows) => insert(rows, [{ id: "a\0b" }, { id: "half \uD800" }]));
    await write((rows) =>
      rows.update(kept, [{ id: "a\0b", n: 1 }] as never, { set: "n = v.n", where: "kept.id = v.id" }),
    );
    const found = await write((rows) => find(rows, ["id", "n"], ["a\0b", "half \uD800"]));
    expect(found.toSorted((a, b) => (a.id < b.id ? -1 : 1))).toEqual([
      { id: "a\uFFFDb", n: 1 },
      { id: "half \uFFFD", n: null },
    ]);
    expect(await write((rows) => rows.query("select n from kept where id = ?", ["a\0b"]))).toEqual([{ n: 1 }]);
  });

  it("rows have words with their lexemes and every position they have", async () => {
    const places = (word: string, from: number, to: number) =>
      `'${word}':${Array.from({ length: to - from + 1 }, (_none, i) => from + i).join()}`;
    const given = {
      "\uE00012ab\nRechnung INV-0042\n\uE100\nrechnung": "'0042':4 'inv':3 'rechnung':2,6 '\uE00012ab':1",
      "arger naive 漢 字 x \u{F0E31}": "'arger':1 'naive':2 'x':5 '字':4 '漢':3 '\u{F0E31}':6",
      "": "",
      "it's a \\ 'quote'": "'a':3 'it':1 'quote':4 's':2",
      // Of one word 255 positions are kept.
      ["の ".repeat(600)]: `${places("の", 1, 255)} ${places("の\uE0021", 256, 510)} ${places("の\uE0022", 511, 600)}`,
    };
    const texts = Object.keys(given);
    await write((rows) =>
      insert(
        rows,
        texts.map((id) => ({ id, words: buildVector(id) })),
      ),
    );
    const found = await write((rows) => find(rows, ["id", "words"], texts));
    expect(Object.fromEntries(found.map(({ id, words }) => [id, words]))).toEqual(given);
  });
});

describe("a transaction", () => {
  it("a transaction that throws leaves nothing behind, and throws what it met: a bug stays a bug", async () => {
    const bug = new Error("the price has no currency");
    const failing = (act: () => Promise<unknown>) =>
      write(async (rows) => {
        await insert(rows, [{ id: "a" }]);
        await act();
      }).catch((error: unknown) => error);
    expect(await failing(() => Promise.reject(bug))).toBe(bug);
    const misspelt = await failing(() => sql`select nowhere`.execute(database.db));
    expect(misspelt).toMatchObject({ code: "42703" });
    expect(misspelt).not.toBeInstanceOf(StorageFault);
    expect(await all()).toEqual([]);
  });

  it("a transaction in which a statement failed is not committed, even if that was caught", async () => {
    const swallowed = write(async (rows) => {
      await insert(rows, [{ id: "a" }]);
      await rows.query("select 1 / 0", []).catch(() => {});
    });
    await expect(swallowed).rejects.not.toBeInstanceOf(StorageFault);
    expect(await all()).toEqual([]);
  });

  it("a transaction whose connection breaks between two statements is a fault, and ends nothing else", async () => {
    const broken = write(async (rows) => {
      const [{ pid }] = (await rows.query<{ pid: number }>("select pg_backend_pid() as pid", [])) as [{ pid: number }];
      await asAdmin(url, `select pg_terminate_backend(${pid}, 5000)`);
      await pause(50);
      await insert(rows, [{ id: "a" }]);
    });
    await expect(broken).rejects.toThrow(StorageFault);
    expect(await all()).toEqual([]);
  });

  it("a transaction whose connection does not answer in time is a fault, and that connection is not used again", async () => {
    const pid = (rows: BulkSql) => rows.query<{ pid: number }>("select pg_backend_pid() as pid", []);
    const before = await write(pid);
    const slow = write(async (rows) => {
      await insert(rows, [{ id: "a" }]);
      await rows.query("set local statement_timeout = 20", []);
      await rows.query("select pg_sleep(5)", []);
    });
    await expect(slow).rejects.toThrow(StorageFault);
    expect(await write(pid)).not.toEqual(before);
    expect(await all()).toEqual([]);
  });
});

describe("a fault", () => {
  async function client(settings: pg.ClientConfig = {}): Promise<pg.Client> {
    const made = new pg.Client({ connectionString: url, ...settings });
    made.on("error", () => {});
    await made.connect();
    onTestFinished(() => made.end());
    return made;
  }
  const rejection = (query: Promise<unknown>) =>
    query.then(
      () => expect.unreachable(),
      (error: unknown) => error,
    );

  it("a fault is whatever pg says of a connection that was lost", async () => {
    const cut = await client();
    const { rows } = await cut.query<{ pid: number }>("select pg_backend_pid() as pid");
    const asked = rejection(cut.query("select pg_sleep(5)"));
    await asAdmin(url, `select pg_terminate_backend(${rows[0]?.pid ?? 0})`);
    const [silent, ended, torn] = [await client({ query_timeout: 20 }), await client(), await client()];
    const tearing = rejection(torn.query("select pg_sleep(5)"));
    (torn as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    const lost = [
      await asked,
      await rejection(cut.query("select 1")),
      await rejection(silent.query("select pg_sleep(1)")),
      await ended.end().then(() => rejection(ended.query("select 1"))),
      await tearing,
      Object.assign(new Error("read ECONNRESET"), { code: "ECONNRESET", syscall: "read" }),
    ];
    expect(lost.map(toStorageFault).filter((error) => !(error instanceof StorageFault))).toEqual([]);
  });

  it("an error that is not the connection's or the storage's is no fault", async () => {
    const one = await client();
    const bugs = [
      new Error("anything"),
      new TypeError("x is not a function"),
      "a text",
      await rejection(one.query("select 1 / 0")),
      await rejection(one.query("selct 1")),
      await rejection(one.query("insert into kept values ($1)", ["a\0b"])),
    ];
    expect(bugs.map(toStorageFault)).toEqual(bugs);
  });
});
