import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAttempt } from "../../src/deliver/attempt.ts";
import type { Lane } from "../../src/deliver/lane.ts";
import { Worker, type WorkerDeps } from "../../src/deliver/worker.ts";
import { silentLog } from "../../src/platform/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import type { Outcome } from "../../src/domain/run.ts";
import { sleep, type Runtime } from "../../src/platform/runtime.ts";
import type { Job, Sink } from "../../src/sinks/sink.ts";
import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";

const links = {
  run: (id: string) => `https://r/runs/${id}`,
  artifact: (id: string, key: string) => `https://r/artifacts/${id}/${key}`,
};
const DELIVERED: Outcome = { kind: "delivered", receipt: { status: 200 } };
const RETRY: Outcome = { kind: "retry", reason: "the sink is busy" };

/** A sink that answers as told, and remembers what it was asked. */
function aSink(
  name: string,
  answer: (job: Job, signal: AbortSignal) => Outcome | Promise<Outcome>,
): Sink & { jobs: Job[] } {
  const jobs: Job[] = [];
  return {
    name,
    kind: "http",
    jobs,
    deliver: async (job, signal) => {
      jobs.push(job);
      return answer(job, signal);
    },
  };
}

let store: Store;
let now: number;
let runtime: Runtime;
beforeEach(async () => {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  store = createSqlStore(database, { recordsRestMs: 0 });
  now = 1_000;
  runtime = { now: () => now, random: () => 0.5, sleep, newId: (prefix) => `${prefix}_x` };
});
afterEach(() => store.close());

function aWorker(sinks: (Sink | Lane)[], values: Partial<WorkerDeps> = {}) {
  const attempt = createAttempt({
    enrich: async () => ({ known: { artifacts: [], status: "complete" } }),
    links,
    timeoutMs: 5_000,
    log: silentLog,
  });
  const lanes = sinks.map((sink) => ("sink" in sink ? sink : { sink, concurrency: 2 }));
  return new Worker({
    store,
    lanes,
    attempt,
    scheduleMs: [5_000, 30_000],
    leaseMs: 60_000,
    runtime,
    log: silentLog,
    metrics: createMetrics(),
    ...values,
  });
}

const accept = (id: string, sink = "ops", runId = `tsk_${id}`) =>
  store.accept([
    anArrival(aRun({ run_id: runId, received_at: now }), { decision: { deliveries: [aDelivery(id, sink)] } }),
  ]);
const stateOf = async (id: string) => {
  const all = await store.deliveries({}, { limit: 100 });
  return all.find((delivery) => delivery.id === id);
};

