/** A connection to SQLite, configured as every writer needs it. */
import { dirname } from "node:path";
import Sqlite from "better-sqlite3";
import { makeFolder } from "../../platform/disk/make-folder.ts";

/**
 * How long a statement waits for a lock of another process (a backup, a person with `sqlite3`) before it fails. The
 * process stands still meanwhile, so the wait is short; the caller answers 503 and Skyvern comes again.
 */
export const BUSY_TIMEOUT_MS = 1_000;

/** Creates the folder of a database and those above it. Throws the system's error where that fails. */
export function makeFolderOf(path: string): void {
  if (path !== ":memory:") makeFolder(dirname(path));
}

/** Opens in WAL mode with `synchronous=FULL`: a commit is on the disk when it returns. */
export function connect(path: string): Sqlite.Database {
  makeFolderOf(path);
  const sqlite = new Sqlite(path, { timeout: BUSY_TIMEOUT_MS });
  // For a new file: makes unused pages returnable without rewriting the whole file.
  sqlite.pragma("auto_vacuum = INCREMENTAL");
  sqlite.pragma("journal_mode = WAL");
  sqlite.pragma("synchronous = FULL");
  sqlite.pragma("foreign_keys = ON");
  // Removed data is overwritten in its page. Freed pages keep their content until they are used again or returned
  // (src/store/sqlite/vacuum.ts).
  sqlite.pragma("secure_delete = FAST");
  return sqlite;
}
