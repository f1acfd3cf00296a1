/** All of an SQLite database into an empty PostgreSQL, in one transaction: whole and compared, or not at all. */
import { createHash } from "node:crypto";
import { sql, type Insertable, type Kysely } from "kysely";
import type { Database } from "./database.ts";
import { storable } from "./postgres-arrays.ts";
import { indexedText } from "./search.ts";
import { jsonOf, stateOf, storedState, type Stored } from "./states.ts";
import { unpackBody } from "./packing.ts";
import type { Rows } from "./statements.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;
type Row = Record<string, unknown>;

/** Every table of schema.sql; the full-text index is made anew. The largest rows come a few at a time. */
const TABLES = {
  settings: 500,
  runs: 500,
  receipts: 500,
  states: 200,
  bodies: 10,
  deliveries: 500,
  attempts: 500,
  circuits: 500,
  artifacts: 500,
  sightings: 500,
  run_counts: 500,
  delivery_counts: 500,
  delivery_times: 500,
  sighting_counts: 500,
  events: 500,
  archiving: 500,
  copies: 500,
  discarded: 500,
  doc_hours: 500,
} as const satisfies Partial<Record<keyof Tables, number>>;

export type CopiedTable = keyof typeof TABLES;
export const COPIED_TABLES = Object.keys(TABLES) as CopiedTable[];

/** What a table holds, in whatever order it is read. */
export interface Sum {
  rows: number;
  /** Hex. */
  checksum: string;
}

export class CopyRefused extends Error {}

/** How SQLite has a table's rows: without rowid, or some of them packed, which PostgreSQL does by itself. */
const SOURCES: Partial<Record<CopiedTable, readonly Source[]>> = {
  states: [
    { table: "states" },
    { table: "packed_states", unpack: async (_db, row) => ({ ...row, state: jsonOf(row["state"] as Stored) }) },
  ],
  bodies: [{ table: "bodies" }, { table: "packed_bodies", key: ["receipt_id"], unpack: bodyOf }],
  deliveries: [{ table: "deliveries", key: ["id"] }],
  attempts: [{ table: "attempts", key: ["delivery_id", "n"] }],
  artifacts: [{ table: "artifacts", key: ["run_id", "position"] }],
  events: [{ table: "events", key: ["id"] }],
  copies: [{ table: "copies", key: ["run_id", "artifact"] }],
  run_counts: [{ table: "run_counts", key: ["grain", "start", "status"] }],
  delivery_counts: [{ table: "delivery_counts", key: ["sink", "state"] }],
  delivery_times: [{ table: "delivery_times", key: ["grain", "start", "sink", "bucket"] }],
};

interface Source {
  table: keyof Tables;
  /** By what it is read on; `rowid` unless told. */
  key?: readonly string[];
  unpack?(db: Db, row: Row): Promise<Row>;
}

async function bodyOf(db: Db, { receipt_id, body }: Row): Promise<Row> {
  const { rows } = await sql<{ state: Stored }>`select ${storedState("sqlite")} as state
    from runs join receipts on receipts.run_id = runs.run_id where receipts.id = ${receipt_id}`.execute(db);
  return { receipt_id, body: unpackBody(body as Uint8Array, jsonOf(rows[0]?.state ?? "")) };
}

const sourcesOf = (table: CopiedTable): readonly Source[] => SOURCES[table] ?? [{ table }];

/** Rows in all of the source's tables. */
export async function rowsOf({ db }: Database): Promise<number> {
  let rows = 0;
  for (const table of COPIED_TABLES.flatMap(sourcesOf)) rows += await countOf(db, table.table);
  return rows;
}

/**
 * Copies and compares. `progress`: told how many rows are done, of twice those there are: written, then read again. Throws CopyRefused when the target is not empty or
 * does not hold what was written; it is as it was before then.
 */