describe("one round", () => {
  it("the worker delivers what is due, with the run as it is now and the delivery's id as key", async () => {
    const sink = aSink("ops", () => DELIVERED);
    await accept("dlv_1");
    await aWorker([sink]).runOnce();
    expect(sink.jobs).toMatchObject([
      {
        deliveryId: "dlv_1",
        attempt: 1,
        cause: "result",
        maybeSent: false,
        report: { run_id: "tsk_dlv_1", revision: 1 },
      },
    ]);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "delivered", receipt: { status: 200 } });
  });

  it("the worker saves what Skyvern listed for an attempt with its record, whatever came of the attempt", async () => {
    const artifacts = [{ artifact_id: "a_1", type: "recording", created_at: 5 }];
    const known = { artifacts, status: "complete" } as const;
    const asked: string[] = [];
    const attempt = createAttempt({
      enrich: async ({ state, artifactsStatus }) => {
        asked.push(artifactsStatus);
        return { known, found: { runId: state.run.run_id, known, followUpAt: null } };
      },
      links,
      timeoutMs: 5_000,
      log: silentLog,
    });
    await accept("dlv_1");
    const crashing = aSink("ops", () => {
      throw new Error("a bug");
    });
    const worker = aWorker([crashing], { attempt });
    await worker.runOnce();
    expect(await store.artifacts("tsk_dlv_1")).toEqual({ artifacts, status: "complete" });
    now += 5_000;
    await worker.runOnce();
    expect(asked).toEqual(["pending", "complete"]);
  });

  it("a delivery is tried again when the schedule says, with the same key, and is dead after the last attempt", async () => {
    const sink = aSink("ops", () => RETRY);
    const worker = aWorker([sink]);
    await accept("dlv_1");
    const due: (number | null | undefined)[] = [];
    for (let i = 0; i < 4; i += 1) {
      await worker.runOnce();
      const delivery = await stateOf("dlv_1");
      due.push(delivery?.next_attempt_at);
      now = delivery?.next_attempt_at ?? now;
    }
    expect(due).toEqual([6_000, 36_000, null, null]);
    expect(sink.jobs.map(({ deliveryId, attempt }) => [deliveryId, attempt])).toEqual([
      ["dlv_1", 1],
      ["dlv_1", 2],
      ["dlv_1", 3],
    ]);
    expect(await stateOf("dlv_1")).toMatchObject({
      state: "dead",
      last_error: "none of 3 attempts succeeded; the last one: the sink is busy",
    });
  });

  it("a delivery is tried again when the sink asked it to be", async () => {
    const sink = aSink("ops", () => ({ ...RETRY, retryAfterMs: 60_000 }));
    await accept("dlv_1");
    await aWorker([sink]).runOnce();
    expect((await stateOf("dlv_1"))?.next_attempt_at).toBeGreaterThanOrEqual(61_000);
  });

  it("a delivery is dead at once when no further attempt can help", async () => {
    await accept("dlv_1");
    await aWorker([aSink("ops", () => ({ kind: "dead", reason: "no such channel" }))]).runOnce();
    expect(await stateOf("dlv_1")).toMatchObject({ state: "dead", last_error: "no such channel", attempts: 1 });
  });

  it("the worker takes a bug in a sink for a retry that may have arrived", async () => {
    let crash = true;
    const sink = aSink("ops", () => {
      if (crash) throw new TypeError("undefined is not a function");
      return DELIVERED;
    });
    const worker = aWorker([sink]);
    await accept("dlv_1");
    await worker.runOnce();
    expect(await stateOf("dlv_1")).toMatchObject({ state: "pending", attempts: 1 });
    crash = false;
    now = 10_000;
    await worker.runOnce();
    expect(sink.jobs[1]).toMatchObject({ attempt: 2, maybeSent: true });
    expect(await stateOf("dlv_1")).toMatchObject({ state: "delivered" });
  });

  /** As if the process had died in `times` attempts, one after the other. */
  async function cutShort(times: number) {
    for (let i = 0; i < times; i += 1) {
      await store.claimDue({ sink: "ops", holdMs: null }, { now, leaseMs: 60_000, limit: 1, except: [] });
      await store.reclaimLeases(now);
    }
  }

  it("attempts that died with their process use up no schedule", async () => {
    const sink = aSink("ops", () => RETRY);
    await accept("dlv_1");
    await cutShort(20);
    await aWorker([sink]).runOnce();
    expect(sink.jobs).toMatchObject([{ attempt: 21, maybeSent: true }]);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "pending", next_attempt_at: now + 5_000 });
  });

  it("a delivery dies once the process ended in the middle of over a hundred of its attempts", async () => {
    const sink = aSink("ops", () => DELIVERED);
    await accept("dlv_1");
    await cutShort(101);
    await aWorker([sink]).runOnce();
    expect(sink.jobs).toEqual([]);
    expect(await stateOf("dlv_1")).toMatchObject({
      state: "dead",
      last_error: "the process ended in the middle of 101 attempts",
    });
  });
});

