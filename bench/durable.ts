/**
 * The relay beside what a team would run in its place for the same promise, and beside another checkout of itself. CPU,
 * bytes and memory are those of all processes of a subject, stores included; what a subject puts off until after the
 * last delivery belongs to its work.
 */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { inRounds, ratio, round3, type Bench, type Figures, type Options, type Table } from "./bench.ts";
import { readBodies } from "./bodies.ts";
import { deliveriesOf, untilDelivered } from "./deliver.ts";
import { assertAllRight, load } from "./load.ts";
import { descendants, machineCpuMs, sharedMemoryOf, usageOf } from "./process.ts";
import type { Receiver } from "./receiver.ts";
import { markdown } from "./report.ts";
import type { Kept, Place, Running, Subject, Written } from "./subject.ts";
import { bullmq, graphileWorker, outbox, pgBoss } from "./subjects/alternatives.ts";
import { relay } from "./subjects/relay.ts";

export const durable: Bench = {
  name: "durable",
  goals: [],
  what: "the relay beside an outbox in one table, BullMQ, graphile-worker, pg-boss and another checkout (--only a,b)",
  run: async (options) => {
    const kept: Record<string, string> = {};
    const once = durableOnce(options, kept);
    const { table, notes } = await inRounds(subjectsOf(options), options, async (subject, place) => {
      await untilQuiet();
      return once(subject, place);
    });
    return { table, verdicts: [], notes: [LEGEND, ...notes, ...Object.values(kept), ratiosTable(table)] };
  },
};

const LEGEND =
  "Of all processes of a subject: cpuUs (CPU a run, of it laterUs after the last delivery), kB (written to the disk a run, write_bytes of " +
  "/proc/PID/io), rows and commits (SQLite's, a run), idleMb and peakMb (memory, a shared page once), diskPerBody (bytes of the SQLite file " +
  "and its log after the stop / bytes of the bodies). othersCores: cores that others used meanwhile. An empty cell was not measured.";

