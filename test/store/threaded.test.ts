/** What operations in another thread must keep beside the promises of every Store. */
import { join } from "node:path";
import Sqlite from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openStorage } from "../../src/storage.ts";
import { stateOf } from "../../src/store/states.ts";
import { noRoom, StorageFault, type ClaimedRow, type Reserve } from "../../src/store/store.ts";
import { aFolder } from "../support/app.ts";
import { anArrival, aDelivery, aRun } from "./a-run.ts";
import { openBehindMessages } from "./stores.ts";

describe("behind messages", () => {
  let store: Awaited<ReturnType<typeof openBehindMessages>>;
  beforeEach(async () => {
    store = await openBehindMessages();
  });
  afterEach(() => store.close());
  const bug = (): never => {
    throw new TypeError("a bug in deciding");
  };

  it("what is asked for at one time is done in that order, each all or nothing", async () => {
    const broken = anArrival(aRun({ run_id: "broken" }));
    const results = await Promise.allSettled([
      store.accept([anArrival(aRun({ run_id: "a" }))]),
      store.accept([anArrival(aRun({ run_id: "b" })), { ...broken, run: { id: "broken", decide: bug } }]),
      store.accept([anArrival(aRun({ run_id: "c" }), { decision: { deliveries: [aDelivery("dlv_1")] } })]),
      store.claimDue({ sink: "ops", holdMs: null }, { now: 9e9, leaseMs: 1, limit: 9, except: [] }),
      store.saveSetting("one", "1"),
      store.setting("one", "2"),
    ]);
    expect(results.map((result) => (result.status === "fulfilled" ? result.value : String(result.reason)))).toEqual([
      [expect.objectContaining({ verdict: "accepted" })],
      "Error: a bug in deciding",
      [expect.objectContaining({ verdict: "accepted" })],
      [expect.objectContaining({ delivery: expect.objectContaining({ id: "dlv_1" }) })],
      undefined,
      "1",
    ]);
    expect([...(await store.outcomes(["a", "b", "broken", "c"])).keys()].toSorted()).toEqual(["a", "c"]);
  });

  it("a bug keeps the place where it was met, and is no fault of the storage", async () => {
    const run = aRun();
    const failed = store.accept([{ ...anArrival(run), run: { id: run.run_id, decide: bug } }]);
    await expect(failed).rejects.not.toBeInstanceOf(StorageFault);
    await expect(failed).rejects.toThrow(expect.objectContaining({ stack: expect.stringMatching(/threaded\.test/) }));
  });

  it("numbers that JavaScript would change come back digit for digit with a claim", async () => {
    const output = { n: JSON.rawJSON("12345678901234567890"), f: JSON.rawJSON("1e-07") };
    await store.accept([anArrival(aRun({ output }), { decision: { deliveries: [aDelivery("dlv_1")] } })]);
    const [claimed] = await store.claimDue(
      { sink: "ops", holdMs: null },
      { now: 9e9, leaseMs: 1, limit: 9, except: [] },
    );
    expect(JSON.stringify(claimed?.state.run.output)).toBe('{"n":12345678901234567890,"f":1e-07}');
  });

  it("a storage that cannot be written says so as a StorageFault, and is used again when it can", async () => {
    const other = new Sqlite(store.path);
    other.exec("BEGIN IMMEDIATE");
    await expect(store.accept([anArrival(aRun())])).rejects.toBeInstanceOf(StorageFault);
    await expect(store.ping(1)).rejects.toBeInstanceOf(StorageFault);
    other.exec("ROLLBACK");
    expect(await store.accept([anArrival(aRun())])).toMatchObject([{ verdict: "accepted" }]);
    other.close();
  });

  it("those that wait for a lock behind one that gives up are refused with it, and the next one is patient again", async () => {
    const other = new Sqlite(store.path);
    other.exec("BEGIN IMMEDIATE");
    const startedAt = performance.now();
    const refused = await Promise.allSettled(["1", "2", "3", "4", "5", "6"].map((n) => store.saveSetting(n, n)));
    expect(refused.map(({ status }) => status)).toEqual(Array(6).fill("rejected"));
    // A second each, if each of them waited by itself.
    expect(performance.now() - startedAt).toBeLessThan(4_000);
    const later = performance.now();
    await expect(store.ping(1)).rejects.toBeInstanceOf(StorageFault);
    expect(performance.now() - later).toBeGreaterThan(900);
    other.close();
    await store.ping(1);
  });

  it("what was asked for before the end is done, and nothing after it", async () => {
    const last = store.saveSetting("last", "1");
    const closed = store.close();
    await expect(store.saveSetting("late", "1")).rejects.toBeInstanceOf(StorageFault);
    await Promise.all([last, closed]);
  });
});