describe("the loop", () => {
  it("the worker delivers at once when it is nudged, without waiting for a timer", async () => {
    let seen = (_job: Job) => {};
    const delivered = new Promise<Job>((resolve) => (seen = resolve));
    const sink = aSink("ops", (job) => (seen(job), DELIVERED));
    const slept: number[] = [];
    const worker = aWorker([sink], {
      runtime: { ...runtime, sleep: (ms, signal) => (slept.push(ms), sleep(3_600_000, signal)) },
    });
    worker.start();
    await accept("dlv_1");
    worker.nudge();
    expect((await delivered).deliveryId).toBe("dlv_1");
    await worker.stop(1_000);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "delivered" });
  });

  it("the worker sleeps exactly until the next delivery is due", async () => {
    const sleeps: number[] = [];
    let wake = () => {};
    const asleep = new Promise<void>((resolve) => (wake = resolve));
    const worker = aWorker([aSink("ops", () => RETRY)], {
      runtime: {
        ...runtime,
        sleep: (ms, signal) => {
          sleeps.push(ms);
          if (ms === 5_000) wake();
          return sleep(3_600_000, signal);
        },
      },
    });
    await accept("dlv_1");
    worker.start();
    await asleep;
    await worker.stop(1_000);
    expect(sleeps).toContain(5_000);
  });

  it("the worker never lets a sink that hangs hold up another one", async () => {
    let seen = () => {};
    const all = new Promise<void>((resolve) => (seen = resolve));
    const look = () => {
      if (quick.jobs.length === 5 && hanging.jobs.length === 2) seen();
    };
    const hanging = aSink("slow", (_job, signal) => {
      look();
      return new Promise((resolve) => signal.addEventListener("abort", () => resolve(RETRY)));
    });
    const quick = aSink("ops", () => (look(), DELIVERED));
    const worker = aWorker([hanging, quick]);
    for (let i = 0; i < 5; i += 1) {
      await accept(`dlv_s${i}`, "slow");
      await accept(`dlv_q${i}`, "ops");
    }
    worker.start();
    await all;
    await worker.stop(0);
    expect(quick.jobs).toHaveLength(5);
    expect(hanging.jobs).toHaveLength(2);
  });

  it("the worker runs no more attempts of a sink at one time than it may", async () => {
    let running = 0;
    let most = 0;
    const sink = aSink("ops", async () => {
      most = Math.max(most, (running += 1));
      await new Promise(setImmediate);
      running -= 1;
      return DELIVERED;
    });
    for (let i = 0; i < 9; i += 1) await accept(`dlv_${i}`);
    await aWorker([{ sink, concurrency: 3 }]).runOnce();
    expect(sink.jobs).toHaveLength(9);
    expect(most).toBe(3);
  });

  it("the worker aborts what still runs at the end of its grace, records it as undecided, and claims no more", async () => {
    let begun = () => {};
    const started = new Promise<void>((resolve) => (begun = resolve));
    const sink = aSink("ops", (_job, signal) => {
      begun();
      return new Promise((resolve) => {
        signal.addEventListener("abort", () => resolve({ kind: "retry", reason: "aborted", unknown: true }));
      });
    });
    const worker = aWorker([{ sink, concurrency: 1 }]);
    await accept("dlv_1");
    await accept("dlv_2");
    worker.start();
    await started;
    await worker.stop(0);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "pending", attempts: 1, last_error: "aborted" });
    expect(await stateOf("dlv_2")).toMatchObject({ state: "pending", attempts: 0 });
  });

  it("the worker writes the result of an attempt as soon as the storage is back, and sends nothing twice", async () => {
    let broken = 2;
    const sink = aSink("ops", () => DELIVERED);
    const worker = aWorker([sink], {
      store: {
        ...store,
        record: async (attempt) => {
          if ((broken -= 1) >= 0) throw new Error("SQLITE_FULL");
          return store.record(attempt);
        },
      },
      runtime: { ...runtime, sleep: async () => {} },
    });
    await accept("dlv_1");
    await worker.runOnce();
    expect(sink.jobs).toHaveLength(1);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "delivered" });
  });
});

/** Moves the clock to whatever the worker would wait for, as long as something waits. */
async function untilDone(worker: ReturnType<typeof aWorker>, sink: string, hours: number): Promise<void> {
  const end = now + hours * 3_600_000;
  while (now <= end) {
    await worker.runOnce();
    const { until } = await worker.circuit(sink);
    const due = await store.nextDue({ sink, holdMs: null }, now);
    if (due === null) return;
    now = Math.max(due, until ?? 0, now + 1);
  }
}

const SCHEDULE = ["5", "30", "120", "600", "1800", "3600", "7200", "14400", "28800", "43200"].map(
  (s) => Number(s) * 1_000,
);

describe("a sink that is dead for longer than the schedule", () => {
  it("a delivery to a sink that is dead for longer than the schedule is tried at its times, and is then dead", async () => {
    const times: number[] = [];
    const worker = aWorker([aSink("ops", () => (times.push(now), RETRY))], { scheduleMs: SCHEDULE });
    await accept("dlv_1");
    await untilDone(worker, "ops", 40);
    const waits = times.slice(1).map((time, i) => time - (times[i] ?? 0));
    expect(waits).toEqual(SCHEDULE);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "dead", attempts: 11 });
  });

  it("a sink that is down for long is spared most attempts; its deliveries die, and all go out when redelivered", async () => {
    let alive = false;
    const sink = aSink("ops", () => (alive ? DELIVERED : RETRY));
    const worker = aWorker([sink], { scheduleMs: SCHEDULE });
    for (let i = 10; i < 40; i += 1) await accept(`dlv_${i}`);
    await untilDone(worker, "ops", 60);
    expect((await store.counts()).deliveries).toEqual([{ sink: "ops", state: "dead", count: 30 }]);
    expect(sink.jobs.length).toBeLessThan(30 * 11);
    alive = true;
    now += 3_600_000;
    const ids = Array.from({ length: 100 }, (_none, i) => `dlv_${100 + i}`);
    expect(await store.redeliverAll({ state: ["dead"] }, ids, now)).toBe(30);
    await untilDone(worker, "ops", 1);
    expect((await store.counts()).deliveries).toContainEqual({ sink: "ops", state: "delivered", count: 30 });
  });

  it("an open circuit does not use up the schedule of deliveries that it keeps from being tried", async () => {
    const worker = aWorker([aSink("ops", () => RETRY)], { scheduleMs: SCHEDULE });
    for (let i = 10; i < 30; i += 1) await accept(`dlv_${i}`);
    await worker.runOnce();
    const tried = (await store.deliveries({}, { limit: 100 })).reduce((sum, { attempts }) => sum + attempts, 0);
    expect((await worker.circuit("ops")).state).toBe("open");
    expect(tried).toBeLessThan(20);
  });
});

