/** A connection to SQLite, as every writer has it. By itself, so that the thread that writes loads nothing else. */
import { existsSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import Sqlite from "better-sqlite3";

/**
 * How long a statement waits for a lock of another process (a backup, a person with `sqlite3`) before it fails. The
 * process stands still meanwhile, so it is short; the caller answers 503 and Skyvern comes again.
 */
export const BUSY_TIMEOUT_MS = 1_000;

/** The folder of a database, and those above it. Throws what the system says where none can be made. */
export function makeFolder(path: string): void {
  if (path !== ":memory:") make(dirname(path));
}

/** One after the other: `recursive` goes round in circles where a file system has no room for folders, such as /proc. */
function make(folder: string): void {
  if (existsSync(folder)) return;
  make(dirname(folder));
  try {
    mkdirSync(folder);
  } catch (error) {
    // Another process may have been quicker.
    if (!existsSync(folder)) throw error;
  }
}

/** In WAL mode with `synchronous=FULL`: a commit is on the disk when it returns. */
export function connect(path: string): Sqlite.Database {
  makeFolder(path);
  const sqlite = new Sqlite(path, { timeout: BUSY_TIMEOUT_MS });
  // Of a new file: what is no longer used can be given back without writing everything anew.
  sqlite.pragma("auto_vacuum = INCREMENTAL");
  sqlite.pragma("journal_mode = WAL");
  sqlite.pragma("synchronous = FULL");
  sqlite.pragma("foreign_keys = ON");
  // What is removed is overwritten in its page. Pages that become free keep theirs until they are used again or given back (src/store/sqlite/vacuum.ts).
  sqlite.pragma("secure_delete = FAST");
  return sqlite;
}