describe("in a thread", () => {
  const genuine = (body: string, values: object = {}) => ({
    bytes: Buffer.from(body),
    keyName: "key",
    organization: "o_1",
    channel: null,
    sentAt: null,
    receivedAt: 1_000,
    ...values,
  });
  const sinks = [{ name: "ops", kind: "http", updates: true }];
  const settings = { redactKeys: ["colour"], routes: [], sinks, archives: false };
  const runtime = { newId: () => "not used: ids are the thread's" };
  const body = (id: string, values: object = {}) => JSON.stringify({ run_id: id, status: "completed", ...values });

  it("webhooks are taken by the configuration that they came for, while another is in force as well", async () => {
    const { store, intake } = await openStorage({ kind: "sqlite", path: join(aFolder(), "relay.db") });
    const before = intake(settings, runtime, noRoom);
    const after = intake({ ...settings, redactKeys: [], sinks: [] }, runtime, noRoom);
    const parameters = { colour: "red" };
    const taken = await Promise.all([
      before.webhook(genuine(body("tsk_1", { parameters }))),
      after.webhook(genuine(body("tsk_2", { parameters }))),
      before.webhook(genuine("not JSON")),
    ]);
    expect(taken).toMatchObject([
      { kind: "taken", accepted: { runId: "tsk_1", verdict: "accepted", deliveries: 1 }, revision: 1, crashed: null },
      { kind: "taken", accepted: { runId: "tsk_2", verdict: "accepted", deliveries: 0 } },
      { kind: "taken", accepted: { runId: null, verdict: "kept" }, revision: null },
    ]);
    expect((await store.run("tsk_1"))?.state.run.parameters).toEqual({ colour: "[redacted]" });
    expect((await store.run("tsk_2"))?.state.run.parameters).toEqual({ colour: "red" });
    await before.close();
    await expect(before.webhook(genuine(body("tsk_3")))).rejects.toThrow("the intake is closed");
    await after.close();
    await store.close();
  });

  it("what there is room for is claimed as it is taken, and begun before the answer; kept room is given up when nothing is taken", async () => {
    const { store, intake } = await openStorage({ kind: "sqlite", path: join(aFolder(), "relay.db") });
    const begun: ClaimedRow[][] = [];
    const asked: number[] = [];
    const reserve: Reserve = (most) => {
      asked.push(most);
      const begin = async (claimed: readonly ClaimedRow[]) => void begun.push([...claimed]);
      return { room: { bySink: new Map([["ops", 2]]), leaseMs: 60_000 }, begin };
    };
    const { webhook, close } = intake(settings, runtime, reserve);
    const taken = await Promise.all(["tsk_1", "tsk_2", "tsk_3"].map((id) => webhook(genuine(body(id)))));
    expect(asked).toEqual([3]);
    expect(begun.flat().map(({ delivery }) => [delivery.run_id, delivery.state, delivery.attempts])).toEqual([
      ["tsk_1", "sending", 1],
      ["tsk_2", "sending", 1],
    ]);
    expect(stateOf(begun[0]?.[0]?.state ?? "").run.run_id).toBe("tsk_1");
    expect(taken).toMatchObject([{ accepted: { claimed: [{}] } }, { accepted: { claimed: [{}] } }, { kind: "taken" }]);
    expect(await store.dueTimes({ sink: "ops", holdMs: null }, 1_000, 9)).toEqual([1_000, 61_000, 61_000]);
    await close();
    await expect(webhook(genuine(body("tsk_4")))).rejects.toThrow("the intake is closed");
    expect(begun.at(-1)).toEqual([]);
    await store.close();
  });

  it("large bodies are handed over, small ones stay as they are, and what is stored is what came", async () => {
    const { store, intake } = await openStorage({ kind: "sqlite", path: join(aFolder(), "relay.db") });
    const { webhook } = intake(settings, runtime, noRoom);
    const large = genuine(body("tsk_1", { output: "x".repeat(1_000_000) }));
    const sizes = ["tsk_2", "tsk_3"].map((id) => genuine(body(id)));
    const text = Buffer.from(large.bytes).toString();
    await Promise.all([webhook(sizes[0] as typeof large), webhook(large), webhook(sizes[1] as typeof large)]);
    expect(large.bytes.length).toBe(0);
    expect(sizes[0]?.bytes.toString()).toBe(body("tsk_2"));
    for (const [id, wanted] of [
      ["tsk_1", text],
      ["tsk_2", body("tsk_2")],
      ["tsk_3", body("tsk_3")],
    ] as const) {
      const [receipt] = await store.receipts(id);
      expect(Buffer.from((await store.body(receipt?.id ?? "")) ?? []).toString()).toBe(wanted);
    }
    await store.close();
  });

  it("more to show reaches those who were told", async () => {
    const { store, intake } = await openStorage({ kind: "sqlite", path: join(aFolder(), "relay.db") });
    const { webhook, showMore } = intake(settings, runtime, noRoom);
    await webhook(genuine(body("tsk_1")));
    expect(await showMore("tsk_1", 2_000)).toBe(false);
    await store.claimDue({ sink: "ops", holdMs: null }, { now: 9e9, leaseMs: 1, limit: 9, except: [] });
    expect(await showMore("tsk_1", 3_000)).toBe(true);
    expect(await store.deliveries({ runId: "tsk_1" }, { limit: 9 })).toMatchObject([
      { cause: "update", created_at: 3_000 },
      { cause: "result" },
    ]);
    await store.close();
  });
});
