import { errorText } from "../../platform/error-text.ts";
/**
 * Whether a SQLite file is whole. A file that was restored beside the `-wal` of another one opens without a word:
 * SQLite writes the old pages of that log over the restored ones. So a cheap look is taken at each start, and the whole
 * file is read by a process of its own, which holds up nothing.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import type Sqlite from "better-sqlite3";

/** A file up to this size is read whole at the start: that takes some 50 ms. */
const SMALL_BYTES = 16_000_000;
const MAX_FINDINGS = 3;

/**
 * What a cheap look finds: all of a small file; of a large one the schema and both ends of each table. Empty: nothing.
 */
export function findDamageQuickly(sqlite: Sqlite.Database): string[] {
  try {
    const size = pragma(sqlite, "page_count") * pragma(sqlite, "page_size");
    if (size <= SMALL_BYTES) return runCheck(sqlite, "quick_check");
    // The index's own table keeps no rows; those that it writes to are its shadow tables.
    const tables = sqlite.prepare(
      "select name from pragma_table_list where schema = 'main' and type in ('table', 'shadow') and name not like 'sqlite_%'",
    );
    for (const name of tables.pluck().all() as string[]) {
      const table = `"${name.replaceAll('"', '""')}"`;
      for (const end of ["", " desc"]) sqlite.prepare(`select * from ${table} order by 1${end} limit 1`).all();
    }
    return [];
  } catch (error) {
    return [errorText(error)];
  }
}

/** What SQLite finds in every page and index. Blocks for as long as the file takes to be read. */
export const findDamage = (sqlite: Sqlite.Database): string[] => runCheck(sqlite, "integrity_check");

/** What SQLite says is wrong, at most three findings. Empty: nothing. */
export function runCheck(sqlite: Sqlite.Database, name: "quick_check" | "integrity_check"): string[] {
  try {
    const rows = sqlite.prepare(`pragma ${name}(${MAX_FINDINGS})`).pluck().all() as string[];
    // SQLite puts a heading over the first finding, which says nothing.
    return rows.filter((row) => row !== "ok").map((row) => row.replace(/^\*\*\* in database \w+ \*\*\*\n/, ""));
  } catch (error) {
    return [errorText(error)];
  }
}

const pragma = (sqlite: Sqlite.Database, name: string): number => Number(sqlite.pragma(name, { simple: true }));

/** For the operator: which file, what was found, and what to do. */
export const describeDamage = (path: string, found: readonly string[]): string =>
  `${path} is damaged (${found[0]?.split("\n")[0] ?? "unknown"}): stop the relay, move ${path}, ${path}-wal and ${path}-shm away ` +
  `together, and put a backup in their place without any -wal beside it (docs/operations.md)`;

export interface IntegrityWatch {
  /** Why the database cannot be relied on, or null as far as is known. */
  damage(): string | null;
  /** Reads the whole file in a process of its own; calls while it does so share it. */
  check(): Promise<void>;
}

export interface IntegrityDeps {
  path: string;
  /** Called once, when damage was found. */
  onDamage(damage: string): void;
  signal: AbortSignal;
}

/** Watches one file. What was found stays true until the process ends. */
export function watchIntegrity({ path, onDamage, signal }: IntegrityDeps): IntegrityWatch {
  let damage: string | null = null;
  let checking: Promise<void> | null = null;
  const check = async (): Promise<void> => {
    const found = await readInProcess(path, signal);
    if (found.length === 0 || damage !== null) return;
    damage = describeDamage(path, found);
    onDamage(damage);
  };
  return {
    damage: () => damage,
    check: () => (checking ??= check().finally(() => (checking = null))),
  };
}

const PROGRAM = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "./integrity-process.ts" : "./integrity-process.js", import.meta.url),
);

/** The list is empty also where the process failed, which says nothing about the file. */
function readInProcess(path: string, signal: AbortSignal): Promise<string[]> {
  return new Promise((resolve) => {
    execFile(process.execPath, [PROGRAM, path], { signal }, (error, stdout) => {
      resolve(error ? [] : (JSON.parse(stdout) as string[]));
    });
  });
}
