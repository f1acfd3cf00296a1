import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAttempt } from "../../src/deliver/attempt.ts";
import { WAITS_AFTER_CUT_MS } from "../../src/deliver/backoff.ts";
import type { Lane } from "../../src/deliver/lane.ts";
import { createWorker, type WorkerParts } from "../../src/deliver/worker.ts";
import { silentLog } from "../../src/log.ts";
import { createMetrics } from "../../src/metrics.ts";
import type { Outcome } from "../../src/run.ts";
import { sleep, type Runtime } from "../../src/runtime.ts";
import type { Job, Sink } from "../../src/sinks/sink.ts";
import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/migrate.ts";
import { createSqlStore } from "../../src/store/sql.ts";
import type { ClaimedRow, Reserved } from "../../src/store/store.ts";
import { aDelivery, anArrival, aRun } from "../store/a-run.ts";
import { until } from "../support/until.ts";

const links = {
  run: (id: string) => `https://r/runs/${id}`,
  artifact: (id: string, key: string) => `https://r/artifacts/${id}/${key}`,
};
const DELIVERED: Outcome = { kind: "delivered", receipt: { status: 200 } };
const DOWN: Outcome = { kind: "retry", reason: "the sink is down" };

const aSink = (answer: (job: Job) => Outcome | Promise<Outcome>, more: Partial<Sink> = {}) => {
  const jobs: Job[] = [];
  const deliver: Sink["deliver"] = async (job) => {
    jobs.push(job);
    return answer(job);
  };
  return { name: "ops", kind: "http", jobs, deliver, ...more };
};

type TestStore = ReturnType<typeof createSqlStore>;
let store: TestStore;
let claims: number;
let now: number;
let runtime: Runtime;
beforeEach(async () => {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  const sqlStore = createSqlStore(database);
  claims = 0;
  store = {
    ...sqlStore,
    claimDue: (...claim) => {
      claims += 1;
      return sqlStore.claimDue(...claim);
    },
  };
  now = 1_000;
  runtime = { now: () => now, random: () => 0.5, sleep, newId: (prefix) => `${prefix}_x` };
});
afterEach(() => store.close());

function aWorker(sink: Sink, more: Partial<WorkerParts> & Pick<Partial<Lane>, "concurrency"> = {}) {
  const { concurrency = 2, ...values } = more;
  const enrich = async () => ({ artifacts: [], status: "complete" as const });
  return createWorker({
    store,
    lanes: [{ sink, concurrency }],
    attempt: createAttempt({ enrich, links, timeoutMs: 5_000, log: silentLog }),
    scheduleMs: [5_000, 30_000],
    leaseMs: 60_000,
    runtime,
    log: silentLog,
    metrics: createMetrics(),
    ...values,
  });
}

/** One that has looked and found nothing to do. */
async function aReadyWorker(...parts: Parameters<typeof aWorker>) {
  const worker = aWorker(...parts);
  worker.start();
  await until("it has looked", () => {
    const { room, begin } = worker.reserve(1);
    void begin([]);
    return room !== null || parts[0].ordered === true || parts[0].pace !== undefined;
  });
  return worker;
}

const arrivalOf = (id: string) =>
  anArrival(aRun({ run_id: `tsk_${id}`, received_at: now }), { decision: { deliveries: [aDelivery(id, "ops")] } });

/** Writes them as far as there is room with a claim; answers with what was claimed. */
async function write({ room }: Reserved, ...ids: string[]): Promise<ClaimedRow[]> {
  const accepted = await store.accept(ids.map(arrivalOf), room ?? undefined);
  return accepted.flatMap(({ claimed = [] }) => claimed);
}

const deliveryOf = async (id: string) =>
  (await store.deliveries({}, { limit: 100 })).find((delivery) => delivery.id === id);
const isDelivered = async (id: string) => (await deliveryOf(id))?.state === "delivered";

