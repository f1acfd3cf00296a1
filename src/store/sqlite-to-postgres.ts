/** Copies a SQLite database into an empty PostgreSQL in one transaction: whole and compared, or not at all. */
import { createHash } from "node:crypto";
import { sql, type Insertable } from "kysely";
import type { Database } from "./database.ts";
import { storable } from "./postgres/bulk-sql.ts";
import { indexedText } from "./search/search.ts";
import { stateIn } from "./receipts/blocks.ts";
import { stateBlock } from "./history/page-size.ts";
import type { BulkSql } from "./bulk-sql.ts";
import type { Db, Tables } from "./tables.ts";

type Row = Record<string, unknown>;

/**
 * Every table of schema.sql; the full-text index is rebuilt. Tables with large rows are copied a few rows at a time.
 */
const TABLES = {
  settings: 500,
  runs: 500,
  receipts: 50,
  deliveries: 500,
  circuits: 500,
  listed_runs: 500,
  run_counts: 500,
  delivery_counts: 500,
  delivery_times: 500,
  listed_run_counts: 500,
  archiving: 500,
  copies: 500,
  discarded: 500,
  run_hours: 500,
} as const satisfies Partial<Record<keyof Tables, number>>;

export type CopiedTable = keyof typeof TABLES;
export const COPIED_TABLES = Object.keys(TABLES) as CopiedTable[];

/** A checksum of a table's rows that does not depend on their order. */
export interface Sum {
  rows: number;
  /** Hex digits. */
  checksum: string;
}

export class CopyRefused extends Error {}

/** The column by which a SQLite table is read; `rowid` unless it has none. */
const KEYS: Partial<Record<CopiedTable, readonly string[]>> = {
  deliveries: ["id"],
  copies: ["run_id", "artifact"],
  run_counts: ["grain", "start", "status"],
  delivery_counts: ["sink", "state"],
  delivery_times: ["grain", "start", "sink", "bucket"],
};

/** The number of rows in all tables. */
export async function countRows({ db }: Database): Promise<number> {
  let rows = 0;
  for (const table of COPIED_TABLES) rows += await countTable(db, table);
  return rows;
}

/**
 * Copies and compares. `progress` gets the number of rows done, out of twice the number of rows: each is written, then
 * read back. Throws CopyRefused when the target is not empty or does not hold what was written; the target is then
 * unchanged.
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
      if (table !== "settings" && (await countTable(tx, table)) > 0)
        throw new CopyRefused(`the target is not empty: ${table} has rows`);
    const written = {} as Record<CopiedTable, Sum>;
    for (const table of COPIED_TABLES) written[table] = await copyTable(from.db, rows, table, step);
    await sql`select setval(pg_get_serial_sequence('runs', 'seq'), coalesce((select max(seq) from runs), 1))`.execute(
      tx,
    );
    await indexRuns(tx, rows);
    for (const table of COPIED_TABLES) {
      const there = await checksumTable(tx, table, await listColumns(from.db, table), step);
      const { rows: n, checksum } = written[table];
      if (there.rows !== n || there.checksum !== checksum)
        throw new CopyRefused(
          `${table} differs: ${n} rows (${checksum}) were copied, ${there.rows} (${there.checksum}) are there`,
        );
    }
    return written;
  });

async function copyTable(from: Db, to: BulkSql, table: CopiedTable, step: (n: number) => void): Promise<Sum> {
  const sum = aSum();
  const columns = (KEYS[table] ?? ["rowid"]).map((name) => sql.ref(name));
  for (let after: readonly unknown[] | null = null; ;) {
    const beyond = after === null ? sql`true` : sql`(${sql.join(columns)}) > (${sql.join(after)})`;
    const { rows }: { rows: Row[] } = await sql<Row>`select *, json_array(${sql.join(columns)}) as copied_after
      from ${sql.table(table)} where ${beyond} order by ${sql.join(columns)} limit ${TABLES[table]}`.execute(from);
    const last = rows.at(-1);
    if (last === undefined) return sum.end();
    after = JSON.parse(String(last["copied_after"])) as unknown[];
    const batch = rows.map(({ copied_after: _key, ...row }) => row);
    const conflict = table === "settings" ? "on conflict (name) do update set value = excluded.value" : "";
    await to.insert(table, batch as Insertable<Tables[CopiedTable]>[], conflict);
    for (const row of batch) sum.add(row);
    step(batch.length);
  }
}

/** Builds the full-text index of the copied runs. */
async function indexRuns(tx: Db, to: BulkSql): Promise<void> {
  for (let after = 0; ;) {
    const runs = await tx
      .selectFrom("runs")
      .select(["seq", stateBlock.as("block")])
      .where("seq", ">", after)
      .orderBy("seq")
      .limit(200)
      .execute();
    const last = runs.at(-1);
    if (last === undefined) return;
    after = last.seq;
    await to.index(runs.map(({ seq, block }) => ({ seq, before: null, after: indexedText(stateIn(block).run) })));
  }
}

/** Reads the same columns back through a cursor, as a table may be larger than the memory. */
async function checksumTable(tx: Db, table: CopiedTable, columns: string[], step: (n: number) => void): Promise<Sum> {
  const sum = aSum();
  if (columns.length === 0) return { ...sum.end(), rows: await countTable(tx, table) };
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

/** The sum of the rows' hashes, which does not depend on their order. */
function aSum() {
  let rows = 0;
  let total = 0n;
  return {
    add: (row: Row): void => {
      const values = Object.keys(row)
        .toSorted()
        .map((name) => [name, row[name] instanceof Uint8Array ? sha256Hex(row[name]) : storable(row[name])]);
      rows += 1;
      total = (total + BigInt(`0x${createHash("sha256").update(JSON.stringify(values)).digest("hex")}`)) % 2n ** 256n;
    },
    end: (): Sum => ({ rows, checksum: total.toString(16).padStart(64, "0") }),
  };
}

const sha256Hex = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

async function countTable(db: Db, table: keyof Tables): Promise<number> {
  const { rows } = await sql<{ n: number }>`select count(*) as n from ${sql.table(table)}`.execute(db);
  return rows[0]?.n ?? 0;
}

/** None when there is no row. */
async function listColumns(db: Db, table: CopiedTable): Promise<string[]> {
  const { rows } = await sql<Row>`select * from ${sql.table(table)} limit 1`.execute(db);
  return Object.keys(rows[0] ?? {});
}
