import Sqlite from "better-sqlite3";
import { Kysely, SqliteDialect } from "kysely";
import { BUSY_TIMEOUT_MS, connect, makeFolder } from "./connection.ts";
import { schemaSql } from "./schema.ts";
import { StorageFault } from "./store.ts";
import { sqliteRows, type Dialect, type Rows } from "./statements.ts";
import type { Session } from "./postgres.ts";
import type { Tables } from "./tables.ts";

/** What the store needs of a database beyond queries. */
export interface Database {
  readonly dialect: Dialect;
  readonly db: Kysely<Tables>;
  /** The host of the database sees to its space. */
  readonly isManaged?: true;
  /** The end state: schema.sql, and beside it what this dialect alone needs. */
  schema(): string;
  /** Runs statements separated by semicolons, in the transaction given. */
  script(tx: Kysely<Tables>, sql: string): Promise<void>;
  /**
   * Runs `work` on one connection in one transaction, perhaps more than once; rolls back when it throws. `rows`: many rows at a time, at
   * little cost.
   */
  transaction<T>(work: (db: Kysely<Tables>, rows: Rows) => Promise<T>): Promise<T>;
  /** Runs `work` on one connection, outside of any transaction. */
  read<T>(work: (rows: Rows) => Promise<T>): Promise<T>;
  /** A connection of its own; only where several relays share the database. */
  session?(): Promise<Session>;
  close(): Promise<void>;
}

/** The database belongs to another process that runs. */
export class DatabaseInUse extends Error {}

/**
 * Opens `path` (`:memory:` for tests) in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns.
 * `exclusive` also takes the lock that keeps a second relay off the same file; the operating system gives it back when
 * the process ends, however it ends. Throws DatabaseInUse when it is taken.
 */
export function openSqlite(path: string, { exclusive }: { exclusive: boolean }): Database {
  const isFile = path !== ":memory:";
  const lock = exclusive && isFile ? takeLock(`${path}.lock`) : null;
  try {
    const writer = connect(path);
    return sqliteDatabase(writer, { lock, ...(isFile ? { reader: openReader(path) } : {}) });
  } catch (error) {
    lock?.close();
    throw error;
  }
}

/** Opens what a relay made, to look at it: nothing is created or written, and a relay may be running on it. */
export function openSqliteReadOnly(path: string): Database {
  return sqliteDatabase(openReader(path));
}

const openReader = (path: string): Sqlite.Database =>
  new Sqlite(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });

/** The storage's own troubles, by SQLite's result codes (https://sqlite.org/rescode.html). */
const STORAGE_CODES =
  /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|CORRUPT|NOTADB|NOLFS|PERM|AUTH|PROTOCOL|NOMEM|INTERRUPT)/;

/** Null when it is no trouble of the storage's. */
export const storageFault = (code: string | null, message: string, cause?: unknown): StorageFault | null =>
  code !== null && STORAGE_CODES.test(code) ? new StorageFault(`${code}: ${message}`, { cause }) : null;

/** What a statement failed for, as the Store says it. */
export const faultOf = (error: unknown): unknown =>
  (error instanceof Sqlite.SqliteError && storageFault(error.code, error.message, error)) || error;

/** Throws DatabaseInUse when another process has it. */
export function takeLock(path: string): Sqlite.Database {
  makeFolder(path);
  const lock = new Sqlite(path, { timeout: 0 });
  try {
    lock.pragma("journal_mode = DELETE");
    lock.exec("BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock.close();
    if (error instanceof Sqlite.SqliteError && error.code.startsWith("SQLITE_BUSY")) {
      throw new DatabaseInUse(
        "another skyvern-relay process runs on this database; stop it, or use PostgreSQL for several relays",
        { cause: error },
      );
    }
    throw error;
  }
}

/** A transaction that waits for its turn. */
interface Waiting {
  work(db: Kysely<Tables>, rows: Rows): Promise<unknown>;
  resolve(result: never): void;
  reject(error: unknown): void;
}

/**
 * Group commit: the transactions that are asked for in one turn of the event loop share one BEGIN and one COMMIT, and so one wait for the
 * disk. States: idle → gathering (until the turn ends) → writing, while the next group gathers → idle or writing. A transaction that throws
 * costs only itself: its group is rolled back and done again, each alone. Only a storage that is gone refuses them all.
 */
class GroupCommit {
  #waiting: Waiting[] = [];
  #busy = false;
  readonly #sqlite: Sqlite.Database;
  readonly #db: Kysely<Tables>;
  readonly #rows: Rows;

  constructor(sqlite: Sqlite.Database, db: Kysely<Tables>) {
    this.#sqlite = sqlite;
    this.#db = db;
    this.#rows = sqliteRows(sqlite);
  }

  /** Resolves once the commit is on the disk. `work` may run more than once, and must await nothing but this database. */
  run<T>(work: (db: Kysely<Tables>, rows: Rows) => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ work, resolve, reject });
      if (this.#busy) return;
      this.#busy = true;
      setImmediate(() => void this.#writeAll());
    });
  }

  /** Resolves when nothing that was asked for waits to be written. */
  async idle(): Promise<void> {
    while (this.#busy) await new Promise(setImmediate);
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const group = this.#waiting;
      this.#waiting = [];
      try {
        await this.#db.connection().execute((db) => this.#write(db, group));
      } catch (error) {
        // The connection is closed.
        for (const { reject } of group) reject(error);
      }
      // Requests and answers of others get their turn between two groups.
      await new Promise(setImmediate);
    }
    this.#busy = false;
  }

  /** Settles each transaction of the group. */
  async #write(db: Kysely<Tables>, group: readonly Waiting[]): Promise<void> {
    try {
      // IMMEDIATE takes the write lock at once, so that a writer of another process is met here and not at the first write.
      this.#sqlite.exec("BEGIN IMMEDIATE");
      const results: unknown[] = [];
      for (const { work } of group) results.push(await work(db, this.#rows));
      this.#sqlite.exec("COMMIT");
      for (const [i, { resolve }] of group.entries()) resolve(results[i] as never);
    } catch (error) {
      if (this.#sqlite.inTransaction) this.#sqlite.exec("ROLLBACK");
      const fault = faultOf(error);
      if (fault instanceof StorageFault || group.length === 1) for (const { reject } of group) reject(fault);
      else for (const one of group) await this.#write(db, [one]);
    }
  }
}

/** `reader` is a second connection to the same file, or the same connection where there is no file. */
export function sqliteDatabase(
  writer: Sqlite.Database,
  { reader = writer, lock = null }: { reader?: Sqlite.Database; lock?: Sqlite.Database | null } = {},
): Database {
  const db = kyselyOn(reader);
  const writing = reader === writer ? db : kyselyOn(writer);
  const commits = new GroupCommit(writer, writing);
  const rows = sqliteRows(reader);
  return {
    dialect: "sqlite",
    db,
    schema: () => schemaSql("sqlite"),
    script: async (_tx, sql) => {
      writer.exec(sql);
    },
    transaction: (work) => commits.run(work),
    read: (work) => db.connection().execute(() => work(rows)),
    close: async () => {
      await commits.idle();
      await db.destroy();
      if (writing !== db) await writing.destroy();
      lock?.close();
    },
  };
}

const kyselyOn = (database: Sqlite.Database): Kysely<Tables> =>
  new Kysely({ dialect: new SqliteDialect({ database }) });