describe("a sink that fails for a moment", () => {
  it("deliveries to a sink that fails for a moment wait as long as the schedule says, and all are delivered", async () => {
    let failing = 5;
    const times: number[] = [];
    const sink = aSink("ops", () => (times.push(now), (failing -= 1) >= 0 ? RETRY : DELIVERED));
    const worker = aWorker([sink], { scheduleMs: [20_000] });
    for (let i = 100; i < 260; i += 1) await accept(`dlv_${i}`);
    const began = now;
    await untilDone(worker, "ops", 1);
    expect((await store.counts()).deliveries).toEqual([{ sink: "ops", state: "delivered", count: 160 }]);
    expect((times.at(-1) ?? 0) - began).toBeLessThan(25_000);
  });
});

describe("deliveries that were due for long", () => {
  const LONG = 3_600_000;

  it("a delivery that was due for longer than the schedule lasts does not die when it is first throttled", async () => {
    const worker = aWorker([aSink("ops", () => ({ kind: "retry", reason: "429", throttled: true }))]);
    await accept("dlv_1");
    now += LONG;
    await worker.runOnce();
    expect(await stateOf("dlv_1")).toMatchObject({ state: "pending", attempts: 1 });
  });

  it("a delivery that was due for longer than the schedule lasts does not die before an attempt of its own", async () => {
    let alive = false;
    const sink = aSink("ops", () => (alive ? DELIVERED : RETRY));
    const worker = aWorker([{ sink, concurrency: 1 }]);
    for (let i = 1; i <= 9; i += 1) await accept(`dlv_${i}`);
    for (let i = 0; i < 3; i += 1) {
      now += LONG;
      await worker.runOnce();
    }
    const all = await store.deliveries({}, { limit: 100 });
    for (const { state, attempts } of all) expect(state).toBe(attempts === 0 ? "pending" : "dead");
    expect(all.filter(({ attempts }) => attempts === 0).length).toBeGreaterThan(0);
    alive = true;
    await untilDone(worker, "ops", 1);
    const { deliveries } = await store.counts();
    const died = all.filter(({ state }) => state === "dead").length;
    expect(deliveries).toContainEqual({ sink: "ops", state: "delivered", count: 9 - died });
  });

  it("a delivery that was due for long does not die when the circuit opens, as long as the sink took something lately", async () => {
    let asked = 0;
    const sink = aSink("ops", () => (++asked === 1 ? DELIVERED : RETRY));
    const worker = aWorker([{ sink, concurrency: 1 }]);
    for (let i = 1; i <= 9; i += 1) await accept(`dlv_${i}`);
    now += LONG;
    await worker.runOnce();
    expect((await worker.circuit("ops")).state).toBe("open");
    expect((await store.counts()).deliveries).toContainEqual({ sink: "ops", state: "pending", count: 8 });
  });
});

