/** Many rows at a time on PostgreSQL: one statement each, with a column of values a parameter. */
import { CompiledQuery, type Kysely } from "kysely";
import { vectorOf } from "./search-postgres.ts";
import { appendEvents, type Lock, type Rows } from "./statements.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export function postgresRows(tx: Db): Rows {
  const run = async (sql: string, values: readonly unknown[]): Promise<never[]> =>
    (await tx.executeQuery(CompiledQuery.raw(sql, [...values]))).rows as never[];
  const rows: Rows = {
    dialect: "postgres",
    query: (sql, parameters) => {
      let n = 0;
      return run(
        sql.replace(/\?/g, () => `$${(n += 1)}`),
        parameters,
      );
    },
    find: (table, columns, key, values, lockBy) =>
      values.length === 0
        ? Promise.resolve([])
        : run(
            `select ${columns.join(", ")} from ${table} where ${key} = any($1::text[])
              ${lockBy === undefined ? "" : `order by ${lockBy} for update`}`,
            [values],
          ),
    insert: async (table, rows, conflict = "") => {
      if (rows.length === 0) return;
      const columns = columnsOf(rows);
      const into = `insert into ${table} (${columns.join(", ")})`;
      if (columns.some((column) => BYTES.has(column)))
        await run(`${into} ${valuesOf(rows, columns)} ${conflict}`, flat(rows, columns));
      else await run(`${into} select * from ${unnested(table, columns)} ${conflict}`, transposed(rows, columns));
    },
    update: (table, rows, { set, where, returning }) => {
      if (rows.length === 0) return Promise.resolve([]);
      const columns = columnsOf(rows);
      return run(
        `update ${table} set ${set} from ${unnested(table, columns)} as v (${columns.join(", ")})
          where ${where}${returning ? ` returning ${table}.*` : ""}`,
        transposed(rows, columns),
      );
    },
    newDocs: async (n) => {
      if (n === 0) return [];
      const rows: { doc: number }[] = await run(
        "select nextval(pg_get_serial_sequence('runs', 'doc')) as doc from generate_series(1, $1::int) order by 1",
        [n],
      );
      return rows.map(({ doc }) => doc);
    },
    index: async (words) => {
      if (words.size === 0) return;
      await run(
        `insert into run_words (rowid, words) select doc, words::tsvector from unnest($1::bigint[], $2::text[]) as v (doc, words)
          on conflict (rowid) do update set words = excluded.words`,
        [[...words.keys()], [...words.values()].map(vectorOf)],
      );
    },
    appendEvents: (events) => appendEvents(rows, events),
    lock: async (name, of = "") => {
      await run("select pg_advisory_xact_lock($1::int, hashtext($2))", [LOCKS[name], of]);
    },
    lockDeliveries: async (ids) => {
      await run(
        `select e.id from deliveries e where (e.run_id, e.sink) in
          (select d.run_id, d.sink from deliveries d where d.id = any($1::text[])) order by e.id for update`,
        [ids],
      );
    },
  };
  return rows;
}

/**
 * Advisory locks end with the transaction (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). The numbers
 * are ours alone in a database.
 */
const LOCKS: Record<Lock, number> = { schema: 7_390_001, lane: 7_390_002, ledger: 7_390_003, redelivery: 7_390_004 };

type Row = Record<string, unknown>;

const columnsOf = ([first]: readonly object[]): string[] => Object.keys(first ?? {});

const transposed = (rows: readonly object[], columns: readonly string[]): unknown[][] =>
  columns.map((column) => rows.map((row) => (row as Row)[column] ?? null));

const flat = (rows: readonly object[], columns: readonly string[]): unknown[] =>
  rows.flatMap((row) => columns.map((column) => (row as Row)[column] ?? null));

const unnested = (table: string, columns: readonly string[]): string =>
  `unnest(${columns.map((column, i) => `$${i + 1}::${isNumber(table, column) ? "bigint" : "text"}[]`).join(", ")})`;

/** Ids are text, but for those that count up. */
const isNumber = (table: string, column: string): boolean =>
  NUMBERS.has(column) || (table === "events" && column === "id");

/** Bytes go as they are, each a parameter: in an array they would be text, twice as long. */
const valuesOf = (rows: readonly object[], columns: readonly string[]): string => {
  const places = rows.map((_row, i) => columns.map((_column, j) => `$${i * columns.length + j + 1}`).join(", "));
  return `values ${places.map((place) => `(${place})`).join(", ")}`;
};

const BYTES = new Set(["body"]);
/** The columns of schema.sql that are BIGINT, in whatever table. A test compares them with it. */
export const NUMBERS: ReadonlySet<string> = new Set([
  "attempts",
  "body_bytes",
  "bucket",
  "bytes",
  "copied_at",
  "copies",
  "count",
  "created_at",
  "day",
  "dead",
  "delivered_at",
  "doc",
  "due_at",
  "failures",
  "finished_at",
  "first_doc",
  "follow_up_at",
  "follow_ups",
  "hour",
  "last_doc",
  "last_failure_at",
  "last_received_at",
  "last_success_at",
  "maybe_sent",
  "mine",
  "n",
  "next_at",
  "next_attempt_at",
  "openings",
  "position",
  "received_at",
  "revision",
  "run_received_at",
  "seen_at",
  "settled",
  "start",
  "started_at",
  "taken_until",
  "throttled",
  "until",
]);
