/** The SQLite storage of a Durable Object (Cloudflare Workers) as the store's database. */
import type { Bound, Storage } from "cloudflare:workers";
import { Kysely, SqliteDialect, type SqliteDatabase } from "kysely";
import type { Database } from "../store/database.ts";
import { sqliteRows, type Prepared } from "../store/bulk-sql.ts";
import { StorageFault } from "../store/contract/faults.ts";
import type { Tables } from "../store/tables.ts";
import { createPieces, PIECES_SCHEMA } from "./large-values.ts";

/** The platform's limit on the parameters of one statement. */
const MAX_PARAMETERS = 100;

/**
 * `schema`: schema.sql and schema.sqlite.sql. The object is the only one on its storage, and answers leave it only once
 * what was written before them is durable, so there is nothing to lock and nothing to sync.
 *
 * An operation is one `storage.transaction`: between its statements it waits for nothing but other statements, and one
 * connection, as everywhere on SQLite, keeps the queries of others out of it until it ends.
 */
export function durableDatabase(storage: Pick<Storage, "sql" | "transaction">, schema: string): Database {
  storage.sql.exec(PIECES_SCHEMA);
  const pieces = createPieces(storage);
  const prepare = (text: string): Prepared => {
    const reader = /^\s*(select|with|pragma)\b|\breturning\b/i.test(text);
    const all = (...parameters: unknown[]): Record<string, unknown>[] => {
      // Kysely hands them over as one list.
      const given = (Array.isArray(parameters[0]) ? parameters[0] : parameters) as Bound[];
      const [query, bindings] = packed(text, given.map(pieces.split));
      try {
        return storage.sql
          .exec(query, ...bindings)
          .toArray()
          .map(pieces.join);
      } catch (error) {
        throw toStorageFault(error);
      }
    };
    const run = (...parameters: unknown[]) => {
      all(...parameters);
      const [{ n } = { n: 0 }] = storage.sql.exec("select changes() as n").toArray();
      return { changes: n as number, lastInsertRowid: 0 };
    };
    return { reader, all, run };
  };
  const sqlite = { prepare, close: () => {} };
  const db = new Kysely<Tables>({ dialect: new SqliteDialect({ database: sqlite as unknown as SqliteDatabase }) });
  const rows = sqliteRows(sqlite);
  return {
    dialect: "sqlite",
    db,
    isManaged: true,
    foreignChanges: () => [],
    schema: () => schema,
    script: async (_tx, sql) => {
      storage.sql.exec(sql);
    },
    transaction: (work) => db.connection().execute((connection) => storage.transaction(() => work(connection, rows))),
    read: (work) => db.connection().execute(() => work(rows)),
    close: () => db.destroy(),
  };
}

/** Recognizes faults of the storage. The platform names SQLite's code only at the end of its message. */
const STORAGE_TROUBLE = /: SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|CORRUPT|NOTADB|NOMEM|INTERRUPT)\b/;

const toStorageFault = (error: unknown): unknown =>
  error instanceof Error && STORAGE_TROUBLE.test(error.message)
    ? new StorageFault(error.message, { cause: error })
    : error;

/** A statement with more parameters than the platform allows gets them as one JSON list, which cannot hold bytes. */
function packed(text: string, parameters: readonly Bound[]): [query: string, bindings: readonly Bound[]] {
  if (parameters.length <= MAX_PARAMETERS) return [text, parameters];
  const pieces = text.split("?");
  if (pieces.length !== parameters.length + 1 || parameters.some((value) => value instanceof Uint8Array)) {
    throw new Error(`a statement with ${parameters.length} parameters cannot be put to this storage: ${text}`);
  }
  const query = pieces.reduce((before, after, i) => `${before}(?1 ->> ${i - 1})${after}`);
  return [query, [JSON.stringify(parameters)]];
}
