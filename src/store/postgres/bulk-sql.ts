/** Many rows at a time on PostgreSQL: one statement each, with a column of values a parameter. */
import { binaryArray, type ElementType } from "./arrays.ts";
import type { Connection } from "./connection.ts";
import { vectorOf } from "../search/postgres.ts";
import type { BulkSql, Lock } from "../bulk-sql.ts";

export function postgresRows({ ask, tell }: Pick<Connection, "ask" | "tell">): BulkSql {
  const rowsOf = async (sql: string, values: readonly unknown[]): Promise<never[]> =>
    (await ask(sql, values, nameOf(sql))).rows as never[];
  const write = (sql: string, values: readonly unknown[]): Promise<void> => tell(sql, values, nameOf(sql));
  return {
    dialect: "postgres",
    query: (sql, parameters) => {
      let n = 0;
      return rowsOf(
        sql.replace(/\?/g, () => `$${(n += 1)}`),
        parameters,
      );
    },
    find: (table, columns, key, values, lockBy) =>
      values.length === 0
        ? Promise.resolve([])
        : rowsOf(
            `select ${columns.join(", ")} from ${table} where ${key} = any($1::${typeOf(table, key)}[])
              ${lockBy === undefined ? "" : `order by ${lockBy} for update`}`,
            [binaryArray(typeOf(table, key), values)],
          ),
    insert: async (table, rows, conflict = "") => {
      if (rows.length === 0) return;
      const columns = columnsOf(rows);
      const into = `insert into ${table} (${columns.join(", ")}) select * from ${unnested(table, columns)} ${conflict}`;
      await write(into, transposed(table, rows, columns));
    },
    update: async (table, rows, { set, where, returning }) => {
      if (rows.length === 0) return [];
      const columns = columnsOf(rows);
      const update = `update ${table} set ${set} from ${unnested(table, columns)} as v (${columns.join(", ")}) where ${where}`;
      const values = transposed(table, rows, columns);
      if (returning) return rowsOf(`${update} returning ${table}.*`, values);
      await write(update, values);
      return [];
    },
    newSeqs: async (n) => {
      if (n === 0) return [];
      const rows: { seq: number }[] = await rowsOf(
        "select nextval(pg_get_serial_sequence('runs', 'seq')) as seq from generate_series(1, $1::int) order by 1",
        [n],
      );
      return rows.map(({ seq }) => seq);
    },
    index: async (words) => {
      const gone = words.flatMap(({ seq, after }) => (after === null ? [seq] : []));
      if (gone.length > 0)
        await write("delete from run_words where rowid = any($1::bigint[])", [binaryArray("bigint", gone)]);
      const now = words.flatMap(({ seq, after }) => (after === null ? [] : [{ seq, vector: vectorOf(after) }]));
      if (now.length === 0) return;
      await write(
        `insert into run_words (rowid, words) select * from unnest($1::bigint[], $2::tsvector[])
          on conflict (rowid) do update set words = excluded.words`,
        [
          binaryArray(
            "bigint",
            now.map(({ seq }) => seq),
          ),
          binaryArray(
            "tsvector",
            now.map(({ vector }) => vector),
          ),
        ],
      );
    },
    lock: (name, of = "") => write("select pg_advisory_xact_lock($1::int, hashtext($2))", [LOCKS[name], of]),
    lockDeliveries: (ids) =>
      write(
        `select e.id from deliveries e where (e.subject_id, e.sink) in
          (select d.subject_id, d.sink from deliveries d where d.id = any($1::text[])) order by e.id for update`,
        [binaryArray("text", ids)],
      ),
  };
}

/** Prepared once a connection, under a name of its own. Callers have few different statements; were there many, those would be prepared each time. */
const names = new Map<string, string>();
const MAX_NAMES = 200;
function nameOf(sql: string): string | undefined {
  const known = names.get(sql);
  if (known !== undefined || names.size === MAX_NAMES) return known;
  const name = `relay_${names.size}`;
  names.set(sql, name);
  return name;
}

/**
 * Advisory locks end with the transaction (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). The numbers
 * are ours alone in a database.
 */
const LOCKS: Record<Lock, number> = {
  schema: 7_390_001,
  lane: 7_390_002,
  ledger: 7_390_003,
  redelivery: 7_390_004,
};

type Row = Record<string, unknown>;

const columnsOf = ([first]: readonly object[]): string[] => Object.keys(first ?? {});

const transposed = (table: string, rows: readonly object[], columns: readonly string[]): Buffer[] =>
  columns.map((column) =>
    binaryArray(
      typeOf(table, column),
      rows.map((row) => (row as Row)[column] ?? null),
    ),
  );

const unnested = (table: string, columns: readonly string[]): string =>
  `unnest(${columns.map((column, i) => `$${i + 1}::${typeOf(table, column)}[]`).join(", ")})`;

function typeOf(_table: string, column: string): ElementType {
  if (BYTES.has(column)) return "bytea";
  return NUMBERS.has(column) ? "bigint" : "text";
}

const BYTES = new Set(["block"]);
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
  "ended",
  "due_at",
  "failures",
  "first_seq",
  "follow_up_at",
  "follow_ups",
  "hour",
  "last_seq",
  "last_failure_at",
  "last_received_at",
  "last_success_at",
  "maybe_sent",
  "mine",
  "next_at",
  "next_attempt_at",
  "openings",
  "received_at",
  "revision",
  "seq",
  "seen_at",
  "settled",
  "start",
  "state_bytes",
  "subject_at",
  "taken_until",
  "throttled",
  "until",
]);
