import Sqlite from "better-sqlite3";
import { Kysely, SqliteDialect } from "kysely";
import { BUSY_TIMEOUT_MS, connect, makeFolderOf } from "./sqlite/connection.ts";
import { describeDamage, findDamageQuickly } from "./sqlite/integrity.ts";
import { schemaSql } from "./schema/schema.ts";
import { StorageFault } from "./contract/faults.ts";
import { sqliteRows, type BulkSql, type Dialect } from "./bulk-sql.ts";
import type { ChangedId } from "./contract/changes.ts";
import type { Tables } from "./tables.ts";

/** What the store needs from a database besides queries. */
export interface Database {
  readonly dialect: Dialect;
  readonly db: Kysely<Tables>;
  /** True when the database's host manages its space. */
  readonly isManaged?: true;
  /** The complete schema: schema.sql and what only this dialect needs. */
  schema(): string;
  /** Runs statements separated by semicolons in the given transaction. */
  script(tx: Kysely<Tables>, sql: string): Promise<void>;
  /**
   * Runs `work` in one transaction on one connection, possibly more than once; rolls back when it throws. `rows`
   * handles many rows at a time at little cost.
   */
  transaction<T>(work: (db: Kysely<Tables>, rows: BulkSql) => Promise<T>): Promise<T>;
  /** Runs `work` on one connection outside any transaction. */
  read<T>(work: (rows: BulkSql) => Promise<T>): Promise<T>;
  /**
   * What other processes have changed since the last call; null means that something changed but it is not known what.
   */
  foreignChanges(): readonly ChangedId[] | null;
  /**
   * Announces a commit to the other relays on the database and wakes them. A notification may get lost. Only where
   * several relays share the database.
   */
  notifyPeers?(changes: readonly ChangedId[] | null): void;
  /**
   * Opens a connection that listens. It calls back when another process announced something or may have done so, which
   * includes every time the connection was made. Only where several relays share the database.
   */
  session?(heard: () => void): DatabaseSession;
  /**
   * Writes the write-ahead log back into the file and empties it. False: another process reads or writes. Only where
   * the relay manages the files.
   */
  emptyLog?(): Promise<boolean>;
  close(): Promise<void>;
}

/** A connection that hears what other processes announce. After it broke, the next statement opens a new one. */
export interface DatabaseSession {
  readonly db: Kysely<Tables>;
  close(): Promise<void>;
}

/** The file is not whole: what the message says is for the operator. */
export class DatabaseDamaged extends Error {}

/** Another running process owns the database. */
export class DatabaseInUse extends Error {}

/**
 * Opens `path` (`:memory:` for tests) in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns.
 * `exclusive` also takes the lock that keeps a second relay off the same file; the operating system gives it back when
 * the process ends, however it ends. Throws DatabaseInUse when it is taken.
 */
export function openSqlite(
  path: string,
  { exclusive, onCorrupt }: { exclusive: boolean; onCorrupt?: () => void },
): Database {
  const isFile = path !== ":memory:";
  const lock = exclusive && isFile ? takeLock(`${path}.lock`) : null;
  try {
    const writer = connect(path);
    const damage = exclusive && isFile ? findDamageQuickly(writer) : [];
    if (damage.length > 0) {
      writer.close();
      throw new DatabaseDamaged(describeDamage(path, damage));
    }
    return sqliteDatabase(writer, {
      lock,
      ...(isFile ? { reader: openReader(path) } : {}),
      ...(onCorrupt ? { onCorrupt } : {}),
    });
  } catch (error) {
    lock?.close();
    throw error;
  }
}

/** Opens a relay's database for reading: nothing is created or written, and a relay may be running on it. */
export function openSqliteReadOnly(path: string): Database {
  return sqliteDatabase(openReader(path));
}

const openReader = (path: string): Sqlite.Database =>
  new Sqlite(path, { readonly: true, fileMustExist: true, timeout: BUSY_TIMEOUT_MS });

