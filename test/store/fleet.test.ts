/** What relays on one PostgreSQL agree on through it. */
import { setTimeout as pause } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { silentLog } from "../../src/platform/log.ts";
import { sleep } from "../../src/platform/runtime.ts";
import type { Database } from "../../src/store/database.ts";
import { joinFleet, type Fleet } from "../../src/store/postgres/fleet.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { createSqlStore, type SqlStore } from "../../src/store/sql-store.ts";
import type { SharedClaim } from "../../src/store/store.ts";
import { asAdmin, dropDatabase, newDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";

const MINUTE = 60_000;
const T = 1_000_000;

let url: string;
let databases: Database[];
let fleets: Fleet[];
let a: SqlStore;
let b: SqlStore;
beforeEach(async () => {
  url = await newDatabase();
  databases = await Promise.all([1, 2].map(() => openPostgres(url)));
  fleets = [];
  [a, b] = databases.map(createSqlStore) as [SqlStore, SqlStore];
});
afterEach(async () => {
  await Promise.all(fleets.map((fleet) => fleet.leave()));
  await Promise.all(databases.map((database) => database.close()));
  await dropDatabase(url);
});

async function join(i: number, name: string): Promise<Fleet> {
  const database = databases[i] ?? expect.unreachable();
  const connect = database.session ?? expect.unreachable();
  const fleet = await joinFleet({ database, connect, name, sleep, log: silentLog });
  fleets.push(fleet);
  return fleet;
}

const queued = (n: number, sink = "ops") =>
  a.accept(
    Array.from({ length: n }, (_none, i) =>
      anArrival(aRun({ run_id: `${sink} ${i}`, received_at: T }), {
        decision: { deliveries: [aDelivery(`dlv_${sink}_${i}`, sink)] },
      }),
    ),
  );
const shared = (holder: string, values: Partial<SharedClaim> = {}): SharedClaim => ({
  holder,
  alone: false,
  destination: "slack C1",
  everyMs: 0,
  ...values,
});
const claim = async (store: SqlStore, now: number, of: SharedClaim, sink = "ops", limit = 1) =>
  (await store.claimDue({ sink, holdMs: null }, { now, leaseMs: MINUTE, limit, except: [], shared: of })).map(
    ({ delivery }) => delivery.id,
  );

describe("a pace", () => {
  it("is kept by all relays together, also by sinks that share a channel", async () => {
    await queued(4);
    await queued(4, "other");
    const paced = { everyMs: 1_000 };
    const now = await Promise.all([
      claim(a, T, shared("a", paced)),
      claim(b, T, shared("b", paced)),
      claim(a, T, shared("a", paced), "other"),
      claim(b, T, shared("b", paced), "other"),
    ]);
    expect(now.flat()).toHaveLength(1);
    expect(await b.slotAt("slack C1")).toBe(T + 1_000);
    expect(await claim(b, T + 999, shared("b", paced))).toEqual([]);
    expect(await claim(b, T + 1_000, shared("b", paced))).toHaveLength(1);
    expect(await claim(a, T + 1_000, shared("a", { ...paced, destination: "slack C2" }))).toHaveLength(1);
  });

  it("is not used up by a claim that finds nothing", async () => {
    expect(await claim(a, T, shared("a", { everyMs: 1_000 }))).toEqual([]);
    await queued(1);
    expect(await claim(b, T, shared("b", { everyMs: 1_000 }))).toHaveLength(1);
  });

  it("is paused for all when one is told to pause, and a shorter pause does not end a longer one", async () => {
    await queued(2);
    await a.pause("slack C1", T + 5_000);
    await a.pause("slack C1", T + 2_000);
    expect(await claim(b, T + 4_999, shared("b"))).toEqual([]);
    expect(await b.slotAt("slack C1")).toBe(T + 5_000);
    expect(await claim(b, T + 5_000, shared("b"))).toHaveLength(1);
  });
});

it("a probe goes out alone, whoever asks", async () => {
  await queued(3);
  const probes = await Promise.all([1, 2, 3, 4].map((i) => claim(i % 2 ? a : b, T, shared(`${i}`, { alone: true }))));
  expect(probes.flat()).toHaveLength(1);
  // One whose process died holds nobody up for longer than its lease.
  expect(await claim(b, T + MINUTE, shared("b", { alone: true }))).toHaveLength(1);
});

describe("leases", () => {
  it("of a relay that is gone are taken over, those of others are not", async () => {
    await queued(4);
    const [gone] = await claim(a, T, shared("gone"));
    const [alive] = await claim(b, T, shared("alive"));
    expect(await b.takeOver(T + 10, [100], ["gone"])).toBe(1);
    expect(await b.takeOver(T + 10, [100], ["gone"])).toBe(0);
    const again = await b.claimDue(
      { sink: "ops", holdMs: null },
      { now: T + 110, leaseMs: MINUTE, limit: 10, except: [], shared: shared("alive") },
    );
    const found = again.find(({ delivery }) => delivery.id === gone);
    expect(found).toMatchObject({ maybeSent: true, cutShort: 1, delivery: { attempts: 2 } });
    expect(again.map(({ delivery }) => delivery.id)).not.toContain(alive);
  });

  it("that were written but never answered are given back as if they had not been claimed", async () => {
    await queued(2);
    const [first = "", second = ""] = await claim(a, T, shared("a"), "ops", 2);
    expect(await a.releaseLost("a", [first], T + 5)).toBe(1);
    const again = await b.claimDue(
      { sink: "ops", holdMs: null },
      { now: T + 5, leaseMs: MINUTE, limit: 10, except: [], shared: shared("b") },
    );
    expect(again).toMatchObject([{ delivery: { id: second, attempts: 1 }, maybeSent: false, cutShort: 0 }]);
  });

  it("of sinks that one relay does not know any more are left to the one that works on them", async () => {
    await queued(2);
    const [taken] = await claim(a, T, shared("a"));
    expect(await b.buryOrphans([], "gone", T + 5)).toBe(1);
    expect(await a.deliveries({ state: ["sending"] }, { limit: 5 })).toMatchObject([{ id: taken }]);
    expect(await b.buryOrphans([], "gone", T + MINUTE)).toBe(1);
  });
});

describe("presence", () => {
  it("ends with the connection, and only who stays away for a while is missing", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    await queued(3);
    await claim(a, T, shared("relay_a"));
    await claim(b, T, shared("relay_b"));
    await claim(b, T, shared("relay_dead"));
    expect(await first.missing()).toEqual([]);
    await pause(9_100);
    expect(await first.missing()).toEqual(["relay_dead"]);
    expect(await second.missing()).toEqual([]);
    await second.leave();
    expect(await first.missing()).toEqual(["relay_dead"]);
  });

  it("comes back by itself, and hears of news then", async () => {
    const first = await join(0, "relay_a");
    let news = 0;
    first.onNews(() => (news += 1));
    await asAdmin(
      url,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    await until("it to be connected again", () => news > 0);
    await queued(1);
    await claim(a, T, shared("relay_a"));
    await join(1, "relay_b");
    expect(await first.missing()).toEqual([]);
    expect(news).toBe(1);
  });

  it("news reach the others, few of them however many there are", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    let [mine, theirs] = [0, 0];
    first.onNews(() => (mine += 1));
    second.onNews(() => (theirs += 1));
    for (let i = 0; i < 500; i += 1) first.announce();
    await until("it to be heard", () => theirs > 0);
    await pause(300);
    expect(theirs).toBeLessThanOrEqual(3);
    expect(mine).toBe(0);
  });
});

