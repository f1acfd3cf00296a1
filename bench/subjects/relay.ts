/** The relay as the package ships it, compiled, with nothing but variables of the README. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import BetterSqlite from "better-sqlite3";
import { KEY } from "../load.ts";
import { answers, freePort } from "../process.ts";
import { bytesOf } from "../sqlite.ts";
import type { Stored, Subject } from "../subject.ts";
import { tools } from "../tools.ts";
import { startNode } from "./node.ts";

export const ROOT = join(import.meta.dirname, "..", "..");
export const TOKEN = "bench-token-of-32-characters-or-so";

export interface RelayOptions {
  name?: string;
  /** Another checkout of the relay. */
  root?: string;
  /** How much longer each fsync takes, microseconds. */
  fsyncUs?: number;
  /** A database that is there already, and stays; without it each start has a fresh one. */
  database?: string;
  /** URL of an empty PostgreSQL database to be used instead. */
  postgres?: string;
  /** Whether what it writes to its SQLite file shall be counted. */
  isCounted?: boolean;
  /** Instead of what the package runs. */
  argv?: [string, ...string[]];
  env?: Record<string, string>;
}

export const relay = ({ name = "relay", root = ROOT, fsyncUs, argv, env, ...given }: RelayOptions = {}): Subject => ({
  name,
  delivers: true,
  start: async (place) => {
    const port = await freePort();
    const database = given.database ?? join(place.folder, "relay.db");
    const before = given.database === undefined || !existsSync(database) ? NOTHING : countIn(database);
    const running = await startNode(place, {
      argv: argv ?? startOf(root),
      cwd: root,
      counted: given.isCounted === true ? database : undefined,
      env: {
        ...relayEnvironment({ port, database: given.postgres ?? `sqlite:${database}`, receiver: place.receiver.url }),
        ...(fsyncUs === undefined ? {} : { LD_PRELOAD: tools().slowFsync, BENCH_FSYNC_US: `${fsyncUs}` }),
        ...env,
      },
      target: {
        port,
        path: "/webhook",
        bodies: place.bodies("skyvern"),
        signed: true,
        expect: '"result":"accepted"',
        echo: true,
      },
      isReady: answers(`http://127.0.0.1:${port}/readyz`),
    });
    // The bodies of before were sent to it in an earlier round: their numbers are taken.
    return {
      ...running,
      firstSeq: before.runs,
      ...(given.postgres === undefined
        ? {
            stored: (accepted: number) => storedIn(database, before, accepted),
            isSettled: () => isSettled(database),
          }
        : {}),
    };
  },
});

/**
 * What `npm run build` made of a checkout, with V8's option of the image; one that builds something else is started as
 * its `npm start` does, without npm.
 */
export function startOf(root: string): [string, ...string[]] {
  const compiled = join(root, "dist", "main.js");
  if (existsSync(compiled)) return [process.execPath, "--max-semi-space-size=8", compiled, "serve"];
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { scripts: { start: string } };
  const [program = "node", ...args] = scripts.start.split(" ");
  return [program === "node" ? process.execPath : program, ...args];
}

/** Of a relay with one HTTP sink. */
export const relayEnvironment = (at: { port: number; database: string; receiver: string }): Record<string, string> => ({
  SKYVERN_API_KEY: KEY,
  SKYVERN_BASE_URL: at.receiver,
  DATABASE_URL: at.database,
  HOST: "127.0.0.1",
  PORT: `${at.port}`,
  PUBLIC_URL: `http://127.0.0.1:${at.port}`,
  RELAY_TOKEN: TOKEN,
  SINK_URL: `${at.receiver}/sink`,
  SINK_SECRET: `whsec_${Buffer.from("a secret for benches, 32 bytes..").toString("base64")}`,
  // The receiver is on this machine.
  ALLOW_PRIVATE_NETWORKS: "127.0.0.1/32",
});

interface Counts {
  runs: number;
  deliveries: number;
}
const NOTHING: Counts = { runs: 0, deliveries: 0 };

function countIn(path: string): Counts {
  const database = new BetterSqlite(path, { readonly: true });
  const of = (table: string) => (database.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
  const counts = { runs: of("runs"), deliveries: of("deliveries") };
  database.close();
  return counts;
}

/** There must be as many new runs on disk as were answered with 200. */
function storedIn(path: string, before: Counts, accepted: number): Stored {
  const after = countIn(path);
  for (const what of ["runs", "deliveries"] as const) {
    const made = after[what] - before[what];
    if (made !== accepted)
      throw new Error(`${accepted} webhooks were answered with 200, and ${made} ${what} are on disk`);
  }
  const database = new BetterSqlite(path, { readonly: true });
  const one = (sql: string) => Number(Object.values(database.prepare(sql).get() as Record<string, unknown>)[0]);
  const stored = {
    runs: after.runs,
    bodyBytes: one("SELECT coalesce(sum(body_bytes), 0) FROM receipts"),
    unused: one("PRAGMA freelist_count") * one("PRAGMA page_size"),
    bytes: bytesOf(path),
    parts: partsOf(database),
  };
  database.close();
  return stored;
}

/** Nothing is left that is done later: an older release indexes and packs runs after they came. */
function isSettled(path: string): boolean {
  const database = new BetterSqlite(path, { readonly: true });
  const isOlder = database.prepare("SELECT 1 FROM sqlite_master WHERE name = 'unindexed'").get() !== undefined;
  const left = isOlder && database.prepare("SELECT doc FROM unindexed UNION ALL SELECT doc FROM states LIMIT 1").get();
  database.close();
  return !left;
}

/** By SQLite's own count of pages (https://sqlite.org/dbstat.html). */
function partsOf(database: BetterSqlite.Database): Record<string, number> {
  const parts = database.prepare<[], { name: string; bytes: number }>(
    "SELECT name, sum(pgsize) AS bytes FROM dbstat WHERE aggregate = TRUE GROUP BY name ORDER BY bytes DESC",
  );
  return Object.fromEntries(parts.all().map(({ name, bytes }) => [name, bytes]));
}
