/** Packed or not, every read answers alike, byte for byte; only the disk knows. */
import { sql } from "kysely";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Run } from "../../src/run.ts";
import type { Database } from "../../src/store/database.ts";
import { createSqlStore, type SqlStore } from "../../src/store/sql.ts";
import type { Store } from "../../src/store/store.ts";
import { aDelivery, anArrival, aRun } from "./a-run.ts";
import { databases } from "./stores.ts";

const NOW = 1_000_000;
const LATE = 2_000_000;

describe.each(Object.entries(databases))("%s", (name, open) => {
  let database: Database;
  let store: SqlStore;
  beforeEach(async () => {
    database = await open();
    store = createSqlStore(database);
  });
  afterEach(() => store.close());

  const body = (id: string) => `{"run_id":"${id}","status":"completed","output":{"amount":1234.50,"text":"Grüße €"}}`;
  const run = (id: string, values: Partial<Run> = {}): Run =>
    aRun({ run_id: id, output: { amount: 1234.5, text: "Grüße €" }, received_at: NOW, ...values });
  const arrival = (id: string, values: Partial<Run> = {}, bytes = body(id)) =>
    anArrival(run(id, values), {
      hash: `${id} ${values.received_at ?? NOW}`,
      body: bytes,
      decision: { deliveries: [aDelivery(`dlv_${id}_${values.received_at ?? NOW}`)] },
    });
  const page = { limit: 50 };

  /** Everything that is read of runs. */
  const all = async (store: Store, ids: readonly string[]) => ({
    list: await store.runs({}, page),
    filtered: await store.runs({ status: ["completed"], source: ["webhook"] }, page),
    found: await store.runs({ search: [{ words: ["grusse"], prefix: false }] }, page),
    briefs: await store.briefs({}, page),
    events: await store.events({ after: 0, limit: 50 }),
    due: await store.dueFollowUps(LATE, 10),
    outcomes: [...(await store.outcomes(ids))],
    runs: await Promise.all(ids.map((id) => store.run(id))),
    receipts: await Promise.all(ids.map((id) => store.receipts(id))),
    bodies: await Promise.all(
      ids.map(async (id) =>
        Promise.all(
          (await store.receipts(id)).map(async (receipt) =>
            Buffer.from((await store.body(receipt.id)) ?? "gone").toString(),
          ),
        ),
      ),
    ),
  });

  const packAll = async (store: Store): Promise<number> => {
    let packed = 0;
    for (let n = 1; n > 0; packed += n) n = await store.packRuns(LATE, 2);
    return packed;
  };
  const rowsIn = async ({ db }: Database, table: string): Promise<number> =>
    (await sql<{ n: number }>`select count(*) as n from ${sql.table(table)}`.execute(db)).rows[0]?.n ?? 0;

  it("answers every read alike, and PostgreSQL packs by itself", async () => {
    const ids = ["tsk_1", "tsk_2", "tsk_3"];
    await store.accept(ids.map((id) => arrival(id)));
    await store.accept([
      arrival("tsk_2", { received_at: NOW + 1, prompt: "again" }, body("tsk_2").replace("1234", "4321")),
    ]);
    await store.setFollowUp("tsk_3", NOW, 0);
    const before = await all(store, ids);
    expect(before.bodies).toEqual([
      [body("tsk_1")],
      [body("tsk_2"), body("tsk_2").replace("1234", "4321")],
      [body("tsk_3")],
    ]);

    expect(await packAll(store)).toBe(name === "postgres" ? 0 : 3);

    expect(await all(store, ids)).toEqual(before);
    if (name === "postgres") return;
    expect([await rowsIn(database, "states"), await rowsIn(database, "bodies")]).toEqual([0, 0]);
    expect([await rowsIn(database, "packed_states"), await rowsIn(database, "packed_bodies")]).toEqual([3, 4]);
  });

  it("leaves alone what came since, and what was not understood", async () => {
    await store.accept([arrival("tsk_1"), { ...arrival("tsk_2"), run: null }]);
    expect(await store.packRuns(NOW, 10)).toBe(0);
    await packAll(store);
    const [kept] = await store.keptReceipts(1);
    expect(Buffer.from((await store.body(kept?.id ?? "")) ?? "").toString()).toBe(body("tsk_2"));
  });

  it("a packed run that is corrected has its bodies as before, and is packed again", async () => {
    await store.accept([arrival("tsk_1"), arrival("tsk_2")]);
    await packAll(store);
    await store.accept([
      arrival("tsk_1", { received_at: NOW + 1, prompt: "other words" }, body("tsk_1").replace("4.5", "5.5")),
    ]);
    const corrected = await all(store, ["tsk_1", "tsk_2"]);
    expect(corrected.bodies[0]).toEqual([body("tsk_1"), body("tsk_1").replace("4.5", "5.5")]);
    expect(corrected.runs[0]?.state.run.prompt).toBe("other words");
    await packAll(store);
    expect(await all(store, ["tsk_1", "tsk_2"])).toEqual(corrected);
  });

  it("a packed run is claimed, redelivered and revised like any other", async () => {
    await store.accept([arrival("tsk_1")]);
    await packAll(store);
    const [claimed] = await store.claimDue(
      { sink: "ops", holdMs: null },
      { now: LATE, leaseMs: 60_000, limit: 1, except: [] },
    );
    expect(claimed?.state.run).toEqual(run("tsk_1"));
    expect(await store.redeliver("tsk_1", [aDelivery("dlv_9")], LATE)).toMatchObject([{ id: "dlv_9", revision: 1 }]);
    expect(
      await store.revise(
        "tsk_1",
        ({ state }) => ({
          verdict: "updated",
          note: null,
          routing: null,
          state: { ...state, revision: 2 },
          deliveries: [],
          cancel: [],
        }),
        LATE,
      ),
    ).toBe(true);
    expect((await store.run("tsk_1"))?.state).toMatchObject({ revision: 2, run: run("tsk_1") });
    expect(Buffer.from((await store.body("rcp_tsk_1 1000000")) ?? "").toString()).toBe(body("tsk_1"));
  });

  it("retention removes what is packed with its run, and bodies by themselves", async () => {
    await store.accept([arrival("tsk_1"), arrival("tsk_2", { received_at: LATE })]);
    await packAll(store);
    await store.packRuns(LATE + 1, 10);
    const step = { before: LATE, limit: 10, hold: [], dryRun: false };
    let removed = 0;
    for (let after: string | null = null; ;) {
      const done = await store.pruneBodies({ ...step, after });
      removed += done.removed;
      if (done.next === null) break;
      after = done.next;
    }
    expect(removed).toBe(1);
    expect(await store.body("rcp_tsk_1 1000000")).toBeNull();
    expect((await store.run("tsk_1"))?.state.run).toEqual(run("tsk_1"));
    await database.db.updateTable("deliveries").set({ state: "delivered" }).execute();
    expect(await store.pruneRuns({ ...step, after: null })).toMatchObject({ removed: 1 });
    expect(await store.run("tsk_1")).toBeNull();
    expect((await store.run("tsk_2"))?.state.run.run_id).toBe("tsk_2");
    if (name === "postgres") return;
    expect([await rowsIn(database, "packed_states"), await rowsIn(database, "packed_bodies")]).toEqual([1, 1]);
  });

  it("a large run that packs well counts by its length, so that a page of them fits into memory", async () => {
    const output = "0".repeat(3_000_000);
    await store.accept([1, 2, 3, 4].map((n) => arrival(`tsk_${n}`, { output })));
    const { runs } = await store.runs({}, page);
    await packAll(store);
    expect((await store.runs({}, page)).runs).toHaveLength(runs.length);
    expect(runs.length).toBe(2);
  });
});