describe("what comes while there is room", () => {
  it("is attempted right after it was written, without a claim of its own", async () => {
    const sink = aSink(() => DELIVERED);
    const worker = await aReadyWorker(sink);
    const reserved = worker.reserve(1);
    expect(reserved.room).toEqual({ bySink: new Map([["ops", 1]]), leaseMs: 60_000 });
    await reserved.begin(await write(reserved, "dlv_1"));
    expect(sink.jobs).toMatchObject([
      { deliveryId: "dlv_1", attempt: 1, cause: "result", maybeSent: false, report: { run_id: "tsk_dlv_1" } },
    ]);
    await until("it is delivered", () => isDelivered("dlv_1"));
    expect(await deliveryOf("dlv_1")).toMatchObject({ attempts: 1 });
    expect(claims).toBe(0);
    await worker.stop(1_000);
  });

  it("waits as ever when there is too little: the rest is claimed once there is some", async () => {
    const sink = aSink(() => DELIVERED);
    const worker = await aReadyWorker(sink);
    const reserved = worker.reserve(5);
    const claimed = await write(reserved, "dlv_1", "dlv_2", "dlv_3", "dlv_4", "dlv_5");
    expect(claimed.map(({ delivery }) => delivery.id)).toEqual(["dlv_1", "dlv_2"]);
    await reserved.begin(claimed);
    worker.nudge();
    await until("all are delivered", () => isDelivered("dlv_5"));
    expect(sink.jobs.map(({ deliveryId }) => deliveryId)).toEqual(["dlv_1", "dlv_2", "dlv_3", "dlv_4", "dlv_5"]);
    await worker.stop(1_000);
  });

  it("is attempted at once also while those before it are being claimed, as long as there is room for both", async () => {
    const sink = aSink(() => DELIVERED);
    const claimed = Promise.withResolvers<void>();
    const slow: typeof store.claimDue = async (...claim) => {
      await claimed.promise;
      return store.claimDue(...claim);
    };
    const worker = await aReadyWorker(sink, { concurrency: 3, store: { ...store, claimDue: slow } });
    await store.accept([arrivalOf("dlv_1")]);
    worker.nudge();
    await until("the claim has begun", () => {
      const { room, begin } = worker.reserve(9);
      void begin([]);
      return room?.bySink.get("ops") === 2;
    });
    const reserved = worker.reserve(1);
    await reserved.begin(await write(reserved, "dlv_2"));
    expect(sink.jobs.map(({ deliveryId }) => deliveryId)).toEqual(["dlv_2"]);
    claimed.resolve();
    await until("both are delivered", async () => (await isDelivered("dlv_1")) && (await isDelivered("dlv_2")));
    await worker.stop(1_000);
  });

  it("that another is kept for is not given twice, and comes back when it was not used", async () => {
    const worker = await aReadyWorker(aSink(() => DELIVERED));
    const first = worker.reserve(2);
    expect(worker.reserve(1).room).toBeNull();
    await first.begin([]);
    expect(worker.reserve(9).room?.bySink.get("ops")).toBe(2);
    await worker.stop(1_000);
  });
});

describe("there is no room", () => {
  it("for who comes after somebody that waits", async () => {
    const sink = aSink(() => new Promise(() => {}));
    const worker = await aReadyWorker(sink, { concurrency: 1 });
    await store.accept([arrivalOf("dlv_1"), arrivalOf("dlv_2")]);
    worker.nudge();
    expect(worker.reserve(1).room).toBeNull();
    await until("the first is under way", () => sink.jobs.length === 1);
    expect(worker.reserve(1).room).toBeNull();
  });

  it.each([
    ["ordered", { ordered: true as const }],
    ["paced", { pace: { key: "it", perSecond: 1 } }],
  ])("in a lane that is %s", async (_what, more) => {
    const worker = await aReadyWorker(aSink(() => DELIVERED, more));
    expect(worker.reserve(1).room).toBeNull();
    await worker.stop(1_000);
  });

  it("before the start, after the stop, nor where other relays are on the database", async () => {
    const worker = aWorker(aSink(() => DELIVERED));
    expect(worker.reserve(1).room).toBeNull();
    await worker.stop(0);
    const stopped = await aReadyWorker(aSink(() => DELIVERED));
    await stopped.stop(0);
    expect(stopped.reserve(1).room).toBeNull();
    const one = aWorker(
      aSink(() => DELIVERED),
      { fleet: { name: "one", isPresent: () => true } },
    );
    one.start();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(one.reserve(1).room).toBeNull();
    await one.stop(0);
  });

  it("while the circuit is open, and while the sink has asked for a pause", async () => {
    let answer: Outcome = DOWN;
    const worker = await aReadyWorker(
      aSink(() => answer),
      { scheduleMs: [1, 1, 1, 1, 1, 1, 1] },
    );
    await store.accept([arrivalOf("dlv_1")]);
    await until("the circuit is open", async () => {
      now += 2;
      worker.nudge();
      return (await worker.circuit("ops")).state === "open";
    });
    expect(worker.reserve(1).room).toBeNull();
    answer = { kind: "retry", reason: "slowly", throttled: true, retryAfterMs: 7_000 };
    await worker.resume("ops");
    await until("the pause is known", async () => (await deliveryOf("dlv_1"))?.last_error === "slowly");
    expect(worker.reserve(1).room).toBeNull();
    now += 10_000;
    answer = DELIVERED;
    worker.nudge();
    await until("it is delivered", () => isDelivered("dlv_1"));
    await until("there is room", () => {
      const { room, begin } = worker.reserve(1);
      void begin([]);
      return room !== null;
    });
    await worker.stop(1_000);
  });
});