export const copyAll = (
  from: Database,
  to: Database,
  progress: (done: number) => void,
): Promise<Record<CopiedTable, Sum>> =>
  to.transaction(async (tx, rows) => {
    let done = 0;
    const step = (n: number): void => progress((done += n));
    for (const table of COPIED_TABLES)
      if (table !== "settings" && (await countOf(tx, table)) > 0)
        throw new CopyRefused(`the target is not empty: ${table} has rows`);
    const written = {} as Record<CopiedTable, Sum>;
    for (const table of COPIED_TABLES) written[table] = await copyTable(from.db, rows, table, step);
    await sql`select setval(pg_get_serial_sequence('runs', 'doc'), coalesce((select max(doc) from runs), 1))`.execute(
      tx,
    );
    for (const table of COPIED_TABLES) {
      const there = await sumOf(tx, table, await columnsOf(from.db, table), step);
      const { rows: n, checksum } = written[table];
      if (there.rows !== n || there.checksum !== checksum)
        throw new CopyRefused(
          `${table} differs: ${n} rows (${checksum}) were copied, ${there.rows} (${there.checksum}) are there`,
        );
    }
    return written;
  });

async function copyTable(from: Db, to: Rows, table: CopiedTable, step: (n: number) => void): Promise<Sum> {
  const sum = aSum();
  for (const source of sourcesOf(table)) await copyRows(from, to, { table, source, step, sum });
  return sum.end();
}

interface Copying {
  table: CopiedTable;
  source: Source;
  sum: ReturnType<typeof aSum>;
  step(n: number): void;
}

async function copyRows(from: Db, to: Rows, { table, source, sum, step }: Copying): Promise<void> {
  const { key = ["rowid"], unpack = async (_db: Db, row: Row) => row } = source;
  const columns = key.map((name) => sql.ref(name));
  for (let after: readonly unknown[] | null = null; ;) {
    const beyond = after === null ? sql`true` : sql`(${sql.join(columns)}) > (${sql.join(after)})`;
    const { rows }: { rows: Row[] } = await sql<Row>`select *, json_array(${sql.join(columns)}) as copied_after
      from ${sql.table(source.table)} where ${beyond} order by ${sql.join(columns)} limit ${TABLES[table]}`.execute(
      from,
    );
    const last = rows.at(-1);
    if (last === undefined) return;
    after = JSON.parse(String(last["copied_after"])) as unknown[];
    const batch = await Promise.all(rows.map(({ copied_after: _key, ...row }) => unpack(from, row)));
    const conflict = table === "settings" ? "on conflict (name) do update set value = excluded.value" : "";
    await to.insert(table, batch as Insertable<Tables[CopiedTable]>[], conflict);
    if (table === "states")
      await to.index(new Map(batch.map(({ doc, state }) => [Number(doc), indexedText(stateOf(state as Stored).run)])));
    for (const row of batch) sum.add(row);
    step(batch.length);
  }
}

/** The same columns of what is there, by a cursor: a table may be larger than the memory. */
async function sumOf(tx: Db, table: CopiedTable, columns: string[], step: (n: number) => void): Promise<Sum> {
  const sum = aSum();
  if (columns.length === 0) return { ...sum.end(), rows: await countOf(tx, table) };
  await sql`declare copied no scroll cursor for select ${sql.join(columns.map((name) => sql.ref(name)))}
    from ${sql.table(table)}`.execute(tx);
  for (;;) {
    const { rows } = await sql<Row>`fetch ${sql.lit(TABLES[table])} from copied`.execute(tx);
    for (const row of rows) sum.add(row);
    step(rows.length);
    if (rows.length === 0) break;
  }
  await sql`close copied`.execute(tx);
  return sum.end();
}

/** The sum of the rows' hashes: the order they come in does not matter. */
function aSum() {
  let rows = 0;
  let total = 0n;
  return {
    add: (row: Row): void => {
      const values = Object.keys(row)
        .toSorted()
        .map((name) => [name, row[name] instanceof Uint8Array ? hexOf(row[name]) : storable(row[name])]);
      rows += 1;
      total = (total + BigInt(`0x${createHash("sha256").update(JSON.stringify(values)).digest("hex")}`)) % 2n ** 256n;
    },
    end: (): Sum => ({ rows, checksum: total.toString(16).padStart(64, "0") }),
  };
}

const hexOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function countOf(db: Db, table: keyof Tables): Promise<number> {
  const { rows } = await sql<{ n: number }>`select count(*) as n from ${sql.table(table)}`.execute(db);
  return rows[0]?.n ?? 0;
}

/** None when there is no row. */
async function columnsOf(db: Db, table: CopiedTable): Promise<string[]> {
  for (const source of sourcesOf(table)) {
    const { rows } = await sql<Row>`select * from ${sql.table(source.table)} limit 1`.execute(db);
    if (rows[0]) return Object.keys(rows[0]);
  }
  return [];
}
