/** Statements that are not waited for, and arrays in PostgreSQL's own form, against a real server. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import pg from "pg";
import { binaryArray } from "../../src/store/postgres/arrays.ts";
import { connectionsOf, type Connection } from "../../src/store/postgres/connection.ts";
import { vectorOf } from "../../src/store/search/postgres.ts";
import { dropDatabase, newDatabase } from "../support/postgres.ts";

let url: string;
let pool: pg.Pool;
beforeEach(async () => {
  url = await newDatabase({ empty: true });
  pool = new pg.Pool({ connectionString: url, max: 2, pipeline: true });
  // Its database is dropped before the server has seen it go.
  pool.on("error", () => {});
  await pool.query("create table kept (n bigint primary key)");
});
afterEach(async () => {
  await pool.end();
  await dropDatabase(url);
});

async function withConnection(act: (connection: Connection) => Promise<void>): Promise<void> {
  const connection = await connectionsOf(pool).take();
  try {
    await act(connection);
  } finally {
    connection.release();
  }
}

const kept = async () => (await pool.query<{ n: string }>("select n from kept order by n")).rows.map(({ n }) => n);
const insert = "insert into kept values ($1)";

describe("a connection", () => {
  it("runs what is told and asked in order, and says with the commit that all of it is done", async () => {
    await withConnection(async ({ begin, tell, ask, db }) => {
      begin();
      await tell(insert, [1]);
      await tell(insert, [2], "insert");
      expect((await ask("select count(*)::int as n from kept")).rows).toEqual([{ n: 2 }]);
      await tell(insert, [3], "insert");
      // What Kysely makes comes in the same order.
      expect(await db.selectNoFrom(({ lit }) => lit(1).as("one")).execute()).toEqual([{ one: 1 }]);
      expect(await ask("COMMIT")).toMatchObject({ command: "COMMIT" });
    });
    expect(await kept()).toEqual(["1", "2", "3"]);
  });

  it("gives the first failure as the reason for all that PostgreSQL refuses after it, and nothing is written", async () => {
    await withConnection(async ({ begin, tell, ask, rollback }) => {
      begin();
      await tell(insert, [1]);
      await tell("insert into nowhere values (1)");
      await tell(insert, [2]);
      await expect(ask("select 1")).rejects.toThrow('relation "nowhere" does not exist');
      await expect(tell(insert, [3])).rejects.toThrow("nowhere");
      await expect(ask("COMMIT")).rejects.toThrow("nowhere");
      await rollback();
    });
    expect(await kept()).toEqual([]);
    // Who has it next knows nothing of that.
    await withConnection(async ({ ask }) => {
      expect((await ask("select 1 as one")).rows).toEqual([{ one: 1 }]);
    });
  });

  it("a commit sent behind a statement that fails is none", async () => {
    await withConnection(async ({ begin, tell, ask, rollback }) => {
      begin();
      await ask("select 1");
      await tell(insert, [1]);
      await tell(insert, [1]);
      await expect(ask("COMMIT")).rejects.toMatchObject({ code: "23505" });
      await rollback();
    });
    expect(await kept()).toEqual([]);
  });

  it("writes nothing by itself where no transaction could be begun", async () => {
    const client = await pool.connect();
    const query = client.query.bind(client) as (config: unknown, ...more: unknown[]) => unknown;
    const isBegin = (config: unknown) => typeof config === "object" && (config as pg.QueryConfig).text === "BEGIN";
    Object.assign(client, {
      query: (config: unknown, ...more: unknown[]) =>
        query(isBegin(config) ? { text: "select 1 / 0" } : config, ...more),
    });
    client.release();
    await withConnection(async ({ begin, tell, ask }) => {
      begin();
      await expect(tell(insert, [1])).rejects.toThrow("division by zero");
      await expect(ask("select 1")).rejects.toThrow("division by zero");
    });
    expect(await kept()).toEqual([]);
  });
});

describe("an array", () => {
  const back = async (type: "text" | "bigint" | "bytea", values: unknown[]) => {
    const { rows } = await pool.query<{ v: unknown }>(
      `select v from unnest($1::${type}[]) with ordinality as u (v, n) order by n`,
      [binaryArray(type, values)],
    );
    return rows.map(({ v }) => v);
  };

  it("of texts comes as it was, but for what PostgreSQL cannot hold", async () => {
    const texts = ["", "NULL", '{"a":"b\\n,\\""}', "ü 漢 😀", null, "x".repeat(100_000)];
    expect(await back("text", texts)).toEqual(texts);
    expect(await back("text", ["a\0b", "half \uD800"])).toEqual(["a\uFFFDb", "half \uFFFD"]);
    expect(await back("text", [])).toEqual([]);
  });

  it("of numbers", async () => {
    const numbers = [0, 1, -1, 2 ** 31, 2 ** 32, -(2 ** 32) - 1, 1_787_295_854_000, Number.MAX_SAFE_INTEGER, null];
    expect(await back("bigint", numbers)).toEqual(numbers.map((n) => n && String(n)).map((n) => (n === 0 ? "0" : n)));
  });

  it("of bytes", async () => {
    const bytes = [Buffer.from([0, 255, 1]), Buffer.alloc(0), Uint8Array.from([92, 120]), null];
    expect(await back("bytea", bytes)).toEqual(bytes.map((one) => one && Buffer.from(one)));
  });

  it("of words: their lexemes, with every position they have", async () => {
    const places = (word: string, from: number, to: number) =>
      `'${word}':${Array.from({ length: to - from + 1 }, (_none, i) => from + i).join()}`;
    const { rows } = await pool.query<{ words: string }>(
      "select v::text as words from unnest($1::tsvector[]) as u (v)",
      [
        binaryArray(
          "tsvector",
          [
            "\uE00012ab\nRechnung INV-0042\n\uE001\nrechnung",
            "arger naive 漢 字 x \u{F0E31}",
            "",
            "it's a \\ 'quote'",
            "の ".repeat(600),
          ].map(vectorOf),
        ),
      ],
    );
    const expected = [
      "'0042':4 'inv':3 'rechnung':2,6 '\uE00012ab':1",
      "'arger':1 'naive':2 'x':5 '字':4 '漢':3 '\u{F0E31}':6",
      "",
      "'a':3 'it':1 'quote':4 's':2",
      // Of one word 255 positions are kept.
      `${places("の", 1, 255)} ${places("の\uE0021", 256, 510)} ${places("の\uE0022", 511, 600)}`,
    ];
    expect(rows.map(({ words }) => words)).toEqual(expected);
  });
});
