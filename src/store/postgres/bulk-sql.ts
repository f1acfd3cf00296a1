/** Bulk SQL on PostgreSQL: one statement for many rows. PostgreSQL takes the types of the values from their table. */
import { sql, type Kysely, type RawBuilder } from "kysely";
import { buildVector } from "../search/postgres.ts";
import type { BulkSql, Lock } from "../bulk-sql.ts";
import type { Tables } from "../tables.ts";

export function postgresRows(db: Kysely<Tables>): BulkSql {
  const ask = async (statement: RawBuilder<unknown>): Promise<never[]> => (await statement.execute(db)).rows as never[];
  const execute = async (statement: RawBuilder<unknown>): Promise<void> => void (await statement.execute(db));
  const rows: BulkSql = {
    dialect: "postgres",
    query: (text, parameters) => ask(sql(text.split("?") as unknown as TemplateStringsArray, ...parameters)),
    find: async (table, columns, key, values, lockBy) => {
      if (values.length === 0) return [];
      const locked = lockBy === undefined ? sql`` : sql`order by ${sql.ref(lockBy)} for update`;
      return ask(
        sql`select ${listed(columns)} from ${sql.table(table)} where ${sql.ref(key)} = any(${values}) ${locked}`,
      );
    },
    insert: async (table, given, conflict = "") => {
      if (given.length === 0) return;
      const step = Math.floor(MAX_VALUES / Object.keys(given[0] ?? {}).length);
      for (let at = 0; at < given.length; at += step)
        await db
          .insertInto(table)
          .values(given.slice(at, at + step))
          .modifyEnd(sql.raw(conflict))
          .execute();
    },
    update: async (table, given, { set, where, returning }) => {
      if (given.length === 0) return [];
      return ask(sql`update ${sql.table(table)} set ${sql.raw(set)} from ${toRecords(table, given)} as v
        where ${sql.raw(where)} ${returning ? sql`returning ${sql.table(table)}.*` : sql``}`);
    },
    newSeqs: async (n) => {
      if (n === 0) return [];
      const numbers: { seq: number }[] = await ask(
        sql`select nextval(pg_get_serial_sequence('runs', 'seq')) as seq from generate_series(1, ${n}::int) order by 1`,
      );
      return numbers.map(({ seq }) => seq);
    },
    index: async (words) => {
      const gone = words.flatMap(({ seq, after }) => (after === null ? [seq] : []));
      if (gone.length > 0) await execute(sql`delete from run_words where rowid = any(${gone})`);
      const now = words.flatMap(({ seq, after }) =>
        after === null ? [] : [{ rowid: seq, words: buildVector(after) }],
      );
      await rows.insert("run_words", now, "on conflict (rowid) do update set words = excluded.words");
    },
    lock: (name, of = "") => execute(sql`select pg_advisory_xact_lock(${LOCKS[name]}::int, hashtext(${of}))`),
    lockDeliveries: (ids) =>
      execute(sql`select e.id from deliveries e where (e.subject_id, e.sink) in
        (select d.subject_id, d.sink from deliveries d where d.id = any(${ids})) order by e.id for update`),
  };
  return rows;
}

/**
 * Advisory locks end with the transaction
 * (https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS). Nothing else in the database uses
 * these numbers.
 */
const LOCKS: Record<Lock, number> = {
  schema: 7_390_001,
  lane: 7_390_002,
  ledger: 7_390_003,
  redelivery: 7_390_004,
};

/** The protocol counts the parameters of a statement in 16 bits. */
const MAX_VALUES = 65_535;

const listed = (columns: readonly string[]) => sql.join(columns.map((column) => sql.ref(column)));

/** The given rows as rows of the table; columns that they lack are null. */
const toRecords = (table: keyof Tables, given: readonly object[]): RawBuilder<unknown> =>
  sql`json_populate_recordset(null::${sql.table(table)}, ${toJson(given)})`;

const toJson = (given: readonly object[]): string =>
  JSON.stringify(
    given.map((row) => Object.fromEntries(Object.entries(row).map(([column, value]) => [column, jsonValue(value)]))),
  );

/** Bytes in hex, as PostgreSQL reads them. */
const jsonValue = (value: unknown): unknown =>
  value instanceof Uint8Array ? `\\x${Buffer.from(value).toString("hex")}` : storable(value);

/** PostgreSQL's TEXT holds every character but NUL, and no half of a surrogate pair. */
export const storable = (value: unknown): unknown => {
  if (typeof value === "string") return value.replaceAll("\0", "\uFFFD").toWellFormed();
  return Array.isArray(value) ? value.map(storable) : value;
};
