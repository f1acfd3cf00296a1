/**
 * One, two and three relays on one PostgreSQL, offered one, two and four cores' worth of webhooks: what they accept and
 * deliver a second, and what limits each. A core's worth is what one core can do, all in all: as many webhooks a second
 * as fit into a second of CPU by what one costs relay, PostgreSQL and clients under full load, measured right before.
 * They are sent at fixed times, whatever comes back.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { cpus } from "node:os";
import { join } from "node:path";
import { asAdmin, startPostgres, type PostgresServer } from "../test/support/postgres.ts";
import { GONE } from "./accept.ts";
import { fsyncRate, type Bench, type Options } from "./bench.ts";
import { writeBodies } from "./bodies.ts";
import { deliveriesOf, untilDelivered } from "./deliver.ts";
import { assertAllRight, CONNECTIONS, load, type LoadResult } from "./load.ts";
import { startReceiver, type Receiver } from "./receiver.ts";
import { markdown } from "./report.ts";
import { limitOf } from "./scale/limit.ts";
import { paper, type Cost } from "./scale/paper.ts";
import { watch, type Watched } from "./scale/watch.ts";
import type { Running } from "./subject.ts";
import { relay } from "./subjects/relay.ts";

const RELAYS = [1, 2, 3];
const LOADS = [1, 2, 4];
/** On paper. */
const RATE = 10_000;

/** What one load came to. */
interface Measured extends Watched {
  relays: number;
  /** Cores' worth. */
  load: number;
  offered: number;
  accepted: number;
  /** Null where nothing is delivered. */
  delivered: number | null;
  p50: number;
  p99: number;
  runs: number;
  clientCores: number;
}

export const scale: Bench = {
  name: "scale",
  goals: [],
  what: "one to three relays on one PostgreSQL, under one to four cores' worth of load, and what limits them (one round)",
  run: async (options) => {
    const server = await startPostgres({ durable: true, settings: ["shared_preload_libraries=pg_stat_statements"] });
    try {
      const stored = await grid(server, options, false);
      const delivered = await grid(server, options, true);
      return { table: {}, verdicts: [], notes: notesOf(stored, delivered, 1000 / fsyncRate(options.folder)) };
    } finally {
      await server.remove();
    }
  },
};

/** Every number of relays under every load. The first load of one relay sets what a core's worth is. */
async function grid(server: PostgresServer, options: Options, delivers: boolean): Promise<Measured[]> {
  const measured: Measured[] = [];
  let worth = 0;
  for (const relays of RELAYS) {
    await withFleet({ server, options, relays, delivers }, async (fleet) => {
      await loaded(fleet, { seconds: Math.min(1, options.seconds) });
      if (worth === 0) {
        const full = await loaded(fleet, { seconds: options.seconds });
        worth = 1e6 / costOf(full).allUs;
        options.say(`a core's worth ${delivers ? "delivered" : "stored"}: ${worth.toFixed(0)} a second`);
      }
      for (const load of LOADS) {
        const one = await loaded(fleet, { seconds: options.seconds, rate: load * worth });
        measured.push({ ...one, relays, load });
        options.say(`${relays} relays, load ${load}: ${JSON.stringify(one)}`);
      }
    });
  }
  return measured;
}

interface Fleet {
  running: readonly Running[];
  receiver: Receiver;
  url: string;
  server: PostgresServer;
  folder: string;
  delivers: boolean;
  /** Bodies that were sent, and runs that were accepted. */
  sent: number;
  accepted: number;
}

let databases = 0;

