/**
 * What a team would run in the relay's place for the same promise: each program of `alternatives/`, with the service
 * that stores its jobs. Every one is durable: what was answered with 200 survives `kill -9` of all its processes.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { npmFolder, reason, systemProgram } from "../install.ts";
import { freePort, listens, logIn, start, type Started } from "../process.ts";
import type { Place, Subject } from "../subject.ts";
import { tools } from "../tools.ts";
import { startNode } from "./node.ts";
import { relayEnvironment, ROOT, type RelayOptions } from "./relay.ts";

type Slowness = Pick<RelayOptions, "fsyncUs">;

interface Alternative extends Slowness {
  name: string;
  /** `name@version` of what its program loads, the package itself first. */
  packages?: [string, ...string[]];
  /** Finds the programs of its service. Throws when they are missing. */
  findService?: () => unknown;
  startService?: (place: Place, slowness: Slowness) => Promise<{ service: Started; env: Record<string, string> }>;
  /** Name of its SQLite file. */
  sqlite?: string;
}

const alternative = ({ name, packages, findService, startService, sqlite, fsyncUs }: Alternative): Subject => ({
  name,
  delivers: true,
  unavailable: () =>
    reason(() => {
      findService?.();
      if (packages !== undefined) npmFolder(...packages);
    }),
  start: async (place) => {
    const slowness = fsyncUs === undefined ? {} : { fsyncUs };
    const { service, env } = (await startService?.(place, slowness)) ?? { service: null, env: {} };
    try {
      const port = await freePort();
      const database = join(place.folder, sqlite ?? "");
      const running = await startNode(place, {
        argv: [process.execPath, join(import.meta.dirname, "..", "alternatives", `${name}.ts`)],
        cwd: ROOT,
        counted: sqlite === undefined ? undefined : database,
        env: {
          ...relayEnvironment({ port, database, receiver: place.receiver.url }),
          ...env,
          ...(sqlite === undefined ? {} : { DATABASE: database }),
          ...(packages === undefined ? {} : { BENCH_PEER: npmFolder(...packages) }),
          ...slowSyncs(place, slowness),
        },
        target: {
          port,
          path: "/webhook",
          bodies: place.bodies("skyvern"),
          signed: true,
          expect: '"result":"accepted"',
          echo: true,
        },
      });
      if (service === null) return running;
      const stop = async () => {
        const code = await running.stop();
        await service.stop();
        return code;
      };
      return { ...running, beside: [service.pid], stop };
    } catch (error) {
      await service?.stop();
      throw error;
    }
  },
});

/** The library is copied to where a service that runs as another user may read it. */
function slowSyncs({ folder }: Place, { fsyncUs }: Slowness): Record<string, string> {
  if (fsyncUs === undefined) return {};
  const library = join(folder, "slow-fsync.so");
  // Whoever has it loaded must not lose it.
  if (!existsSync(library)) copyFileSync(tools().slowFsync, library);
  return { LD_PRELOAD: library, BENCH_FSYNC_US: `${fsyncUs}` };
}

/** One table in SQLite: the limit. */
export const outbox = (slowness: Slowness = {}): Subject =>
  alternative({ name: "outbox", sqlite: "outbox.db", ...slowness });

export const bullmq = (slowness: Slowness = {}): Subject =>
  alternative({
    name: "bullmq",
    packages: ["bullmq@6.7.0", "ioredis@6.0.0"],
    findService: redisProgram,
    startService: startRedis,
    ...slowness,
  });

export const graphileWorker = (slowness: Slowness = {}): Subject =>
  alternative({ name: "graphile-worker", packages: ["graphile-worker@0.18.0"], ...onPostgres, ...slowness });

export const pgBoss = (slowness: Slowness = {}): Subject =>
  alternative({ name: "pg-boss", packages: ["pg-boss@12.38.0"], ...onPostgres, ...slowness });

const redisProgram = () => systemProgram("redis-server", "redis-server");

async function startRedis(place: Place, slowness: Slowness) {
  const port = await freePort();
  // What the log holds needs no snapshots.
  const flags = { port, bind: "127.0.0.1", dir: place.folder, appendonly: "yes", appendfsync: "always", save: "" };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, `${value}`]);
  const service = await start(
    {
      argv: [redisProgram(), ...args],
      cwd: place.folder,
      env: slowSyncs(place, slowness),
      logFile: logIn(place.folder, "redis"),
      port: () => port,
    },
    () => listens(port),
  );
  return { service, env: { REDIS_PORT: `${port}` } };
}

const postgresProgram = (program: string) => systemProgram("postgresql-15", program, "/usr/lib/postgresql/15/bin");

/** PostgreSQL refuses to run as root. */
const asNobody = process.getuid?.() === 0 ? ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] : [];

/** With its own defaults, which sync every commit. */
async function startPostgres(place: Place, slowness: Slowness) {
  const port = await freePort();
  const data = join(place.folder, "postgres");
  mkdirSync(data);
  for (const folder of [dirname(place.folder), place.folder]) chmodSync(folder, 0o755);
  if (asNobody.length > 0) execFileSync("chown", ["nobody:nogroup", data]);
  const initdb = ["-D", data, "-U", "relay", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"];
  const [program = "", ...args] = [...asNobody, postgresProgram("initdb"), ...initdb];
  execFileSync(program, args, { cwd: data, stdio: "pipe" });
  const [first = "", ...rest] = [...asNobody, postgresProgram("postgres"), "-D", data, "-p", `${port}`];
  const service = await start(
    {
      argv: [first, ...rest, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="],
      cwd: data,
      env: slowSyncs(place, slowness),
      logFile: logIn(place.folder, "postgres"),
      port: () => port,
    },
    async () => (await listens(port)) && isOpen(port),
  );
  return { service, env: { DATABASE_URL: `postgres://relay@127.0.0.1:${port}/postgres` } };
}

const isOpen = async (port: number): Promise<boolean> => {
  const client = new pg.Client({ host: "127.0.0.1", port, user: "relay", database: "postgres" });
  return client.connect().then(
    async () => {
      await client.end();
      return true;
    },
    () => false,
  );
};

const onPostgres = { findService: () => postgresProgram("postgres"), startService: startPostgres };
