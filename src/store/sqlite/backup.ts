/**
 * A copy of a SQLite database beside the relay that writes it.
 *
 * The copy is one moment's: a read transaction is held from its first page to its last. In WAL mode that holds up no writer, and
 * keeps SQLite from beginning anew whenever another process writes, which under load would never end. Meanwhile the WAL file
 * grows by what is written, and shrinks again afterwards.
 */
import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import Sqlite from "better-sqlite3";
import { openSqlite } from "../database.ts";
import { SCHEMA_VERSION, readVersion } from "../schema/migrate.ts";
import { createSqlStore } from "../sql-store.ts";

export interface Snapshot {
  /** Of the whole copy. */
  bytes: number;
  /** Rows by table, as they were at that moment; null when they were not asked for. */
  rows: Record<string, number> | null;
  /** Deliveries that waited. */
  waiting: number;
}

/** What is counted: what a relay was told and owes. */
const TABLES = ["runs", "receipts", "deliveries", "listed_runs", "settings"] as const;

/** Pages (of 4 KB) between two looks at the signal. */
const STEP = 1_000;

/**
 * Copies `from` to the new file `to`, and makes it fit to be restored: in one file, and with every delivery that waited marked as
 * perhaps sent, because the relay goes on and may send it. Restored, Slack is looked through before a message is posted again, and mails
 * and requests go out under the same id. Rejects, and leaves no file, when it cannot or was stopped.
 */
export async function copyDatabase(
  from: string,
  to: string,
  options: { counting: boolean; signal: AbortSignal; progress(done: number, of: number): void },
): Promise<Snapshot> {
  // Results are in it: its owner's alone from its first byte, whatever the umask. A file that is there is nobody's to replace.
  closeSync(openSync(to, "wx", 0o600));
  const source = new Sqlite(from, { readonly: true, fileMustExist: true, timeout: 5_000 });
  try {
    source.exec("BEGIN");
    // The moment that is copied: BEGIN alone has not chosen one yet.
    const version = source
      .prepare<[], { value: string }>("select value from settings where name = 'schema_version'")
      .get();
    if (Number(version?.value) !== SCHEMA_VERSION) {
      throw new Error(
        `the database has schema version ${version?.value ?? 0}, this release ${SCHEMA_VERSION}: use the release that the relay runs`,
      );
    }
    const rows = options.counting ? countRows(source) : null;
    await source.backup(to, {
      progress: ({ totalPages, remainingPages }) => {
        options.signal.throwIfAborted();
        options.progress(totalPages - remainingPages, totalPages);
        return STEP;
      },
    });
    return { ...finish(to), rows };
  } catch (error) {
    removeDatabase(to);
    throw error;
  } finally {
    source.close();
  }
}

function countRows(sqlite: Sqlite.Database): Record<string, number> {
  return Object.fromEntries(
    TABLES.map((table) => [
      table,
      sqlite.prepare<[], { n: number }>(`select count(*) as n from ${table}`).get()?.n ?? 0,
    ]),
  );
}

function finish(path: string): Omit<Snapshot, "rows"> {
  const copy = new Sqlite(path, { fileMustExist: true });
  try {
    copy.pragma("journal_mode = DELETE");
    const { changes } = copy
      .prepare("update deliveries set maybe_sent = 1 where state in ('pending', 'sending')")
      .run();
    const pages = Number(copy.pragma("page_count", { simple: true }));
    return { bytes: pages * Number(copy.pragma("page_size", { simple: true })), waiting: changes };
  } finally {
    copy.close();
    const file = openSync(path, "r");
    fsyncSync(file);
    closeSync(file);
  }
}

/** A database and what may lie beside it. */
export function removeDatabase(path: string): void {
  for (const ending of ["", "-journal", "-wal", "-shm", ".lock"]) rmSync(path + ending, { force: true });
}

/**
 * Whether a copy could be restored: every page and index is read, rows are counted, and it is opened as a relay opens its
 * database, which changes it: give it a copy of the copy. Resolves with what is wrong, or null.
 */
export async function faultOfCopy(path: string, rows: Snapshot["rows"]): Promise<string | null> {
  const copy = new Sqlite(path, { fileMustExist: true });
  try {
    const found = (copy.pragma("integrity_check(5)") as { integrity_check: string }[]).map(
      (row) => row.integrity_check,
    );
    if (found.length !== 1 || found[0] !== "ok") return `it is damaged: ${found.join("; ")}`;
    const counted = countRows(copy);
    const other = TABLES.find((table) => rows !== null && rows[table] !== counted[table]);
    if (other !== undefined) return `it has ${counted[other]} ${other}, the database had ${rows?.[other]}`;
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    copy.close();
  }
  return faultWhenOpened(path);
}

async function faultWhenOpened(path: string): Promise<string | null> {
  const database = openSqlite(path, { exclusive: true });
  try {
    const version = await readVersion(database);
    if (version !== SCHEMA_VERSION) return `it has schema version ${version}`;
    const store = createSqlStore(database);
    await store.ping(0);
    const [newest] = (await store.runs({}, { limit: 1 })).runs;
    if (!newest) return null;
    const runId = newest.state.run.run_id;
    const [receipts] = await Promise.all([
      store.receipts(runId),
      store.deliveries({ runId }, { limit: 10 }),
      store.counts(),
    ]);
    return receipts.length > 0 ? null : `its newest run ${runId} has no receipt`;
  } finally {
    await database.close();
  }
}