async function withFleet(
  {
    server,
    options,
    relays,
    delivers,
  }: { server: PostgresServer; options: Options; relays: number; delivers: boolean },
  act: (fleet: Fleet) => Promise<void>,
): Promise<void> {
  const name = `scale_${(databases += 1)}`;
  await asAdmin(server.url, `CREATE DATABASE ${name}`);
  const url = server.url.replace(/\/postgres$/, `/${name}`);
  const folder = mkdtempSync(join(options.folder, `${name}-`));
  const receiver = await startReceiver(folder, delivers ? undefined : GONE);
  const bodies = writeBodies(folder, "skyvern");
  const running: Running[] = [];
  try {
    // One after the other: the first makes the tables.
    for (let n = 0; n < relays; n++)
      running.push(await relay({ postgres: url }).start({ folder, receiver, bodies: () => bodies }));
    await act({ running, receiver, url, server, folder, delivers, sent: 0, accepted: 0 });
  } finally {
    await Promise.all(running.map((one) => one.stop()));
    await receiver.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Without a rate each connection sends as soon as it has its answer. */
async function loaded(fleet: Fleet, { seconds, rate }: { seconds: number; rate?: number }): Promise<Measured> {
  const { running, receiver, url, server, folder, delivers } = fleet;
  const ended = await watch(
    url,
    server.pid() ?? 0,
    running.map(({ pid }) => pid),
  );
  const receiving = receiver.cpuMs();
  // Bodies are numbered: each relay's from a number of its own on, far enough apart.
  const first = fleet.sent;
  const apart = APART / running.length;
  const results = await Promise.all(
    running.map(({ target }, n) =>
      load(folder, target, {
        seconds,
        first: first + n * apart,
        connections: Math.floor(CONNECTIONS / running.length),
        ...(rate === undefined ? {} : { rate: rate / running.length }),
      }),
    ),
  );
  for (const result of results) assertAllRight("a relay on PostgreSQL", result);
  fleet.sent += APART;
  const runs = sumOf(results, ({ right }) => right);
  fleet.accepted += runs;
  if (delivers) await untilDelivered(receiver, fleet.accepted);
  const seen = await ended();
  const accepted = sumOf(results, ({ perSecond }) => perSecond);
  const clientMs = sumOf(results, ({ clientCpuMs }) => clientCpuMs) + receiver.cpuMs() - receiving;
  const arrived = delivers ? await receiver.times() : null;
  const lasted = results.map((result, n) =>
    arrived ? result.right / deliveriesOf(result, first + n * apart, arrived).perSecond : 1,
  );
  return {
    ...seen,
    relays: running.length,
    load: 0,
    offered: rate ?? accepted,
    accepted,
    delivered: arrived ? runs / Math.max(...lasted) : null,
    p50: Math.max(...results.map(({ p50 }) => p50)),
    p99: Math.max(...results.map(({ p99 }) => p99)),
    runs,
    clientCores: clientMs / 1000 / seen.seconds,
  };
}

/** Numbers of bodies for one load; the receiver counts a hundred million. */
const APART = 600_000;

const sumOf = (results: readonly LoadResult[], of: (result: LoadResult) => number): number =>
  results.reduce((sum, result) => sum + of(result), 0);

function costOf(one: Measured): Cost & { allUs: number } {
  const us = (cores: number) => (cores * one.seconds * 1e6) / one.runs;
  const { cores, rows } = one;
  return {
    relayUs: us(cores.relays),
    postgresUs: us(cores.postgres),
    allUs: us(cores.relays + cores.postgres + one.clientCores),
    walBytes: one.walBytes / one.runs,
    diskBytes: one.bytes / one.runs,
    inserted: rows.inserted / one.runs,
    dead: (rows.updated + rows.deleted) / one.runs,
    rollupMs: one.rollupMs / Math.max(one.rollups, 1),
  };
}

function notesOf(stored: readonly Measured[], delivered: readonly Measured[], flushMs: number): string[] {
  const coresHere = cpus().length;
  const best = (all: readonly Measured[]) =>
    costOf(all.find(({ relays, load }) => relays === 1 && load === 2) ?? all[0]!);
  const beyond = LOADS.filter((load) => load > coresHere);
  return [
    "### Accepted, nothing delivered",
    tableOf(stored, coresHere),
    "### Accepted and delivered",
    tableOf(delivered, coresHere),
    `A core's worth of load was ${worthOf(stored)} webhooks a second to store and ${worthOf(delivered)} to deliver as well.\nThis machine has ${coresHere} cores` +
      `${beyond.length > 0 ? `: ${beyond.join(" and ")} cores' worth is more than it has` : ""},\nand the clients, the receiver and PostgreSQL run on them too.`,
    `### ${RATE.toLocaleString("en-US")} webhooks a second, on paper`,
    markdown([
      ["what", "how much", "by"],
      ...paper({ rate: RATE, stored: best(stored), delivered: best(delivered), flushMs }),
    ]),
  ];
}

const worthOf = ([first]: readonly Measured[]): string => ((first?.offered ?? 0) / (first?.load || 1)).toFixed(0);

function tableOf(all: readonly Measured[], coresHere: number): string {
  const withDelivered = all.some(({ delivered }) => delivered !== null);
  const head = ["relays", "load, cores' worth", "offered/s", "accepted/s", ...(withDelivered ? ["delivered/s"] : [])];
  const cost = ["p50, p99 ms", "us a run: relays", "PostgreSQL", "clients", "WAL, kB a run", "runs a flush", "limit"];
  return markdown([
    [...head, ...cost],
    ...all.map((one) => {
      const { relayUs, postgresUs, walBytes } = costOf(one);
      const done = one.delivered ?? one.accepted;
      return [
        `${one.relays}`,
        `${one.load}`,
        one.offered.toFixed(0),
        one.accepted.toFixed(0),
        ...(one.delivered === null ? [] : [one.delivered.toFixed(0)]),
        `${one.p50.toFixed(0)}, ${one.p99.toFixed(0)}`,
        relayUs.toFixed(0),
        postgresUs.toFixed(0),
        ((one.clientCores * one.seconds * 1e6) / one.runs).toFixed(0),
        (walBytes / 1000).toFixed(1),
        (one.runs / Math.max(one.flushes, 1)).toFixed(1),
        limitOf({ ...one, done, coresHere }),
      ];
    }),
  ]);
}