describe("what was claimed and cannot be begun", () => {
  const untold = { state: "pending", attempts: 0, next_attempt_at: 1_000 };

  it("since the relay stops is given back: the next one begins as if it were new", async () => {
    const sink = aSink(() => DELIVERED);
    const worker = await aReadyWorker(sink);
    const reserved = worker.reserve(1);
    const claimed = await write(reserved, "dlv_1");
    expect(await deliveryOf("dlv_1")).toMatchObject({ state: "sending", attempts: 1 });
    await worker.stop(1_000);
    await reserved.begin(claimed);
    expect(sink.jobs).toEqual([]);
    expect(await deliveryOf("dlv_1")).toMatchObject(untold);
    await aWorker(sink).runOnce();
    expect(sink.jobs).toMatchObject([{ deliveryId: "dlv_1", attempt: 1, maybeSent: false }]);
  });

  it("since the circuit opened meanwhile is given back, and waits for the circuit", async () => {
    const ends: (() => void)[] = [];
    const sink = aSink(() => new Promise((resolve) => ends.push(() => resolve(DOWN))));
    const worker = await aReadyWorker(sink, { concurrency: 7 });
    const failing = worker.reserve(5);
    await failing.begin(await write(failing, "dlv_1", "dlv_2", "dlv_3", "dlv_4", "dlv_5"));
    const late = worker.reserve(1);
    const claimed = await write(late, "dlv_6");
    expect(claimed).toHaveLength(1);
    await until("all are under way", () => ends.length === 5);
    for (const end of ends) end();
    await until("the circuit is open", async () => (await worker.circuit("ops")).state === "open");
    await late.begin(claimed);
    expect(await deliveryOf("dlv_6")).toMatchObject(untold);
    expect(sink.jobs).toHaveLength(5);
    await worker.stop(1_000);
  });

  it("nor given back is claimed when its lease is over, as one that may have been sent", async () => {
    const sink = aSink(() => DELIVERED);
    const broken = { ...store, giveBack: () => Promise.reject(new Error("the disk is gone")) };
    const worker = await aReadyWorker(sink, { store: broken });
    const reserved = worker.reserve(1);
    const claimed = await write(reserved, "dlv_1");
    await worker.stop(1_000);
    await reserved.begin(claimed);
    now += 59_999;
    await aWorker(sink).runOnce();
    expect(sink.jobs).toEqual([]);
    now += 1;
    await aWorker(sink).runOnce();
    expect(sink.jobs).toMatchObject([{ deliveryId: "dlv_1", attempt: 2, maybeSent: true }]);
  });

  it("since the process died is taken over by the next one, as one that may have been sent, and sent once", async () => {
    const worker = await aReadyWorker(aSink(() => DELIVERED));
    await write(worker.reserve(1), "dlv_1");
    await worker.stop(0);
    expect(await store.takeOver(now, WAITS_AFTER_CUT_MS)).toBe(1);
    const sink = aSink(() => DELIVERED);
    const next = aWorker(sink);
    await next.runOnce();
    expect(sink.jobs).toEqual([]);
    now += 1_000;
    await next.runOnce();
    await next.runOnce();
    expect(sink.jobs).toMatchObject([{ deliveryId: "dlv_1", attempt: 2, maybeSent: true }]);
    expect(await deliveryOf("dlv_1")).toMatchObject({ state: "delivered" });
  });
});

it("never are there more attempts at one time than there may be, and each delivery is attempted once, however it comes", async () => {
  const turns = fc.integer({ min: 0, max: 6 });
  const slice = fc.record({ size: fc.integer({ min: 1, max: 5 }), before: turns, writing: turns, written: turns });
  const wait = async (n: number) => {
    for (let i = 0; i < n; i += 1) await new Promise(setImmediate);
  };
  let made = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(slice, { minLength: 1, maxLength: 12 }),
      turns,
      turns,
      async (slices, attemptTurns, storeTurns) => {
        const slowly =
          <Given extends unknown[], Answer>(act: (...given: Given) => Promise<Answer>) =>
          async (...given: Given): Promise<Answer> => {
            await wait(storeTurns);
            const answer = await act(...given);
            await wait(storeTurns);
            return answer;
          };
        let running = 0;
        let most = 0;
        const sink = aSink(async () => {
          most = Math.max(most, (running += 1));
          await wait(attemptTurns);
          running -= 1;
          return DELIVERED;
        });
        const slow = { ...store, claimDue: slowly(store.claimDue), dueTimes: slowly(store.dueTimes) };
        const worker = await aReadyWorker(sink, { concurrency: 3, store: slow });
        const ids: string[] = [];
        const begun: Promise<void>[] = [];
        for (const { size, before, writing, written } of slices) {
          await wait(before);
          const mine = Array.from({ length: size }, () => `dlv_${String((made += 1)).padStart(6, "0")}`);
          ids.push(...mine);
          const reserved = worker.reserve(size);
          begun.push(
            (async () => {
              await wait(writing);
              const claimed = await write(reserved, ...mine);
              await wait(written);
              await reserved.begin(claimed);
              if (claimed.length < size) worker.nudge();
            })(),
          );
        }
        await Promise.all(begun);
        await until("all were attempted", () => sink.jobs.length >= ids.length);
        await worker.stop(10_000);
        expect(most).toBeLessThanOrEqual(3);
        expect(sink.jobs.map(({ deliveryId }) => deliveryId).toSorted()).toEqual(ids);
        expect(sink.jobs.every(({ attempt, maybeSent }) => attempt === 1 && !maybeSent)).toBe(true);
      },
    ),
    { numRuns: 40 },
  );
});
