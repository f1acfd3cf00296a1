/** Many rows at a time on PostgreSQL: one statement each, with a column of values a parameter. */
import { binaryArray, type ElementType } from "./postgres-arrays.ts";
import type { Connection } from "./postgres-connection.ts";
import { vectorOf } from "./search-postgres.ts";
import { EVENTS_KEPT, FORGET_EVERY, type Lock, type Rows } from "./statements.ts";

export function postgresRows({ ask, tell }: Pick<Connection, "ask" | "tell">): Rows {
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
    newDocs: async (n) => {
      if (n === 0) return [];
      const rows: { doc: number }[] = await rowsOf(
        "select nextval(pg_get_serial_sequence('runs', 'doc')) as doc from generate_series(1, $1::int) order by 1",
        [n],
      );
      return rows.map(({ doc }) => doc);
    },
    index: async (words) => {
      if (words.size === 0) return;
      await write(
        `insert into run_words (rowid, words) select * from unnest($1::bigint[], $2::tsvector[])
          on conflict (rowid) do update set words = excluded.words`,
        [binaryArray("bigint", [...words.keys()]), binaryArray("tsvector", [...words.values()].map(vectorOf))],
      );
    },
    appendEvents: async (events) => {
      if (events.length === 0) return;
      const columns = ["kind", "run_id", "delivery", "told"];
      await write(
        `insert into events (id, ${columns.join(", ")})
          select (select coalesce(max(id), 0) from events) + n, ${columns.join(", ")}
          from ${unnested("events", columns)} with ordinality as v (${columns.join(", ")}, n)`,
        transposed("events", events, columns),
      );
      if (Math.floor(appended / FORGET_EVERY) !== Math.floor((appended += events.length) / FORGET_EVERY))
        await write("delete from events where id <= (select max(id) from events) - $1::bigint", [EVENTS_KEPT]);
    },
    lock: (name, of = "") => write("select pg_advisory_xact_lock($1::int, hashtext($2))", [LOCKS[name], of]),
    lockDeliveries: (ids) =>
      write(
        `select e.id from deliveries e where (e.run_id, e.sink) in
          (select d.run_id, d.sink from deliveries d where d.id = any($1::text[])) order by e.id for update`,
        [binaryArray("text", ids)],
      ),
  };
}

/** Events that this process appended, to forget the oldest now and then. */
let appended = 0;

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
  words: 7_390_005,
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

function typeOf(table: string, column: string): ElementType {
  if (BYTES.has(column)) return "bytea";
  // Ids are text, but for those that count up.
  return NUMBERS.has(column) || (table === "events" && column === "id") ? "bigint" : "text";
}

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
  "state_bytes",
  "started_at",
  "taken_until",
  "throttled",
  "until",
]);
