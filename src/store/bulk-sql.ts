/**
 * What is done to many rows at a time, on the ways that must be fast: taking receipts, claiming, recording. Hand-written
 * SQL that every dialect knows, prepared once; Kysely compiles a query anew each time, which costs more than running it.
 *
 * SQLite runs in this process: one prepared statement in a loop, some microseconds a row. A database beyond a socket does the
 * same in one statement.
 */
import type { Insertable, Selectable, SelectType } from "kysely";
import type { Tables } from "./tables.ts";

type Value = string | number | null | Uint8Array;
type Column<T extends keyof Tables> = keyof Tables[T] & string;
type FoundRow<T extends keyof Tables, C extends Column<T>> = { [K in C]: SelectType<Tables[T][K]> };
/** For a change: null may say "as it is". */
type ChangeRow<T extends keyof Tables> = { [K in Column<T>]?: SelectType<Tables[T][K]> | null };

export type Dialect = "sqlite" | "postgres";

export interface BulkSql {
  readonly dialect: Dialect;
  /** One statement; `?` stands for a parameter. */
  query<Row>(sql: string, parameters: readonly Value[]): Promise<Row[]>;
  /**
   * The rows in which `key` is one of the values, in no order. `lockBy`: where others write at the same time, none of them changes these until the
   * transaction ends; a column by whose order everybody takes them.
   */
  find<T extends keyof Tables, C extends Column<T>>(
    table: T,
    columns: readonly C[],
    key: Column<T>,
    values: readonly (string | number)[],
    lockBy?: Column<T>,
  ): Promise<FoundRow<T, C>[]>;
  /** Rows that all have the same columns. `conflict`: what to do about those that are there, `on conflict (…) do …`. */
  insert<T extends keyof Tables>(table: T, rows: readonly Insertable<Tables[T]>[], conflict?: string): Promise<void>;
  /**
   * Changes what fits each of the rows, which all have the same columns: `set` and `where` call the table by its name, and
   * the row `v`. `returning`: answers with all that was changed, as it is now.
   */
  update<T extends keyof Tables>(
    table: T,
    rows: readonly ChangeRow<T>[],
    change: { set: string; where: string; returning?: true },
  ): Promise<Selectable<Tables[T]>[]>;
  /** Numbers for so many new runs, in the order of arrival. */
  newSeqs(n: number): Promise<number[]>;
  /** Changes what runs are found by: takes the old words of each out of the full-text index and puts the new ones in. */
  index(words: readonly IndexedWords[]): Promise<void>;
  /** Until the transaction ends nobody else has the lock. SQLite has one writer, and no need. */
  lock(name: Lock, of?: string): Promise<void>;
  /** The same for deliveries, and all others of their runs to their sinks. */
  lockDeliveries(ids: readonly string[]): Promise<void>;
}

/**
 * - `schema`: one relay migrates.
 * - `lane`: one relay chooses what goes next to an ordered sink.
 * - `redelivery`: one sends again what a filter names, so that nobody does it twice.
 * - `ledger`: one transaction writes roll-ups. Taken last, so that it is held for two statements and the commit.
 */
export type Lock = "schema" | "lane" | "redelivery" | "ledger";

/** What a run, by its number, was found by, and what it is found by from now on; null: not at all. */
export interface IndexedWords {
  seq: number;
  before: string | null;
  after: string | null;
}

/** A prepared statement of an SQLite that runs in this process. */
export interface Prepared {
  /** Whether it answers with rows. */
  readonly reader: boolean;
  all(...parameters: readonly unknown[]): unknown[];
  run(...parameters: readonly unknown[]): unknown;
}

export function sqliteRows(sqlite: { prepare(sql: string): Prepared }): BulkSql {
  const prepared = new Map<string, Prepared>();
  const statement = (sql: string): Prepared => {
    let known = prepared.get(sql);
    if (!known) prepared.set(sql, (known = sqlite.prepare(sql)));
    return known;
  };
  const rows: BulkSql = {
    dialect: "sqlite",
    query: async <Row>(sql: string, parameters: readonly Value[]) => {
      const prepared = statement(sql);
      if (prepared.reader) return prepared.all(...parameters) as Row[];
      prepared.run(...parameters);
      return [];
    },
    find: async (table, columns, key, values) => {
      const select = statement(`select ${columns.join(", ")} from ${table} where ${key} = ?`);
      return values.flatMap((value) => select.all(value)) as never;
    },
    insert: async (table, rows, conflict = "") => {
      if (rows.length === 0) return;
      const columns = columnsOf(rows);
      const places = columns.map(() => "?").join(", ");
      const insert = statement(`insert into ${table} (${columns.join(", ")}) values (${places}) ${conflict}`);
      for (const row of rows) insert.run(...valuesOf(row, columns));
    },
    update: async (table, rows, { set, where, returning }) => {
      if (rows.length === 0) return [];
      const columns = columnsOf(rows);
      const given = columns.map((column) => `? as ${column}`).join(", ");
      const update = statement(
        `update ${table} set ${set} from (select ${given}) as v where ${where}${returning ? " returning *" : ""}`,
      );
      if (returning) return rows.flatMap((row) => update.all(...valuesOf(row, columns))) as never;
      for (const row of rows) update.run(...valuesOf(row, columns));
      return [];
    },
    newSeqs: async (n) => {
      if (n === 0) return [];
      const [row] = statement("select coalesce(max(seq), 0) as last from runs").all() as { last: number }[];
      return Array.from({ length: n }, (_none, i) => (row?.last ?? 0) + 1 + i);
    },
    index: async (words) => {
      // Cast: numbers are bound as floats, and a rowid is none.
      const remove = statement(
        "insert into run_words (run_words, rowid, words) values ('delete', cast(? as integer), ?)",
      );
      const add = statement("insert into run_words (rowid, words) values (cast(? as integer), ?)");
      for (const { seq, before, after } of words) {
        if (before !== null) remove.run(seq, before);
        if (after !== null) add.run(seq, after);
      }
    },
    lock: async () => {},
    lockDeliveries: async () => {},
  };
  return rows;
}

const columnsOf = ([first]: readonly object[]): string[] => Object.keys(first ?? {});

const valuesOf = (row: object, columns: readonly string[]): Value[] =>
  columns.map((column) => (row as Record<string, Value>)[column] ?? null);
