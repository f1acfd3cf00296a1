import { expect, it } from "vitest";
import { planJobs, type PeriodicJob, type Rounds } from "../../src/app/jobs.ts";
import { Lifecycle } from "../../src/app/lifecycle.ts";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { aRuntime } from "../support/runtime.ts";
import { until } from "../support/until.ts";

const idle = { start: () => {}, stop: async () => {} };
const aJob = (run: PeriodicJob["run"], more: Partial<PeriodicJob> = {}): PeriodicJob => ({
  name: "sweep",
  everyMs: 60_000,
  exclusive: false,
  run,
  ...more,
});

function aLifecycle(job: PeriodicJob, more: Partial<ConstructorParameters<typeof Lifecycle>[0]> = {}) {
  const lines: string[] = [];
  const lifecycle = new Lifecycle({
    worker: idle,
    jobs: [job],
    fleet: null,
    ending: new AbortController(),
    last: async () => {},
    runtime: aRuntime(),
    log: createLog("trace", { write: (line) => void lines.push(line) }),
    ...more,
  });
  return { lifecycle, log: () => lines.join("") };
}

it("a job goes on after a round that failed, which is logged under its name", async () => {
  let rounds = 0;
  const { lifecycle, log } = aLifecycle(
    aJob(async () => {
      if (++rounds === 1) throw new Error("no room");
    }),
  );
  lifecycle.start();
  await until("there is a second round", () => rounds >= 2);
  await lifecycle.drain();
  expect(log()).toContain('"job":"sweep","error":"Error: no room","event":"job.failed"');
  expect(log()).toContain("no room");
});

it("a drain lets the round under way end and begins no other", async () => {
  const { promise: ends, resolve: end } = Promise.withResolvers<void>();
  let rounds = 0;
  const { lifecycle } = aLifecycle(
    aJob(async () => {
      rounds += 1;
      await ends;
    }),
  );
  lifecycle.start();
  await until("a round has begun", () => rounds === 1);
  let isDrained = false;
  const drained = lifecycle.drain().then(() => (isDrained = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(isDrained).toBe(false);
  end();
  await drained;
  expect(rounds).toBe(1);
});

it("a job that knows when it is next due is not run until then", async () => {
  const runtime = aRuntime();
  const dueAt = runtime.now() + 10 * 60_000;
  let begunAt = 0;
  const run = async () => void (begunAt ||= runtime.now());
  const { lifecycle } = aLifecycle(aJob(run, { dueAt: async () => dueAt }), { runtime });
  lifecycle.start();
  await until("it is done", () => begunAt > 0);
  await lifecycle.drain();
  expect(begunAt).toBeGreaterThanOrEqual(dueAt);
});

it("a job that one relay does for all asks the fleet first, and any other job does not", async () => {
  const asked: string[] = [];
  const fleet = {
    runExclusively: async <T>(duty: string, everyMs: number, act: () => Promise<T>) => {
      asked.push(`${duty} ${everyMs}`);
      return act();
    },
  };
  let rounds = 0;
  const run = async () => void (rounds += 1);
  await aLifecycle(aJob(run), { fleet }).lifecycle.run("sweep");
  await aLifecycle(aJob(run, { exclusive: true }), { fleet }).lifecycle.run("sweep");
  expect({ rounds, asked }).toEqual({ rounds: 2, asked: ["sweep 60000"] });
});

it("the table of jobs has no name twice, and no job that the configuration does not ask for", () => {
  const rounds = { watchDisk: null } as Rounds;
  const due = { followUp: async () => null, archive: async () => null };
  const nothing = {
    archive: null,
    tracing: null,
    heartbeat: null,
    alerts: { onDead: [], onCoverageGap: [], onDiskLow: [], onSinkDown: [] },
    retention: { runsMs: null, rawMs: null, hold: [] },
    reconcile: null,
  };
  const namesOf = (config: object, isFleet: boolean) =>
    planJobs({ ...nothing, ...config } as unknown as Parameters<typeof planJobs>[0], rounds, due, isFleet).map(
      ({ name }) => name,
    );
  expect(namesOf({}, false)).toEqual(["reread", "follow_up", "upkeep"]);
  const all = namesOf(
    {
      archive: {},
      tracing: {},
      heartbeat: { everyMs: 1 },
      alerts: { ...nothing.alerts, onDead: ["ops"] },
      retention: { ...nothing.retention, rawMs: 1 },
      reconcile: { everyMs: 1 },
    },
    true,
  );
  expect(new Set(all).size).toBe(all.length);
  expect(all).toHaveLength(10);
});
