/** What the archive's queue and its list of copies promise. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Copy } from "../../src/store/contract/archive.ts";
import { aRun } from "../support/a-run.ts";
import { stores } from "./stores.ts";
import type { Store } from "../../src/store/store.ts";

let store: Store;

/** Takes a receipt of a run that is to be archived then; null: not at all. */
async function accept(runId: string, archiveAt: number | null, n = 1): Promise<void> {
  const run = aRun({ run_id: runId });
  const receipt = {
    id: `rcp_${runId}_${n}`,
    bodyHash: `${runId} ${n}`,
    body: new Uint8Array([1]),
    source: "webhook" as const,
    channel: null,
    labels: null,
    keyName: null,
    sentAt: null,
    reportedStatus: "completed",
    receivedAt: 1_000,
    note: null,
  };
  const clock = [1, 1, 1, 0, 0, 1, 1_000] as const;
  const state = { run, owners: [null], revision: n, clock, clocks: {}, reported: clock, failures: {} };
  const decision = { verdict: "accepted" as const, note: null, routing: null, state, deliveries: [], cancel: [] };
  const decide = () => (archiveAt === null ? decision : { ...decision, archiveAt });
  await store.accept([{ receipt, run: { id: runId, decide } }]);
}

const due = async (now: number) => (await store.dueArchiving(now, 10)).map(({ runId }) => runId);
const aCopy = (given: Partial<Copy> = {}): Copy => ({
  runId: "wr_1",
  key: "a_1",
  sha256: "aa",
  type: "image/png",
  bytes: 10,
  copiedAt: 5,
  ...given,
});

describe.each(Object.entries(stores))("%s", (_name, open) => {
  beforeEach(async () => {
    store = await open();
  });
  afterEach(() => store.close());

  describe("the queue", () => {
    it("the archive's queue has a run with the receipt that put it there, from its time on, the longest due first", async () => {
      await accept("wr_2", 3_000);
      await accept("wr_1", 2_000);
      await accept("wr_3", null);
      expect(await due(1_999)).toEqual([]);
      expect(await due(2_000)).toEqual(["wr_1"]);
      expect(await due(9_000)).toEqual(["wr_1", "wr_2"]);
      expect(await store.dueArchiving(9_000, 1)).toHaveLength(1);
    });

    it("the archive's queue forgets what is done, and brings back what failed when it is due again", async () => {
      await accept("wr_1", 2_000);
      const [first] = await store.dueArchiving(2_000, 1);
      if (first) await store.setArchiving(first, { at: 8_000, failures: 1 });
      expect(await due(7_999)).toEqual([]);
      const [again] = await store.dueArchiving(8_000, 1);
      expect(again).toEqual({ runId: "wr_1", dueAt: 8_000, failures: 1 });
      if (again) await store.setArchiving(again, null);
      expect(await due(99_000)).toEqual([]);
    });

    it("the archive's queue keeps a run that was queued again while it was being copied", async () => {
      await accept("wr_1", 2_000);
      const [first] = await store.dueArchiving(2_000, 1);
      await accept("wr_1", 5_000, 2);
      if (first) await store.setArchiving(first, null);
      expect(await store.dueArchiving(5_000, 1)).toEqual([{ runId: "wr_1", dueAt: 5_000, failures: 0 }]);
    });
  });

  describe("copies", () => {
    beforeEach(async () => {
      await accept("wr_1", null);
      await accept("wr_2", null);
    });

    it("copies of a run that was pruned while they were made are dropped, and their bytes removed", async () => {
      await store.saveCopy(aCopy({ sha256: "shared" }));
      await store.saveCopy(aCopy({ runId: "wr_gone", sha256: "shared" }));
      await store.saveCopy(aCopy({ runId: "wr_gone", sha256: "alone" }));
      expect(await store.copies("wr_gone")).toEqual([]);
      expect(await store.copiedBytes()).toBe(10);
      expect(await store.discarded(9_000, 10)).toEqual(["alone"]);
    });

    it("copies are found by run and artifact, and replaced by a newer one", async () => {
      await store.saveCopy(aCopy());
      await store.saveCopy(aCopy({ key: "a_2", type: null }));
      await store.saveCopy(aCopy({ sha256: "bb", bytes: 11 }));
      expect(await store.copy("wr_1", "a_1")).toEqual(aCopy({ sha256: "bb", bytes: 11 }));
      expect(await store.copy("wr_2", "a_1")).toBeNull();
      expect((await store.copies("wr_1")).map(({ key }) => key).toSorted()).toEqual(["a_1", "a_2"]);
    });

    it("copies of equal bytes count once", async () => {
      expect(await store.copiedBytes()).toBe(0);
      await store.saveCopy(aCopy());
      await store.saveCopy(aCopy({ runId: "wr_2" }));
      await store.saveCopy(aCopy({ key: "a_2", sha256: "cc", bytes: 5_000_000_000 }));
      expect(await store.copiedBytes()).toBe(5_000_000_010);
    });
  });
});