describe("a duty", () => {
  it("is done by one relay, and again when its time is over", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    const act = async () => true;
    const done = await Promise.all([
      first.alone("d", 400, act),
      second.alone("d", 400, act),
      second.alone("other", 400, act),
    ]);
    expect(done.slice(0, 2).filter(Boolean)).toHaveLength(1);
    expect(done[2]).toBe(true);
    await until("the time to be over", () => second.alone("d", 400, act));
    expect(await first.alone("d", 400, act)).toBeNull();
  });

  it("is not begun while another relay is at it, and is free at once when that failed", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    const [begun, doing] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()];
    const done = first.alone("d", 0, () => {
      begun.resolve();
      return doing.promise;
    });
    await begun.promise;
    expect(await second.alone("d", 0, async () => "mine")).toBeNull();
    doing.resolve("done");
    expect(await done).toBe("done");
    const fails = second.alone("d", 60_000, () => Promise.reject(new Error("it failed")));
    await expect(fails).rejects.toThrow("it failed");
    expect(await first.alone("d", 0, async () => "again")).toBe("again");
  });
});

it("the clock is the database's", async () => {
  const fleet = await join(0, "relay_a");
  expect(Math.abs(fleet.now() - Date.now())).toBeLessThan(1_000);
});

it("a circuit that one relay opens is open for the others", async () => {
  await a.saveCircuit("ops", { ...CLOSED, state: "open", failures: 5, until: T });
  expect((await b.circuits()).get("ops")).toMatchObject({ state: "open", until: T });
});
