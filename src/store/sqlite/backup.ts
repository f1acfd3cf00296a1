/**
 * Copies a SQLite database while a relay writes to it.
 *
 * The copy shows one moment: a read transaction is held from its first page to its last. In WAL mode that holds up no
 * writer, and keeps SQLite from starting over whenever another process writes, which under load would never end.
 * Meanwhile the WAL file grows by what is written, and shrinks again afterwards.
 */
import { closeSync, fsyncSync, openSync, rmSync } from "node:fs";
import Sqlite from "better-sqlite3";
import { errorText } from "../../platform/error-text.ts";
import { openSqlite } from "../database.ts";
import { SCHEMA_VERSION, readVersion } from "../schema/migrate.ts";
import { createSqlStore } from "../sql-store.ts";

export interface Snapshot {
  /** Bytes of the whole copy. */
  bytes: number;
  /** Rows by table at that moment; null when they were not asked for. */
  rows: Record<string, number> | null;
  /** Deliveries that were pending or sending. */
  pending: number;
}

/** The tables that are counted: what came in and what is owed. */
const TABLES = ["runs", "receipts", "deliveries", "listed_runs", "settings"] as const;

/** Pages (of 4 KB) copied between two checks of the signal. */
const STEP = 1_000;

/**
 * Copies `from` to the new file `to` and makes it fit to be restored: in one file, with every pending delivery marked
 * as perhaps sent, because the running relay may send it. After a restore, Slack is searched before a message is posted
 * again, and mails and requests go out under the same id. Rejects, and leaves no file, when it cannot or was stopped.
 */
export async function copyDatabase(
  from: string,
  to: string,
  options: { counting: boolean; signal: AbortSignal; progress(done: number, of: number): void },
): Promise<Snapshot> {
  // The file holds results, so only its owner may read it from its first byte, whatever the umask. An existing file is
  // never overwritten.
  closeSync(openSync(to, "wx", 0o600));
  const source = new Sqlite(from, { readonly: true, fileMustExist: true, timeout: 5_000 });
  try {
    source.exec("BEGIN");
    // This read fixes the moment that is copied; BEGIN alone does not.
    const version = source
      .prepare<[], { value: string }>("select value from settings where name = 'schema_version'")
      .get();
    if (Number(version?.value) !== SCHEMA_VERSION) {
      throw new Error(
        `the database has schema version ${version?.value ?? 0}, this release ${SCHEMA_VERSION}: use the ` +
          "release that the relay runs",
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
    return { bytes: pages * Number(copy.pragma("page_size", { simple: true })), pending: changes };
  } finally {
    copy.close();
    const file = openSync(path, "r");
    fsyncSync(file);
    closeSync(file);
  }
}

/** A database and the files that may lie beside it. */
export function removeDatabase(path: string): void {
  for (const ending of ["", "-journal", "-wal", "-shm", ".lock"]) rmSync(path + ending, { force: true });
}

/**
 * Checks whether a copy could be restored: reads every page and index, counts rows, and opens it as a relay would,
 * which changes it, so give it a copy of the copy. Resolves with what is wrong, or null.
 */
export async function findCopyFault(path: string, rows: Snapshot["rows"]): Promise<string | null> {
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
    return `it cannot be read: ${errorText(error)}`;
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
