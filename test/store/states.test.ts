/**
 * A run's state and what was received for it stay as they were told, whatever comes since, and go when they are to go.
 */
import { toWords } from "../../src/store/search/text-words.ts";
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Run } from "../../src/domain/run.ts";
import { unpackBlock } from "../../src/store/receipts/blocks.ts";
import type { Database } from "../../src/store/database.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { Decision } from "../../src/store/contract/receipts.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";
import { databases } from "./stores.ts";

const NOW = 1_000_000;
const LATE = 2_000_000;

describe.each(Object.entries(databases))("%s", (_name, open) => {
  let database: Database;
  let store: Store;
  beforeEach(async () => {
    database = await open();
    store = createSqlStore(database);
  });
  afterEach(() => store.close());

  const body = (id: string) => `{"run_id":"${id}","status":"completed","output":{"amount":1234.50,"text":"Grüße €"}}`;
  const run = (id: string, values: Partial<Run> = {}): Run =>
    aRun({ run_id: id, output: { amount: 1234.5, text: "Grüße €" }, received_at: NOW, ...values });
  /** The n-th receipt of a run. */
  const arrival = (id: string, n = 1, { values = {}, bytes = body(id), decision = {} }: Given = {}) => {
    const given = anArrival(run(id, values), {
      hash: `${id} ${n}`,
      body: bytes,
      decision: { deliveries: [aDelivery(`dlv_${id}_${n}`)], ...decision },
    });
    return { ...given, receipt: { ...given.receipt, receivedAt: NOW + n } };
  };
  interface Given {
    values?: Partial<Run>;
    bytes?: string;
    decision?: Partial<Decision>;
  }
  const textOf = async (id: string, n = 1): Promise<string | null> => {
    const bytes = await store.body(`rcp_${id} ${n}`);
    return bytes && Buffer.from(bytes).toString();
  };
  const removeBodies = (before: number) =>
    store.pruneBodies({ before, after: null, limit: 100, hold: [], dryRun: false });
  /** What lies in the file for each receipt. */
  const blocks = async () => {
    const rows = await sql<{ id: string; block: Uint8Array | null }>`select id, block from receipts`.execute(
      database.db,
    );
    return Object.fromEntries(rows.rows.map(({ id, block }) => [id, block && unpackBlock(block)]));
  };
  const revised = (values: Partial<Run>) =>
    store.revise(
      "tsk_1",
      ({ state }) => ({
        verdict: "updated",
        note: null,
        routing: null,
        state: { ...state, revision: state.revision + 1, run: { ...state.run, ...values } },
        deliveries: [],
        cancel: [],
      }),
      LATE,
    );

  it("the state of a run is as it was delivered, not as its body would be read now", async () => {
    await store.accept([arrival("tsk_1", 1, { bytes: "no JSON", values: { title: "told", status: "failed" } })]);
    expect((await store.run("tsk_1"))?.state.run).toEqual(run("tsk_1", { title: "told", status: "failed" }));
    expect(await textOf("tsk_1")).toBe("no JSON");
  });

  it("every receipt keeps its own body, and the run its last state, also when they come in one transaction", async () => {
    await store.accept([
      arrival("tsk_1", 1),
      arrival("tsk_1", 2, { values: { prompt: "again" }, bytes: "two" }),
      arrival("tsk_2", 1),
    ]);
    await store.accept([arrival("tsk_1", 3, { values: { prompt: "and again" }, bytes: "three" })]);
    expect([await textOf("tsk_1", 1), await textOf("tsk_1", 2), await textOf("tsk_1", 3)]).toEqual([
      body("tsk_1"),
      "two",
      "three",
    ]);
    expect((await store.run("tsk_1"))?.state).toMatchObject({ revision: 3, run: { prompt: "and again" } });
    expect((await store.run("tsk_2"))?.state).toMatchObject({ revision: 1, run: run("tsk_2") });
  });

  it("a receipt that changes nothing leaves the state as it was", async () => {
    await store.accept([arrival("tsk_1")]);
    const before = await store.run("tsk_1");
    const state = before?.state as Decision["state"];
    const decision = { verdict: "duplicate" as const, state, deliveries: [] };
    await store.accept([arrival("tsk_1", 2, { bytes: "other bytes", decision })]);
    expect(await store.run("tsk_1")).toEqual(before);
    expect([await textOf("tsk_1", 1), await textOf("tsk_1", 2)]).toEqual([body("tsk_1"), "other bytes"]);
  });

  it("a decision without a receipt changes the state and leaves the body", async () => {
    await store.accept([arrival("tsk_1")]);
    expect(await revised({ title: "known now" })).toBe(true);
    expect((await store.run("tsk_1"))?.state).toMatchObject({
      revision: 2,
      run: run("tsk_1", { title: "known now" }),
    });
    expect(await textOf("tsk_1")).toBe(body("tsk_1"));
  });

  it("a body that is recognized later has its run's state, and stays as it came", async () => {
    const { receipt, run: understood } = arrival("tsk_1", 1, { bytes: "later" });
    await store.accept([{ receipt, run: null }]);
    expect(await store.adopt(receipt.id, "completed", understood as NonNullable<typeof understood>, LATE)).toBe(true);
    expect((await store.run("tsk_1"))?.state.run).toEqual(run("tsk_1"));
    expect(await textOf("tsk_1")).toBe("later");
  });

  describe("when bodies are removed", () => {
    it("removing bodies leaves the state, the receipt and what is sent as they were", async () => {
      await store.accept([arrival("tsk_1"), arrival("tsk_2", 5)]);
      const [before, receipts, found] = [
        await store.run("tsk_1"),
        await store.receipts("tsk_1"),
        await store.runs({ search: [{ words: toWords("Grüße"), prefix: false }] }, { limit: 9 }),
      ];
      expect(await removeBodies(NOW + 2)).toMatchObject({ removed: 1 });
      expect([await textOf("tsk_1"), await textOf("tsk_2", 5)]).toEqual([null, body("tsk_2")]);
      expect(await store.run("tsk_1")).toEqual(before);
      expect(await store.receipts("tsk_1")).toEqual(receipts);
      expect(await store.runs({ search: [{ words: toWords("Grüße"), prefix: false }] }, { limit: 9 })).toEqual(found);
      const [claimed] = await store.claimDue(
        { sink: "ops", holdMs: null },
        { now: LATE, leaseMs: 60_000, limit: 1, except: [] },
      );
      expect(claimed?.state).toEqual(before?.state);
      expect(await store.redeliver("tsk_1", [aDelivery("dlv_9")], LATE)).toMatchObject([{ id: "dlv_9", revision: 1 }]);
    });

    it("removing bodies leaves nothing of them but the state that the run has", async () => {
      await store.accept([arrival("tsk_1", 1), arrival("tsk_1", 2, { values: { prompt: "again" }, bytes: "two" })]);
      expect(await removeBodies(LATE)).toMatchObject({ removed: 2 });
      const state = JSON.stringify((await store.run("tsk_1"))?.state);
      expect(await blocks()).toEqual({ "rcp_tsk_1 1": null, "rcp_tsk_1 2": { state, body: null } });
    });

    it("a run whose body was removed changes like any other, and the body does not come back", async () => {
      await store.accept([arrival("tsk_1")]);
      await removeBodies(LATE);
      expect(await revised({ title: "known now" })).toBe(true);
      expect((await store.run("tsk_1"))?.state.run).toEqual(run("tsk_1", { title: "known now" }));
      expect(await textOf("tsk_1")).toBeNull();
      await store.accept([arrival("tsk_1", 2, { values: { title: "newer" }, bytes: "two" })]);
      expect((await store.run("tsk_1"))?.state).toMatchObject({ revision: 3, run: { title: "newer" } });
      expect([await textOf("tsk_1", 1), await textOf("tsk_1", 2)]).toEqual([null, "two"]);
    });

    it("the bytes of a removed body are still known when they come again", async () => {
      await store.accept([arrival("tsk_1")]);
      await removeBodies(LATE);
      expect(await store.accept([arrival("tsk_1")])).toMatchObject([{ verdict: "duplicate", revision: null }]);
      expect(await store.receipts("tsk_1")).toMatchObject([{ copies: 2 }]);
    });

    it("a dry run of removing bodies removes nothing", async () => {
      await store.accept([arrival("tsk_1")]);
      const step = { before: LATE, after: null, limit: 100, hold: [] };
      expect(await store.pruneBodies({ ...step, dryRun: true })).toMatchObject({ removed: 1 });
      expect(await textOf("tsk_1")).toBe(body("tsk_1"));
    });
  });

  it("a large run that compresses well counts by its length, so that a page of them fits into memory", async () => {
    const output = "0".repeat(3_000_000);
    await store.accept([1, 2, 3, 4].map((n) => arrival(`tsk_${n}`, 1, { values: { output } })));
    const { runs, next } = await store.runs({}, { limit: 50 });
    expect(runs).toHaveLength(2);
    expect((await store.runs({}, { limit: 50, ...(next && { after: next }) })).runs).toHaveLength(2);
  });
});