/** Throws when one is named that does not exist. */
function subjectsOf({ other, only, syncMs }: Options): Subject[] {
  const slowness = syncMs === undefined ? {} : { fsyncUs: syncMs * 1000 };
  const all = [
    relay({ isCounted: true, ...slowness }),
    ...(other === undefined ? [] : [relay({ name: "other", root: other, isCounted: true, ...slowness })]),
    outbox(slowness),
    bullmq(slowness),
    graphileWorker(slowness),
    pgBoss(slowness),
  ];
  const names = all.map(({ name }) => name);
  const unknown = only?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there are ${names.join(", ")}; other needs --other`);
  return all.filter(({ name }) => only?.includes(name) ?? true);
}

const WARM_UP_SECONDS = 1;
/** Longer than the counts of a program are old. */
const SETTLE_MS = 500;

/** `kept` is told what each subject's database holds a run. */
export const durableOnce =
  (options: Pick<Options, "seconds" | "rate" | "oneCore">, kept: Record<string, string> = {}) =>
  async (subject: Subject, place: Place): Promise<Figures> => {
    const running = await subject.start(place);
    const { receiver } = place;
    await pause(SETTLE_MS);
    const memory = watchMemory(running);
    try {
      if (options.oneCore === true) pinToLastCore(running);
      const rated = options.rate === undefined ? {} : { rate: options.rate };
      const warm = await load(place.folder, running.target, { ...rated, seconds: WARM_UP_SECONDS, first: 0 });
      assertAllRight(subject.name, warm);
      await untilDelivered(receiver, warm.right);
      await untilIdle(running);
      await running.loopDelay();

      const before = spentBy(running);
      const [restBefore, from] = [restMs(running, receiver), performance.now()];
      const result = await load(place.folder, running.target, { ...rated, seconds: options.seconds, first: warm.sent });
      const restAfter = restMs(running, receiver) - result.clientCpuMs;
      const othersCores = (restAfter - restBefore) / (performance.now() - from);
      assertAllRight(subject.name, result);
      const runs = warm.right + result.right;
      await untilDelivered(receiver, runs);
      const atDelivery = spentBy(running);
      const loop = await running.loopDelay();
      await untilIdle(running);
      const after = spentBy(running);

      const delivered = deliveriesOf(result, warm.sent, await receiver.times());
      const { posts, ids } = await receiver.count();
      const { idleMb, peakMb } = memory.stop();
      await running.stop();
      const store = running.kept?.();
      if (store) kept[subject.name] = describeRows(subject.name, store, runs);
      const aRun = (of: keyof Spent, since = before) => ((after[of] ?? NaN) - (since[of] ?? NaN)) / result.right;
      return measured({
        acceptedPerSecond: result.perSecond,
        deliveredPerSecond: delivered.perSecond,
        answerP50: result.p50,
        answerP99: result.p99,
        deliveryP50: delivered.p50,
        deliveryP99: delivered.p99,
        cpuUs: aRun("cpuMs") * 1000,
        laterUs: aRun("cpuMs", atDelivery) * 1000,
        kB: aRun("writtenBytes") / 1024,
        rows: aRun("rows"),
        commits: aRun("commits"),
        diskPerBody: store && runs >= ENOUGH_RUNS ? store.bytes / runs / meanBodyBytes(running) : NaN,
        idleMb,
        peakMb,
        loopP99: loop?.p99 ?? NaN,
        loopMax: loop?.max ?? NaN,
        postsPerRun: posts / ids,
        runs: result.right,
        othersCores,
      });
    } finally {
      memory.stop();
      await running.stop();
    }
  };

/** Without what is not a number: it was not measured. */
const measured = (figures: Figures): Figures =>
  Object.fromEntries(Object.entries(figures).filter(([, figure]) => !Number.isNaN(figure)));

/** So many runs that what an empty database takes hardly counts. */
const ENOUGH_RUNS = 2_000;

const meanBodyBytes = ({ target }: Running): number => {
  const bodies = readBodies(target.bodies);
  return bodies.reduce((sum, body) => sum + Buffer.byteLength(body), 0) / bodies.length;
};

const processesOf = ({ pid, beside = [] }: Running): number[] => [pid, ...beside].flatMap(descendants);

interface Spent extends Written {
  cpuMs: number;
  writtenBytes: number;
}
const spentBy = (running: Running): Spent => ({ ...usageOf(processesOf(running)), ...running.written?.() });

/** CPU that the whole machine has used without the subject, the receiver and this process, ms. */
function restMs(running: Running, receiver: Receiver): number {
  const { user, system } = process.cpuUsage();
  return machineCpuMs() - usageOf(processesOf(running)).cpuMs - receiver.cpuMs() - (user + system) / 1000;
}

const LOOK_MS = 1_500;
/** Of one core; queues that look for jobs twice a second take less. */
const IDLE_SHARE = 0.05;
const LONGEST_WORK_MS = 30_000;

/** Until it does nothing in particular, and what it put off is done; gives up after half a minute. */
async function untilIdle(running: Running): Promise<void> {
  await pause(SETTLE_MS);
  for (const giveUpAt = Date.now() + LONGEST_WORK_MS; Date.now() < giveUpAt;) {
    const { cpuMs } = usageOf(processesOf(running));
    await pause(LOOK_MS);
    if (usageOf(processesOf(running)).cpuMs - cpuMs < LOOK_MS * IDLE_SHARE) return;
  }
}

/** Of one core. */
const QUIET_SHARE = 0.25;
const LONGEST_WAIT_MS = 30_000;

/** Until nobody else uses this machine; gives up after half a minute. */
async function untilQuiet(): Promise<void> {
  for (const giveUpAt = Date.now() + LONGEST_WAIT_MS; Date.now() < giveUpAt;) {
    const before = machineCpuMs();
    await pause(SETTLE_MS);
    if (machineCpuMs() - before < SETTLE_MS * QUIET_SHARE) return;
  }
}

const SAMPLE_MS = 250;

function watchMemory(running: Running): { stop(): { idleMb: number; peakMb: number } } {
  const idleMb = sharedMemoryOf(processesOf(running));
  let peakMb = idleMb;
  const sampling = setInterval(() => {
    peakMb = Math.max(peakMb, sharedMemoryOf(processesOf(running)));
  }, SAMPLE_MS);
  return {
    stop: () => {
      clearInterval(sampling);
      return { idleMb, peakMb };
    },
  };
}

/** All that it has started and will start, on the last core; the client and the receiver stay free. */
function pinToLastCore(running: Running): void {
  const core = `${cpus().length - 1}`;
  for (const pid of processesOf(running)) {
    try {
      execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", core, `${pid}`], { stdio: "pipe" });
    } catch (error) {
      // A database server's process may have ended since it was listed.
      if (existsSync(`/proc/${pid}`)) throw error;
    }
  }
}

function describeRows(name: string, { rows }: Kept, runs: number): string {
  const tables = Object.entries(rows).map(([table, count]) => ({ table, aRun: count / runs }));
  const told = tables.filter(({ aRun }) => aRun >= 0.005).toSorted((a, b) => b.aRun - a.aRun);
  const all = tables.reduce((sum, { aRun }) => sum + aRun, 0);
  return `${name} keeps ${all.toFixed(2)} rows a run: ${told.map(({ table, aRun }) => `${table} ${aRun.toFixed(2)}`).join(", ")}`;
}

const COMPARED = [
  "acceptedPerSecond",
  "deliveredPerSecond",
  "answerP99",
  "deliveryP50",
  "deliveryP99",
  "cpuUs",
  "kB",
  "rows",
  "commits",
  "diskPerBody",
  "idleMb",
  "peakMb",
];

/** The relay's figures over those of each other one: medians of the rounds' ratios. */
function ratiosTable(table: Table): string {
  const rows = Object.keys(table).flatMap((name) => {
    if (name === "relay") return [];
    const ratios = COMPARED.map((figure) => ratio(table, figure, "relay", name));
    return [[`relay / ${name}`, ...ratios.map((value) => (value === null ? "" : `${round3(value)}x`))]];
  });
  return rows.length === 0 || table["relay"] === undefined ? "" : markdown([["", ...COMPARED], ...rows]);
}
