/** What pruning promises of every Store: what is due goes whole, what is not stays whole, in short steps. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import type { PruneStep, Pruned } from "../../src/store/contract/retention.ts";
import { chanceOf } from "../faults/support/chance.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";
import { stores } from "./stores.ts";
import type { Store } from "../../src/store/store.ts";
import { toWords } from "../../src/store/search/text-words.ts";

const DAY = 86_400_000;
const BEFORE = 100 * DAY;

describe.each(Object.entries(stores))("%s", (_name, open) => {
  let store: Store;
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  type Operation = "pruneRuns" | "pruneBodies" | "pruneUnrecognized" | "pruneTests" | "pruneListedRuns";
  /** Step by step to the end; how much each removed. */
  async function prune(name: Operation, given: Partial<PruneStep> = {}): Promise<number[]> {
    const removed: number[] = [];
    let after: string | null = null;
    do {
      const done: Pruned = await store[name]({
        before: BEFORE,
        after,
        limit: 2,
        hold: [],
        dryRun: false,
        ...given,
      });
      removed.push(done.removed);
      after = done.next;
      if (removed.length > 1_000) throw new Error("it never ends");
    } while (after !== null);
    return removed;
  }
  const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0);

  /** A run received then, whose delivery came to this. */
  async function aToldRun(id: string, receivedAt: number, state = "delivered"): Promise<void> {
    const run = aRun({ run_id: id, received_at: receivedAt, prompt: `word${id}` });
    await store.accept([
      anArrival(run, { body: `body of ${id}`, decision: { deliveries: [aDelivery(`dlv_${id}`)], archiveAt: 1 } }),
    ]);
    await store.saveArtifacts(
      id,
      { artifacts: [{ artifact_id: "a_1", type: "har", created_at: 1 }], status: "complete" },
      null,
    );
    await store.saveCopy({ runId: id, key: "a_1", sha256: `sha of ${id}`, type: null, bytes: 10, copiedAt: 1 });
    if (state === "pending") return;
    await store.claimDue({ sink: "ops", holdMs: null }, { now: receivedAt, leaseMs: 60_000, limit: 100, except: [] });
    if (state === "sending") return;
    const attempt = { n: 1, startedAt: receivedAt, finishedAt: receivedAt + 5, sink: "ops", revision: 1 };
    await store.record({
      ...attempt,
      deliveryId: `dlv_${id}`,
      outcome: state === "dead" ? { kind: "dead", reason: "gone" } : { kind: "delivered", receipt: { ts: "1" } },
      nextAttemptAt: null,
      circuit: CLOSED,
    });
  }
  /** Other bytes for a run that stays as it is. */
  function aLaterReceipt(id: string, firstAt: number, at: number) {
    const run = aRun({ run_id: id, received_at: firstAt, prompt: `word${id}` });
    const { receipt, ...arrival } = anArrival(run, { hash: `later for ${id}` });
    return { ...arrival, receipt: { ...receipt, receivedAt: at } };
  }
  /** Everything there is of a run. */
  async function traces(id: string) {
    const [run, receipts, deliveries] = await Promise.all([
      store.run(id),
      store.receipts(id),
      store.deliveries({ runId: id }, { limit: 100 }),
    ]);
    return {
      run: run === null ? 0 : 1,
      receipts: receipts.length,
      bodies: (await Promise.all(receipts.map((receipt) => store.body(receipt.id)))).filter((body) => body !== null)
        .length,
      deliveries: deliveries.length,
      attempts: (await store.attempts([`dlv_${id}`])).length,
      artifacts: (await store.artifacts(id)).artifacts.length,
      copies: (await store.copies(id)).length,
      archiving: (await store.dueArchiving(9e15, 1_000)).filter(({ runId }) => runId === id).length,
      found: (await store.runs({ search: [{ words: toWords(`word${id}`), prefix: false }] }, { limit: 10 })).runs
        .length,
    };
  }
  const NOTHING = {
    run: 0,
    receipts: 0,
    bodies: 0,
    deliveries: 0,
    attempts: 0,
    artifacts: 0,
    copies: 0,
    archiving: 0,
    found: 0,
  };
  const ALL = {
    run: 1,
    receipts: 1,
    bodies: 1,
    deliveries: 1,
    attempts: 1,
    artifacts: 1,
    copies: 1,
    archiving: 1,
    found: 1,
  };

  describe("a run", () => {
    it("a run that is due goes with everything that belongs to it, and any other stays with everything", async () => {
      await aToldRun("old", BEFORE - 1);
      await aToldRun("new", BEFORE);
      expect(sum(await prune("pruneRuns"))).toBe(1);
      expect(await traces("old")).toEqual(NOTHING);
      expect(await store.body(`rcp_hash of old at ${BEFORE - 1}`)).toBeNull();
      expect(await traces("new")).toEqual(ALL);
    });

    it.each(["pending", "sending"])("a run that is due stays whole while a delivery of it is %s", async (state) => {
      await aToldRun("waiting", 1_000, state);
      await aToldRun("told", 2_000);
      expect(sum(await prune("pruneRuns"))).toBe(1);
      expect(await traces("waiting")).toEqual({ ...ALL, attempts: 0 });
      expect(await store.backlog()).toEqual([{ sink: "ops", size: 1, oldest: 1_000 }]);
    });

    it("the age of a run counts from the last receipt that came for it or delivery that was sent", async () => {
      for (const id of ["heard", "again", "quiet"]) await aToldRun(id, 1_000);
      await store.accept([aLaterReceipt("heard", 1_000, BEFORE)]);
      await store.redeliver("again", [aDelivery("dlv_x", "mail", { cause: "redelivery" })], BEFORE);
      expect(sum(await prune("pruneRuns"))).toBe(1);
      expect([(await traces("heard")).run, (await traces("again")).run, (await traces("quiet")).run]).toEqual([
        1, 1, 0,
      ]);
    });

    it("a run that is held stays with everything, its bytes too", async () => {
      await aToldRun("held", 1_000);
      await aToldRun("other", 2_000);
      const hold = ["held"];
      await store.recordListedRuns([{ runId: "held", createdAt: 500, seenAt: 1_000, targetsThisRelay: true }]);
      for (const name of ["pruneBodies", "pruneListedRuns", "pruneRuns"] as const) await prune(name, { hold });
      expect(await traces("held")).toEqual(ALL);
      expect(await store.listedRun("held")).not.toBeNull();
      expect(await traces("other")).toEqual(NOTHING);
    });

    it("a run is passed over once when it has to stay, however many there are in front of those that may go", async () => {
      for (let i = 0; i < 7; i++) await aToldRun(`stays${i}`, 1_000 + i, "pending");
      await aToldRun("goes", 2_000);
      // Two are looked at in each step.
      expect(await prune("pruneRuns")).toEqual([0, 0, 0, 1, 0]);
      expect(await prune("pruneRuns", { limit: 100 })).toEqual([0]);
    });

    it("a run with very many rows is removed in a step of its own", async () => {
      for (let i = 0; i < 3; i++) {
        const deliveries = Array.from({ length: 1_500 }, (_none, n) => aDelivery(`dlv_big${i}_${n}`));
        await store.accept([
          anArrival(aRun({ run_id: `big${i}`, received_at: 1_000 + i }), { decision: { deliveries } }),
        ]);
      }
      await store.deadLetterOrphans([], "gone");
      expect(await prune("pruneRuns", { limit: 10 })).toEqual([1, 1, 1]);
    });

    it("a run that is removed leaves the statistics of its time, and is taken off the counts of rows", async () => {
      await aToldRun("old", BEFORE - 1);
      await aToldRun("dead", BEFORE - 1, "dead");
      await aToldRun("new", BEFORE);
      const before = await store.statistics("day", 0, 200 * DAY);
      await prune("pruneRuns");
      expect(await store.statistics("day", 0, 200 * DAY)).toEqual(before);
      expect(before.runs.reduce((total, { count }) => total + count, 0)).toBe(3);
      expect((await store.counts()).deliveries).toEqual([{ sink: "ops", state: "delivered", count: 1 }]);
      expect(await store.backlog()).toEqual([]);
    });

    it("a run that comes again after it was removed is a new one", async () => {
      await aToldRun("old", 1_000);
      await prune("pruneRuns");
      expect(await store.accept([anArrival(aRun({ run_id: "old", received_at: 1_000 }))])).toMatchObject([
        { verdict: "accepted", runId: "old" },
      ]);
    });

    it("a dry run counts a run, and removes nothing", async () => {
      await aToldRun("old", 1_000);
      await aToldRun("waits", 1_000, "pending");
      for (const name of ["pruneRuns", "pruneBodies"] as const)
        expect(sum(await prune(name, { dryRun: true }))).toBe(name === "pruneRuns" ? 1 : 2);
      expect(await traces("old")).toEqual(ALL);
    });
  });

  describe("an archived copy", () => {
    it("an archived copy is discarded once, when the last run that has these bytes goes", async () => {
      await aToldRun("one", 1_000);
      await aToldRun("two", BEFORE);
      const same = { key: "a_2", sha256: "shared", type: null, bytes: 5, copiedAt: 1 };
      for (const runId of ["one", "two"]) await store.saveCopy({ ...same, runId });
      await prune("pruneRuns");
      expect(await store.discarded(9e15, 10)).toEqual(["sha of one"]);
      expect(await store.copiedBytes()).toBe(15);
      await prune("pruneRuns", { before: BEFORE + 1 });
      expect((await store.discarded(9e15, 10)).toSorted()).toEqual(["sha of one", "sha of two", "shared"]);
      expect(await store.copiedBytes()).toBe(0);
    });

    it("bytes that are archived again are no longer due to be discarded", async () => {
      await aToldRun("one", 1_000);
      await aToldRun("two", BEFORE);
      await prune("pruneRuns");
      await store.saveCopy({ runId: "two", key: "a", sha256: "sha of one", type: null, bytes: 10, copiedAt: 5 });
      expect(await store.discarded(9e15, 10)).toEqual([]);
    });

    it("an archived copy that replaces another makes the replaced bytes due to be discarded", async () => {
      await aToldRun("one", BEFORE);
      const copy = { runId: "one", key: "a", type: null, bytes: 10, copiedAt: 5 };
      await store.saveCopy({ ...copy, sha256: "first" });
      await store.saveCopy({ ...copy, sha256: "first" });
      expect(await store.discarded(9e15, 10)).toEqual([]);
      await store.saveCopy({ ...copy, sha256: "second" });
      expect(await store.discarded(9e15, 10)).toEqual(["first"]);
    });

    it("an archived copy that could not be removed is due again later, and forgotten when it is gone", async () => {
      await aToldRun("one", 1_000);
      await prune("pruneRuns");
      await store.setDiscarded("sha of one", BEFORE + 50);
      expect(await store.discarded(BEFORE + 49, 10)).toEqual([]);
      expect(await store.discarded(BEFORE + 50, 10)).toEqual(["sha of one"]);
      await store.setDiscarded("sha of one", null);
      expect(await store.discarded(9e15, 10)).toEqual([]);
    });
  });

  describe("bytes received", () => {
    it("the bytes of a receipt go by their own age; the receipt stays, and an unrecognized one stays whole", async () => {
      // Ids sort by time, as those of the relay do.
      const at = [1_000, 2_000, BEFORE - 1, BEFORE, BEFORE + 1];
      for (const [i, receivedAt] of at.entries()) {
        const arrival = anArrival(aRun({ run_id: `r${i}`, received_at: receivedAt }), { hash: `${i}` });
        await store.accept([i === 1 ? { ...arrival, run: null } : arrival]);
      }
      expect(sum(await prune("pruneBodies"))).toBe(2);
      const there = await Promise.all(at.map(async (_at, i) => (await store.body(`rcp_${i}`)) !== null));
      expect(there).toEqual([false, true, false, true, true]);
      expect(await store.receipts("r0")).toMatchObject([{ id: "rcp_0", body_bytes: 2 }]);
    });

    it("the bytes of an unrecognized receipt go together with it", async () => {
      for (const [i, receivedAt] of [1_000, 2_000, 3_000, BEFORE].entries())
        await store.accept([
          { ...anArrival(aRun({ run_id: `r${i}`, received_at: receivedAt }), { hash: `${i}` }), run: null },
        ]);
      // The same bytes came again lately.
      await store.accept([{ ...anArrival(aRun({ run_id: "r1", received_at: BEFORE + 1 }), { hash: "1" }), run: null }]);
      expect(sum(await prune("pruneUnrecognized", { dryRun: true }))).toBe(2);
      expect(sum(await prune("pruneUnrecognized"))).toBe(2);
      expect((await store.unrecognizedReceipts({ limit: 10 })).map(({ id }) => id).toSorted()).toEqual([
        "rcp_1",
        "rcp_3",
      ]);
      expect([await store.body("rcp_0"), await store.body("rcp_3")]).toEqual([null, expect.anything()]);
    });
  });

  it("test deliveries go by their age, with their count", async () => {
    const test = {
      runId: "run_test",
      sink: "ops",
      kind: "slack",
      outcome: { kind: "delivered", receipt: {} },
    } as const;
    for (const [i, at] of [1_000, 2_000, 3_000, BEFORE].entries())
      await store.saveTest({ ...test, deliveryId: `dlv_t${i}`, startedAt: at, finishedAt: at + 1 });
    await aToldRun("run", 2_500);
    expect(sum(await prune("pruneTests"))).toBe(3);
    expect((await store.deliveries({}, { limit: 10 })).map(({ id }) => id).toSorted()).toEqual(["dlv_run", "dlv_t3"]);
    expect(await store.attempts(["dlv_t0"])).toEqual([]);
  });

  it("listed runs go by the time of creation, of both sorts, with what coverage counts of them", async () => {
    const at = [DAY, DAY + 1, 2 * DAY, BEFORE];
    await store.recordListedRuns(
      at.flatMap((createdAt, i) => [
        { runId: `mine${i}`, createdAt, seenAt: createdAt, targetsThisRelay: true },
        { runId: `other${i}`, createdAt, seenAt: createdAt, targetsThisRelay: false },
      ]),
    );
    expect((await store.dailyCoverage(0, 200 * DAY)).map(({ seen }) => seen)).toEqual([2, 1, 1]);
    expect(sum(await prune("pruneListedRuns"))).toBe(6);
    expect(await store.dailyCoverage(0, 200 * DAY)).toEqual([{ day: BEFORE, seen: 1, relayed: 0 }]);
    for (const [i, left] of [false, false, false, true].entries())
      for (const sort of ["mine", "other"]) expect((await store.listedRun(`${sort}${i}`)) !== null).toBe(left);
  });

  it("pruning removes what is due and nothing else, whatever there is", async () => {
    for (const seed of [5, 6]) {
      const chance = chanceOf(seed);
      const fresh = await open();
      [store] = [fresh, await store.close()];
      const hold: string[] = [];
      const expected = new Map<string, boolean>();
      for (let i = 0; i < 18; i++) {
        const id = `s${seed}r${String(i).padStart(2, "0")}`;
        const receivedAt = chance.between(1, 1.3 * BEFORE);
        const state = chance.oneOf(["delivered", "dead", "pending"]);
        await aToldRun(id, receivedAt, state);
        let lastAt = receivedAt;
        if (chance.happens(0.3)) {
          lastAt = chance.between(receivedAt, 2 * BEFORE);
          await store.accept([aLaterReceipt(id, receivedAt, lastAt)]);
        }
        if (chance.happens(0.2)) hold.push(id);
        expected.set(id, lastAt >= BEFORE || state === "pending" || hold.includes(id));
      }
      const before = new Map<string, Awaited<ReturnType<typeof traces>>>();
      for (const id of expected.keys()) before.set(id, await traces(id));
      const due = [...expected.values()].filter((stays) => !stays).length;
      expect(due).toBeGreaterThan(2);
      const limit = chance.between(1, 9);
      expect(sum(await prune("pruneRuns", { limit, hold, dryRun: true }))).toBe(due);
      expect(sum(await prune("pruneRuns", { limit, hold }))).toBe(due);
      for (const [id, stays] of expected)
        expect([id, await traces(id)]).toEqual([id, stays ? before.get(id) : NOTHING]);
    }
  });
});
