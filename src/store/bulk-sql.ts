/**
 * SQL for many rows at a time, on the paths that must be fast: accepting receipts, claiming, recording. Each statement
 * is written by hand in SQL that every dialect knows and is prepared once; Kysely would compile the query again each
 * time, which costs more than running it.
 *
 * SQLite runs in this process, so one prepared statement runs in a loop, at some microseconds a row. A database behind
 * a socket does the same in one statement.
 */
import type { Insertable, Selectable, SelectType } from "kysely";
import type { Tables } from "./tables.ts";

type Value = string | number | null | Uint8Array;
type Column<T extends keyof Tables> = keyof Tables[T] & string;
type FoundRow<T extends keyof Tables, C extends Column<T>> = { [K in C]: SelectType<Tables[T][K]> };
/** The values of one changed row. A null may mean "leave as it is". */
type ChangeRow<T extends keyof Tables> = { [K in Column<T>]?: SelectType<Tables[T][K]> | null };

export type Dialect = "sqlite" | "postgres";

export interface BulkSql {
  readonly dialect: Dialect;
  /** Runs one statement; `?` stands for a parameter. */
  query<Row>(sql: string, parameters: readonly Value[]): Promise<Row[]>;
  /**
   * The rows in which `key` is one of the values, in no particular order. `lockBy` locks these rows until the
   * transaction ends, where other processes write at the same time; its column gives the order in which every
   * transaction locks, which rules out deadlocks.
   */
  find<T extends keyof Tables, C extends Column<T>>(
    table: T,
    columns: readonly C[],
    key: Column<T>,
    values: readonly (string | number)[],
    lockBy?: Column<T>,
  ): Promise<FoundRow<T, C>[]>;
  /**
   * Inserts rows that all have the same columns. `conflict` says what happens to rows that exist, `on conflict (…) do
   * …`.
   */
  insert<T extends keyof Tables>(table: T, rows: readonly Insertable<Tables[T]>[], conflict?: string): Promise<void>;
  /**
   * Updates the table from the given rows, which all have the same columns: `set` and `where` call the table by its
   * name, and the row `v`. With `returning` the answer holds every changed row, as it is after the update.
   */
  update<T extends keyof Tables>(
    table: T,
    rows: readonly ChangeRow<T>[],
    change: { set: string; where: string; returning?: true },
  ): Promise<Selectable<Tables[T]>[]>;
  /** Reserves `n` numbers for new runs, in the order of arrival. */
  newSeqs(n: number): Promise<number[]>;
  /** Updates the full-text index: takes out the old words of each run and puts in the new ones. */
  index(words: readonly IndexedWords[]): Promise<void>;
  /** Takes a lock until the transaction ends. SQLite has one writer and needs none. */
  lock(name: Lock, of?: string): Promise<void>;
  /** Locks these deliveries and every other delivery of the same runs to the same sinks. */
  lockDeliveries(ids: readonly string[]): Promise<void>;
}

/**
 * The locks:
 *
 * - `schema`: one relay migrates.
 * - `lane`: one relay chooses the next delivery of an ordered sink.
 * - `redelivery`: one relay sends again what a filter names, so that nothing is sent twice.
 * - `ledger`: one transaction writes roll-ups. It is taken last, so it is held for two statements and the commit only.
 */
export type Lock = "schema" | "lane" | "redelivery" | "ledger";

/**
 * The words by which a run, named by its number, was found so far and will be found from now on; null means no words.
 */
export interface IndexedWords {
  seq: number;
  before: string | null;
  after: string | null;
}

/** A prepared statement of the SQLite in this process. */
export interface Prepared {
  /** True when the statement returns rows. */
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
      // The casts are needed because numbers are bound as floats, which cannot be a rowid.
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
