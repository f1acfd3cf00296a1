/**
 * What is done to many rows at a time, on the ways that must be fast: taking receipts, claiming, recording. Hand-written
 * SQL that every dialect knows, prepared once; Kysely compiles a query anew each time, which costs more than running it.
 *
 * SQLite runs in this process: one prepared statement in a loop, some microseconds a row. A database beyond a socket does the
 * same in one statement, with a column of values a parameter.
 */
import type { Insertable, Selectable, SelectType } from "kysely";
import type { Tables } from "./tables.ts";

type Value = string | number | null | Uint8Array;
type Column<T extends keyof Tables> = keyof Tables[T] & string;
type Found<T extends keyof Tables, C extends Column<T>> = { [K in C]: SelectType<Tables[T][K]> };
/** For a change: null may say "as it is". */
type Given<T extends keyof Tables> = { [K in Column<T>]?: SelectType<Tables[T][K]> | null };

export type NewEvent = Omit<Insertable<Tables["events"]>, "id">;

export type Dialect = "sqlite" | "postgres";

export interface Rows {
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
  ): Promise<Found<T, C>[]>;
  /** Rows that all have the same columns. `conflict`: what to do about those that are there, `on conflict (…) do …`. */
  insert<T extends keyof Tables>(table: T, rows: readonly Insertable<Tables[T]>[], conflict?: string): Promise<void>;
  /**
   * Changes what fits each of the rows, which all have the same columns: `set` and `where` call the table by its name, and
   * the row `v`. `returning`: answers with all that was changed, as it is now.
   */
  update<T extends keyof Tables>(
    table: T,
    rows: readonly Given<T>[],
    change: { set: string; where: string; returning?: true },
  ): Promise<Selectable<Tables[T]>[]>;
  /** Numbers for so many new runs, in the order of arrival. */
  newDocs(n: number): Promise<number[]>;
  /** Writes what runs are found by, by their number, in place of what was written before. */
  index(words: ReadonlyMap<number, string>): Promise<void>;
  /** Adds events, numbered in the order of commits, and forgets the oldest of too many. */
  appendEvents(events: readonly NewEvent[]): Promise<void>;
  /** Until the transaction ends nobody else has the lock. SQLite has one writer, and no need. */
  lock(name: Lock, of?: string): Promise<void>;
  /** The same for deliveries, and all others of their runs to their sinks. */
  lockDeliveries(ids: readonly string[]): Promise<void>;
}

/**
 * - `schema`: one relay migrates.
 * - `lane`: one relay chooses what goes next to an ordered sink.
 * - `redelivery`: one sends again what a filter names, so that nobody does it twice.
 * - `words`: one writes into the full-text index.
 * - `ledger`: one transaction writes roll-ups and events. Taken last, so that it is held for two statements and the commit.
 */
export type Lock = "schema" | "lane" | "redelivery" | "words" | "ledger";

/** A prepared statement of an SQLite that runs in this process. */
export interface Prepared {
  /** Whether it answers with rows. */
  readonly reader: boolean;
  all(...parameters: readonly unknown[]): unknown[];
  run(...parameters: readonly unknown[]): unknown;
}

export function sqliteRows(sqlite: { prepare(sql: string): Prepared }): Rows {
  const prepared = new Map<string, Prepared>();
  const statement = (sql: string): Prepared => {
    let known = prepared.get(sql);
    if (!known) prepared.set(sql, (known = sqlite.prepare(sql)));
    return known;
  };
  const rows: Rows = {
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
    newDocs: async (n) => {
      const [row] = statement("select coalesce(max(doc), 0) as last from runs").all() as { last: number }[];
      return Array.from({ length: n }, (_none, i) => (row?.last ?? 0) + 1 + i);
    },
    index: async (words) => {
      const insert = statement("insert or replace into run_words (rowid, words) values (cast(? as integer), ?)");
      for (const [doc, text] of words) insert.run(doc, text);
    },
    appendEvents: (events) => appendEvents(rows, events),
    lock: async () => {},
    lockDeliveries: async () => {},
  };
  return rows;
}

/** Events beyond these are forgotten, the oldest first, some at a time. */
export const EVENTS_KEPT = 50_000;
export const FORGET_EVERY = 1_000;

export async function appendEvents(rows: Rows, events: readonly NewEvent[]): Promise<void> {
  if (events.length === 0) return;
  const [row] = await rows.query<{ last: number | null }>("select max(id) as last from events", []);
  const before = row?.last ?? 0;
  await rows.insert(
    "events",
    events.map((event, i) => ({ id: before + 1 + i, ...event })),
  );
  const now = before + events.length;
  if (Math.floor(before / FORGET_EVERY) === Math.floor(now / FORGET_EVERY)) return;
  await rows.query("delete from events where id <= ?", [now - EVENTS_KEPT]);
}

const columnsOf = ([first]: readonly object[]): string[] => Object.keys(first ?? {});

const valuesOf = (row: object, columns: readonly string[]): Value[] =>
  columns.map((column) => (row as Record<string, Value>)[column] ?? null);
