/**
 * B15: the relay on PostgreSQL beside a server that inserts once a request, and three relays on one database beside
 * one. The server is a real one that syncs, on this machine: with three relays, it and the load client, two cores are
 * the limit long before the database is.
 */
import { join } from "node:path";
import pg from "pg";
import { asAdmin, startPostgres } from "../test/support/postgres.ts";
import { acceptOnce, GONE } from "./accept.ts";
import { atLeast, inRounds, ratio, verdict, type Bench, type Figures, type Options } from "./bench.ts";
import { assertAllRight, CONNECTIONS, KEY, load, type LoadResult } from "./load.ts";
import { freePort } from "./process.ts";
import type { Place, Running, Subject } from "./subject.ts";
import { startNode } from "./subjects/node.ts";
import { relay } from "./subjects/relay.ts";

/** Numbers of bodies that no other relay sends. */
const APART = 1_000_000;

export const postgres: Bench = {
  name: "postgres",
  goals: ["B15"],
  what: "PostgreSQL: batched against one insert a request, and one relay against three",
  run: async (options) => {
    const server = await startPostgres({ durable: true });
    let count = 0;
    const fresh = async (): Promise<string> => {
      const name = `bench_${(count += 1)}`;
      await asAdmin(server.url, `CREATE DATABASE ${name}`);
      return server.url.replace(/\/postgres$/, `/${name}`);
    };
    const onFresh = (name: string, make: (url: string) => Subject): Subject => ({
      name,
      delivers: false,
      start: async (place) => make(await fresh()).start(place),
    });
    try {
      const one = onFresh("relay-postgres", (url) => relay({ postgres: url }));
      const inserting = onFresh("postgres-insert", insertingInto);
      const others = named(options).map((root) => onFresh("other", (url) => relay({ root, postgres: url })));
      const alone = await inRounds([inserting, one, ...others], options, acceptOnce(options.seconds), GONE);
      const severally = (relays: number): Subject => onFresh(`${relays}-relays`, () => one);
      const several = await inRounds(
        [severally(1), severally(3)],
        options,
        async ({ name }, place) => {
          const url = await fresh();
          return together(Number(name[0]), url, place, options.seconds);
        },
        GONE,
      );
      const scaled = ratio(several.table, "perSecond", "3-relays", "1-relays");
      return {
        table: { ...alone.table, ...several.table },
        notes: [...alone.notes, ...several.notes],
        verdicts: [
          verdict(
            "B15",
            "PostgreSQL, batched / one insert a request",
            ratio(alone.table, "perSecond", "relay-postgres", "postgres-insert"),
            atLeast(2),
          ),
          {
            ...verdict("B15", "PostgreSQL, accepted/s of 3 relays / of 1", scaled, REPORTED),
            met: null,
            note: "without a goal; the cores of this machine are the limit",
          },
        ],
      };
    } finally {
      await server.remove();
    }
  },
};

/** Another checkout of the relay, if one was named. */
const named = ({ other }: Options): string[] => (other === undefined ? [] : [other]);

const REPORTED = { unit: "x", wanted: "–", isMet: () => true };

const insertingInto = (url: string): Subject => ({
  name: "postgres-insert",
  delivers: false,
  start: async (place) => {
    const port = await freePort();
    const program = join(import.meta.dirname, "servers", "postgres-insert.ts");
    const env = { PORT: `${port}`, BENCH_KEY: KEY, BENCH_DATABASE: url };
    const target = {
      port,
      path: "/webhook",
      bodies: place.bodies("skyvern"),
      signed: true,
      expect: '"run_id"',
      echo: true,
    };
    return startNode(place, { argv: [process.execPath, program], cwd: place.folder, env, target });
  },
});

async function countRows(url: string, table: string) {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const { rows } = await client.query<{ n: string }>(`SELECT count(*) AS n FROM ${table}`);
  await client.end();
  return { runs: Number(rows[0]?.n) };
}

/** So many relays on one database, each with its share of the connections. */
async function together(relays: number, url: string, place: Place, seconds: number): Promise<Figures> {
  const running: Running[] = [];
  try {
    for (let n = 0; n < relays; n++) {
      // One after the other: the first makes the tables.
      running.push(await relay({ postgres: url }).start(place));
    }
    const connections = Math.floor(CONNECTIONS / relays);
    const all = (from: number, seconds: number) =>
      Promise.all(
        running.map((one, n) => load(place.folder, one.target, { seconds, first: from + n * APART, connections })),
      );
    const warm = await all(0, Math.min(1, seconds));
    const before = running.map((one) => one.cpuMs());
    const results = await all(relays * APART, seconds);
    for (const result of [...warm, ...results]) assertAllRight("a relay on PostgreSQL", result);
    const right = sumOfRight(results);
    const cpuMs = running.reduce((sum, one, n) => sum + one.cpuMs() - (before[n] ?? 0), 0);
    const { runs } = await countRows(url, "runs");
    const stored = sumOfRight(warm) + right;
    if (runs !== stored)
      throw new Error(`${stored} webhooks were answered with 200, and ${runs} runs are in the database`);
    const perSecond = results.reduce((sum, result) => sum + result.perSecond, 0);
    return { perSecond, cpuUs: (cpuMs * 1000) / right, p99: Math.max(...results.map(({ p99 }) => p99)) };
  } finally {
    await Promise.all(running.map((one) => one.stop()));
  }
}

const sumOfRight = (results: readonly LoadResult[]): number => results.reduce((sum, { right }) => sum + right, 0);
