/** What a program writes to its SQLite file, seen from outside. */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import type { Kept, Written } from "./subject.ts";

/** To be imported before the program. */
export const ROW_COUNT = join(import.meta.dirname, "servers", "row-count.mjs");
const ROWS = "rows-written";
export const rowsFileIn = (folder: string): string => join(folder, ROWS);

/** Needs {@link ROW_COUNT} in the program; its sums are a tenth of a second old. */
export function writesOf(database: string, folder: string): Written {
  const counts = readdirSync(folder).filter((name) => name.startsWith(ROWS));
  const commits = commitsOf(database);
  return {
    ...(counts.length === 0
      ? {}
      : { rows: counts.reduce((sum, name) => sum + Number(readFileSync(join(folder, name), "utf8")), 0) }),
    ...(commits === null ? {} : { commits }),
  };
}

const WAL_INDEX_VERSION = 3_007_000;
const CHANGES_AT = 8;

/**
 * Every commit of a transaction that wrote counts up `iChange` in the header of the WAL's index
 * (https://sqlite.org/walformat.html, 2.3.1). Null when the database has no such index.
 */
function commitsOf(database: string): number | null {
  const path = `${database}-shm`;
  if (!existsSync(path)) return null;
  const header = readFileSync(path);
  return header.readUInt32LE(0) === WAL_INDEX_VERSION ? header.readUInt32LE(CHANGES_AT) : null;
}

/** Of a database and its WAL. */
export const bytesOf = (database: string): number =>
  [database, `${database}-wal`].reduce((sum, file) => sum + (existsSync(file) ? statSync(file).size : 0), 0);

/** Nobody may write meanwhile. */
export function keptIn(path: string): Kept {
  const bytes = bytesOf(path);
  const database = new BetterSqlite(path, { readonly: true });
  // A virtual table has its rows in tables of its own.
  const tables = database
    .prepare<[], string>("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0 ORDER BY name")
    .pluck()
    .all();
  const rows = Object.fromEntries(
    tables.map((name) => [name, Number(database.prepare(`SELECT count(*) FROM "${name}"`).pluck().get())]),
  );
  database.close();
  return { bytes, rows };
}