describe("stopped sinks", () => {
  it("a sink that asked for no more deliveries gets nothing until it is resumed, and then everything", async () => {
    let gone = true;
    const sink = aSink("ops", () => (gone ? { kind: "dead", reason: "answered 410", gone: true } : DELIVERED));
    const worker = aWorker([{ sink, concurrency: 1 }]);
    for (const id of ["dlv_1", "dlv_2", "dlv_3"]) await accept(id);
    await worker.runOnce();
    expect(sink.jobs).toHaveLength(1);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "dead" });
    expect(await stateOf("dlv_2")).toMatchObject({ state: "pending", attempts: 0 });
    gone = false;
    await worker.resume("ops");
    await worker.runOnce();
    expect(await stateOf("dlv_2")).toMatchObject({ state: "delivered" });
    expect(await stateOf("dlv_3")).toMatchObject({ state: "delivered" });
  });

  it("a stopped sink stays stopped after a restart", async () => {
    const worker = aWorker([aSink("ops", () => ({ kind: "dead", reason: "answered 410", gone: true }))]);
    await accept("dlv_1");
    await worker.runOnce();
    const again = aSink("ops", () => DELIVERED);
    await accept("dlv_2");
    await aWorker([again]).runOnce();
    expect(again.jobs).toEqual([]);
  });
});

describe("being told to slow down", () => {
  it("being throttled uses up no schedule, however often it happens, but ends when the schedule would have", async () => {
    const times: number[] = [];
    const slow = aSink(
      "ops",
      () => (times.push(now), { kind: "retry", reason: "429", throttled: true, retryAfterMs: 600_000 }),
    );
    const worker = aWorker([slow], { scheduleMs: SCHEDULE });
    await accept("dlv_1");
    await untilDone(worker, "ops", 60);
    expect(times.length).toBeGreaterThan(100);
    expect((times.at(-1) ?? 0) - (times[0] ?? 0)).toBeGreaterThan(28 * 3_600_000);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "dead" });
  });
});

describe("a clock that jumps", () => {
  it("a clock set back by a day does not put retries off by a day", async () => {
    now = 2 * 86_400_000;
    const times: number[] = [];
    let seen = () => {};
    const sink = aSink("ops", () => (times.push(now), seen(), times.length === 1 ? RETRY : DELIVERED));
    const worker = aWorker([sink], {
      runtime: {
        ...runtime,
        // Once, in the first sleep after the first attempt, the clock is set back; then sleeping moves it on.
        sleep: async (ms, signal) => {
          await new Promise(setImmediate);
          if (signal?.aborted === true) return;
          now = times.length === 1 && now > 86_400_000 * 1.5 ? now - 86_400_000 : now + ms;
        },
      },
    });
    const second = new Promise<void>((resolve) => (seen = () => times.length === 2 && resolve()));
    await accept("dlv_1");
    worker.start();
    await second;
    await worker.stop(1_000);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "delivered" });
    expect((times[1] ?? 0) - 86_400_000).toBeLessThan(60_000);
  });

  it("a clock set forward by a day while an attempt runs does not begin it a second time", async () => {
    let finish = (_outcome: Outcome) => {};
    let begun = () => {};
    const started = new Promise<void>((resolve) => (begun = resolve));
    const sink = aSink("ops", () => (begun(), new Promise<Outcome>((resolve) => (finish = resolve))));
    const worker = aWorker([sink]);
    await accept("dlv_1");
    const round = worker.runOnce();
    await started;
    now += 86_400_000;
    worker.nudge();
    expect(
      await store.claimDue({ sink: "ops", holdMs: null }, { now, leaseMs: 1, limit: 9, except: ["dlv_1"] }),
    ).toEqual([]);
    finish(DELIVERED);
    await round;
    expect(sink.jobs).toHaveLength(1);
    expect(await stateOf("dlv_1")).toMatchObject({ state: "delivered" });
  });
});

it("the worker feeds a paced sink no faster than its pace, and in order", async () => {
  const times: number[] = [];
  const ids: string[] = [];
  let all = () => {};
  const done = new Promise<void>((resolve) => (all = resolve));
  const paced: Sink = {
    ...aSink("ops", ({ deliveryId }) => {
      times.push(now);
      ids.push(deliveryId);
      if (ids.length === 4) all();
      return DELIVERED;
    }),
    ordered: true,
    pace: { key: "slack C1", perSecond: 1 },
  };
  const worker = aWorker([{ sink: paced, concurrency: 4 }], {
    runtime: {
      ...runtime,
      // The fake clock moves on when the worker sleeps.
      sleep: async (ms, signal) => {
        await new Promise(setImmediate);
        if (signal?.aborted !== true) now += ms;
      },
    },
  });
  for (let i = 1; i <= 4; i += 1) await accept(`dlv_${i}`);
  worker.start();
  await done;
  await worker.stop(1_000);
  expect(ids).toEqual(["dlv_1", "dlv_2", "dlv_3", "dlv_4"]);
  for (const [i, time] of times.entries()) if (i > 0) expect(time - (times[i - 1] ?? 0)).toBeGreaterThanOrEqual(1_000);
});