/** SQLite's result codes that concern the storage itself (https://sqlite.org/rescode.html). */
const STORAGE_CODES =
  /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|CORRUPT|NOTADB|NOLFS|PERM|AUTH|PROTOCOL|NOMEM|INTERRUPT)/;

/** Null when the error does not concern the storage. */
const storageFault = (code: string | null, message: string, cause?: unknown): StorageFault | null =>
  code !== null && STORAGE_CODES.test(code) ? new StorageFault(`${code}: ${message}`, { cause }) : null;

/** The error of a statement as the Store throws it. */
export const toStorageFault = (error: unknown): unknown =>
  (error instanceof Sqlite.SqliteError && storageFault(error.code, error.message, error)) || error;

/** Throws DatabaseInUse when another process holds the lock. */
function takeLock(path: string): Sqlite.Database {
  makeFolderOf(path);
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

interface SqliteParts {
  reader?: Sqlite.Database;
  lock?: Sqlite.Database | null;
  /** Called whenever a statement finds that the file is damaged. */
  onCorrupt?: () => void;
}

/** `reader` is a second connection to the same file, or the same connection where there is no file. */
export function sqliteDatabase(
  writer: Sqlite.Database,
  { reader = writer, lock = null, onCorrupt }: SqliteParts = {},
): Database {
  const failed = (error: unknown): void => {
    if (error instanceof Sqlite.SqliteError && /^SQLITE_(?:CORRUPT|NOTADB)/.test(error.code)) onCorrupt?.();
  };
  const db = kyselyOn(reader, failed);
  const writing = reader === writer ? db : kyselyOn(writer, failed);
  const rows = { reading: sqliteRows(reader), writing: sqliteRows(writer) };
  let version = dataVersion(writer);
  return {
    dialect: "sqlite",
    db,
    schema: () => schemaSql("sqlite"),
    script: async (_tx, sql) => {
      writer.exec(sql);
    },
    transaction: (work) =>
      writing
        .connection()
        .execute(async (tx) => {
          // IMMEDIATE takes the write lock at once, so a writer in another process is met here and not at the first
          // write.
          writer.exec("BEGIN IMMEDIATE");
          try {
            const result = await work(tx, rows.writing);
            writer.exec("COMMIT");
            return result;
          } catch (error) {
            if (writer.inTransaction) writer.exec("ROLLBACK");
            throw error;
          }
        })
        .catch((error: unknown) => {
          failed(error);
          throw toStorageFault(error);
        }),
    read: (work) =>
      db
        .connection()
        .execute(() => work(rows.reading))
        .catch((error: unknown) => {
          failed(error);
          throw error;
        }),
    foreignChanges: () => {
      const before = version;
      version = dataVersion(writer);
      return version === before ? [] : null;
    },
    // In a transaction of another caller the pragma would fail, so it takes the writing connection for itself.
    emptyLog: () => writing.connection().execute(() => Promise.resolve(truncateLog(writer))),
    close: async () => {
      await db.destroy();
      if (writing !== db) await writing.destroy();
      lock?.close();
    },
  };
}

/** Does not wait for other processes: the event loop would stand still meanwhile. */
function truncateLog(sqlite: Sqlite.Database): boolean {
  sqlite.pragma("busy_timeout = 0");
  try {
    const [result] = sqlite.pragma("wal_checkpoint(TRUNCATE)") as { busy: number }[];
    return result?.busy === 0;
  } catch (error) {
    if (error instanceof Sqlite.SqliteError && error.code.startsWith("SQLITE_BUSY")) return false;
    throw toStorageFault(error);
  } finally {
    sqlite.pragma(`busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}

/**
 * data_version changes when another connection commits (https://sqlite.org/pragma.html#pragma_data_version); the reader
 * never commits.
 */
const dataVersion = (sqlite: Sqlite.Database): number => sqlite.pragma("data_version", { simple: true }) as number;

const kyselyOn = (database: Sqlite.Database, failed: (error: unknown) => void): Kysely<Tables> =>
  new Kysely({
    dialect: new SqliteDialect({ database }),
    log: (event) => {
      if (event.level === "error") failed(event.error);
    },
  });
