/** Checks whether the database can be opened, written and trusted. A relay may be running on it. */
import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import Sqlite from "better-sqlite3";
import { errorText } from "../../platform/error-text.ts";
import { SCHEMA_VERSION } from "../../store/schema/migrate.ts";
import { runCheck } from "../../store/sqlite/integrity.ts";
import { findOthersWritable } from "../../app/trusted-file.ts";
import { about, fault, ok, warning, type Diagnosis, type Finding } from "./finding.ts";
import { nearest, type DoctorHost } from "./host.ts";

/** How long another process may hold the write lock; the relay's own writes take milliseconds. */
const BUSY_TIMEOUT_MS = 3_000;
/** Reading all of a larger database takes minutes. */
const QUICK_CHECK_BYTES = 2_000_000_000;

export function checkDatabase(path: string, { canWrite }: Pick<DoctorHost, "canWrite">): Finding[] {
  if (path === ":memory:") {
    const fix = "set DATABASE_URL to sqlite:PATH, on a disk that stays";
    return about("database", warning("the database is in memory: everything is lost when the process ends", fix));
  }
  const found = existsSync(path) ? lookInside(path, canWrite) : [checkFolder(path, canWrite)];
  const exposed = findOthersWritable(path);
  if (exposed !== null) found.push(warning(`other users of the machine can write to ${exposed}`, EXPOSED_FIX));
  return about("database", ...found);
}

function checkFolder(path: string, canWrite: DoctorHost["canWrite"]): Diagnosis {
  const folder = nearest(dirname(resolve(path)));
  if (canWrite(folder)) return ok(`there is no database at ${path} yet; the relay makes it at its first start`);
  return fault(`no database can be made at ${path}: ${folder} cannot be written`, OWNER);
}

const EXPOSED_FIX = "chmod o-w it, or they can put another database in this one's place";

const OWNER = "give the folder and its files to the user that the relay runs as (in the image: node, uid 1000)";

function lookInside(path: string, canWrite: DoctorHost["canWrite"]): Diagnosis[] {
  for (const file of [path, dirname(resolve(path)), `${path}-wal`, `${path}-shm`]) {
    if (existsSync(file) && !canWrite(file)) return [fault(`${file} cannot be written`, OWNER)];
  }
  let sqlite: Sqlite.Database | null = null;
  try {
    sqlite = new Sqlite(path, { fileMustExist: true, timeout: BUSY_TIMEOUT_MS });
    const version = versionIn(sqlite);
    if (version > SCHEMA_VERSION) {
      const found = `the database has schema version ${version}, this release knows ${SCHEMA_VERSION}`;
      return [fault(found, "use the release that wrote it, or a newer one")];
    }
    sqlite.exec("BEGIN IMMEDIATE; ROLLBACK");
    return [checkIntegrity(sqlite, path)];
  } catch (error) {
    return [describeFault(error, path)];
  } finally {
    sqlite?.close();
  }
}

function versionIn(sqlite: Sqlite.Database): number {
  const table = sqlite.prepare("select 1 from sqlite_master where type = 'table' and name = 'settings'").get();
  if (table === undefined) return 0;
  const row = sqlite.prepare<[], { value: string }>("select value from settings where name = 'schema_version'").get();
  return Number(row?.value ?? 0);
}

function checkIntegrity(sqlite: Sqlite.Database, path: string): Diagnosis {
  const pages = Number(sqlite.pragma("page_count", { simple: true }));
  const bytes = pages * Number(sqlite.pragma("page_size", { simple: true }));
  if (bytes > QUICK_CHECK_BYTES) {
    return ok(`${path} opens and can be written; too large to read in passing: backup --verify reads all of it`);
  }
  const found = runCheck(sqlite, "quick_check");
  if (found.length === 0) return ok(`${path} opens, can be written and is intact`);
  return fault(`${path} is damaged: ${found.join("; ").slice(0, 300)}`, RESTORE);
}

const RESTORE =
  "stop the relay, move the file, its -wal and its -shm away together, and put the last backup in their place " +
  "without any -wal beside it; look at the disk's health";

function describeFault(error: unknown, path: string): Diagnosis {
  const code = error instanceof Sqlite.SqliteError ? error.code : "";
  if (/^SQLITE_(BUSY|LOCKED)/.test(code)) {
    const found = `${path} is locked by another process for longer than ${BUSY_TIMEOUT_MS / 1000} s`;
    return fault(found, "end the program that holds it (fuser or lsof name it); the relay answers 503 meanwhile");
  }
  if (/^SQLITE_(CORRUPT|NOTADB)/.test(code))
    return fault(`${path} is damaged or no database: ${errorText(error)}`, RESTORE);
  if (/^SQLITE_(READONLY|CANTOPEN|PERM|AUTH)/.test(code))
    return fault(`${path} cannot be opened: ${errorText(error)}`, OWNER);
  return fault(`${path} cannot be used: ${errorText(error)}`, "look at the disk and at who may write there");
}
