/** What relays on one PostgreSQL agree on through it. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { silentLog } from "../../src/platform/log.ts";
import { sleep } from "../../src/platform/runtime.ts";
import type { Database } from "../../src/store/database.ts";
import { joinFleet, type Fleet, type FleetDeps } from "../../src/store/postgres/fleet.ts";
import { openPostgres } from "../../src/store/postgres/postgres.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import type { SharedClaim } from "../../src/store/contract/outbox.ts";
import { asAdmin, dropDatabase, newDatabase } from "../support/postgres.ts";
import { until } from "../support/until.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";

const MINUTE = 60_000;
const T = 1_000_000;

let url: string;
let databases: Database[];
let fleets: Fleet[];
let a: Store;
let b: Store;
beforeEach(async () => {
  url = await newDatabase();
  databases = await Promise.all([1, 2].map(() => openPostgres(url)));
  fleets = [];
  [a, b] = databases.map((database) => createSqlStore(database)) as [Store, Store];
});
afterEach(async () => {
  await Promise.all(fleets.map((fleet) => fleet.leave()));
  await Promise.all(databases.map((database) => database.close()));
  await dropDatabase(url);
});

async function join(i: number, name: string, given: Pick<FleetDeps, "sleep"> = { sleep }): Promise<Fleet> {
  const database = databases[i] ?? expect.unreachable();
  const openSession = database.session ?? expect.unreachable();
  const fleet = await joinFleet({ database, openSession, name, log: silentLog, ...given });
  fleets.push(fleet);
  return fleet;
}

/** A relay whose heart beats when told to: some seconds by its own clock after the last time. */
async function joinByHand(i: number, name: string) {
  let wake = (): void => {};
  let rests = Promise.withResolvers<void>();
  const sleep = (_ms: number, signal?: AbortSignal) =>
    new Promise<void>((resolve) => {
      wake = resolve;
      rests.resolve();
      signal?.addEventListener("abort", () => resolve());
    });
  const fleet = await join(i, name, { sleep });
  const beat = async (): Promise<void> => {
    rests = Promise.withResolvers();
    wake();
    await rests.promise;
  };
  return { fleet, beat };
}

let databaseNow: number;
/** The database's SQL finds this clock before PostgreSQL's own. */
const setDatabaseClock = (now: number) => {
  databaseNow = now;
  const clock = `create or replace function public.clock_timestamp() returns timestamptz`;
  return asAdmin(url, `${clock} language sql as 'select to_timestamp(${now} / 1000.0)'`);
};
/** Time passes by the monotonic clock of the relays, and by the database's as much unless told. */
const advance = async (ms: number, ofDatabase = ms): Promise<void> => {
  vi.advanceTimersByTime(ms);
  await setDatabaseClock(databaseNow + ofDatabase);
};
/** In each test both clocks stand still but for {@link advance}, however long the machine takes. */
const stopClocks = (): void => {
  beforeEach(async () => {
    vi.useFakeTimers({ toFake: ["performance"] });
    await asAdmin(url, `alter database ${new URL(url).pathname.slice(1)} set search_path = public, pg_catalog`);
    await setDatabaseClock(T);
  });
  afterEach(() => void vi.useRealTimers());
};

const runsOutAt = async (name: string): Promise<number> => {
  const row = databases[0]?.db.selectFrom("duties").select("until").where("name", "=", name);
  return (await row?.executeTakeFirst())?.until ?? 0;
};

/** Whatever has the name, a relay or a duty, was renewed for the last time long ago. */
const runOut = (name: string) => asAdmin(url, `update duties set until = 1 where name = '${name}'`);

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
const claim = async (store: Store, now: number, of: SharedClaim, sink = "ops", limit = 1) =>
  (await store.claimDue({ sink, holdMs: null }, { now, leaseMs: MINUTE, limit, except: [], shared: of })).map(
    ({ delivery }) => delivery.id,
  );

describe("a pace", () => {
  it("a pace is kept by all relays together, also by sinks that share a channel", async () => {
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

  it("a pace is not used up by a claim that finds nothing", async () => {
    expect(await claim(a, T, shared("a", { everyMs: 1_000 }))).toEqual([]);
    await queued(1);
    expect(await claim(b, T, shared("b", { everyMs: 1_000 }))).toHaveLength(1);
  });

  it("a pace is paused for all when one is asked to pause, and a shorter pause does not end a longer one", async () => {
    await queued(2);
    await a.pause("slack C1", T + 5_000);
    await a.pause("slack C1", T + 2_000);
    expect(await claim(b, T + 4_999, shared("b"))).toEqual([]);
    expect(await b.slotAt("slack C1")).toBe(T + 5_000);
    expect(await claim(b, T + 5_000, shared("b"))).toHaveLength(1);
  });
});

it("a probe goes out alone, whichever relay asks", async () => {
  await queued(3);
  const probes = await Promise.all([1, 2, 3, 4].map((i) => claim(i % 2 ? a : b, T, shared(`${i}`, { alone: true }))));
  expect(probes.flat()).toHaveLength(1);
  // One whose process died holds nobody up for longer than its lease.
  expect(await claim(b, T + MINUTE, shared("b", { alone: true }))).toHaveLength(1);
});

describe("leases", () => {
  it("the leases of a dead relay are reclaimed, and those of others are not", async () => {
    await queued(4);
    const [gone] = await claim(a, T, shared("gone"));
    const [alive] = await claim(b, T, shared("alive"));
    expect(await b.reclaimLeases(T + 10, [100], ["gone"])).toBe(1);
    expect(await b.reclaimLeases(T + 10, [100], ["gone"])).toBe(0);
    const again = await b.claimDue(
      { sink: "ops", holdMs: null },
      { now: T + 110, leaseMs: MINUTE, limit: 10, except: [], shared: shared("alive") },
    );
    const found = again.find(({ delivery }) => delivery.id === gone);
    expect(found).toMatchObject({ maybeSent: true, cutShort: 1, delivery: { attempts: 2 } });
    expect(again.map(({ delivery }) => delivery.id)).not.toContain(alive);
  });

  it("deliveries whose claim was never answered are released as if they had not been claimed", async () => {
    await queued(2);
    const [first = "", second = ""] = await claim(a, T, shared("a"), "ops", 2);
    expect(await a.releaseUnconfirmed("a", [first], T + 5)).toBe(1);
    const again = await b.claimDue(
      { sink: "ops", holdMs: null },
      { now: T + 5, leaseMs: MINUTE, limit: 10, except: [], shared: shared("b") },
    );
    expect(again).toMatchObject([{ delivery: { id: second, attempts: 1 }, maybeSent: false, cutShort: 0 }]);
  });

  it("leases of sinks that one relay no longer knows are left to the one that works on them", async () => {
    await queued(2);
    const [taken] = await claim(a, T, shared("a"));
    expect(await b.deadLetterOrphans([], "gone", T + 5)).toBe(1);
    expect(await a.deliveries({ state: ["sending"] }, { limit: 5 })).toMatchObject([{ id: taken }]);
    expect(await b.deadLetterOrphans([], "gone", T + MINUTE)).toBe(1);
  });
});

describe("a relay", () => {
  stopClocks();

  /** So far that a heart that beats once meanwhile beats on. */
  const FEW_SECONDS = 4_000;
  const beats = async (...relays: Awaited<ReturnType<typeof joinByHand>>[]) => {
    for (let i = 0; i < 3; i += 1) {
      await advance(FEW_SECONDS);
      for (const { beat } of relays) await beat();
    }
  };

  it("a relay is missing once its row has run out, and not while it renews it", async () => {
    const [first, second] = [await joinByHand(0, "relay_a"), await joinByHand(1, "relay_b")];
    await queued(3);
    await claim(a, T, shared("relay_a"));
    await claim(b, T, shared("relay_b"));
    await claim(b, T, shared("relay_dead"));
    await beats(first, second);
    expect(await first.fleet.deadPeers()).toEqual(["relay_dead"]);
    expect(await second.fleet.deadPeers()).toEqual(["relay_dead"]);
    await runOut("relay_b");
    expect((await first.fleet.deadPeers()).toSorted()).toEqual(["relay_b", "relay_dead"]);
    await second.beat();
    expect(await first.fleet.deadPeers()).toEqual(["relay_dead"]);
  });

  it("a relay is not present when it could not renew its row in time, and is again after the next heartbeat", async () => {
    const { fleet, beat } = await joinByHand(0, "relay_a");
    await advance(9_000);
    expect(fleet.isPresent()).toBe(true);
    await advance(1_000);
    expect(fleet.isPresent()).toBe(false);
    await beat();
    expect(fleet.isPresent()).toBe(true);
  });

  it("a relay counts no peer as dead until all had time to renew their rows, after it joined, was away or the clock was set", async () => {
    const relay = await joinByHand(0, "relay_a");
    await queued(1);
    await claim(a, T, shared("relay_dead"));
    expect(await relay.fleet.deadPeers()).toEqual([]);
    await beats(relay);
    expect(await relay.fleet.deadPeers()).toEqual(["relay_dead"]);
    await advance(11_000);
    expect(await relay.fleet.deadPeers()).toEqual([]);
    await relay.beat();
    expect(await relay.fleet.deadPeers()).toEqual([]);
    await beats(relay);
    expect(await relay.fleet.deadPeers()).toEqual(["relay_dead"]);
    await advance(0, -6_000);
    await relay.beat();
    expect(await relay.fleet.deadPeers()).toEqual([]);
  });

  it("the death of a relay makes earlier changes unknown, as it may have changed what nobody was notified of", async () => {
    const first = await joinByHand(0, "relay_a");
    await beats(first);
    await databases[1]?.db.insertInto("duties").values({ name: "relay_b", holder: "relay_b", until: 1 }).execute();
    const begin = a.lastChange();
    await first.fleet.deadPeers();
    expect(a.changes({ after: begin, limit: 9 }).isKnown).toBe(false);
  });

  it("the clock of a fleet is the database's", async () => {
    const { fleet, beat } = await joinByHand(0, "relay_a");
    expect(fleet.now()).toBe(T);
    await advance(1_500, 1_200);
    expect(fleet.now()).toBe(T + 1_500);
    await beat();
    expect(fleet.now()).toBe(T + 1_200);
  });

  it("a relay that leaves is missing at once", async () => {
    const [first, second] = [await joinByHand(0, "relay_a"), await joinByHand(1, "relay_b")];
    await queued(1);
    await claim(b, T, shared("relay_b"));
    await beats(first, second);
    await second.fleet.leave();
    expect(await first.fleet.deadPeers()).toEqual(["relay_b"]);
  });
});

describe("notifications", () => {
  it("notifications count as missed when the connection was lost, which is made again by itself", async () => {
    const first = await join(0, "relay_a");
    let news = 0;
    first.onPeerChange(() => (news += 1));
    await asAdmin(
      url,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    await until("it to be connected again", () => news > 0);
    expect(first.isPresent()).toBe(true);
    await b.accept([anArrival(aRun())]);
    await until("it to be heard", () => news > 1);
  });

  it("a notification reaches the other relays and not the sender, few times however much there is", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    let [mine, theirs] = [0, 0];
    first.onPeerChange(() => (mine += 1));
    second.onPeerChange(() => (theirs += 1));
    const [begin, from] = [b.lastChange(), performance.now()];
    for (let i = 0; i < 30; i += 1) await a.accept([anArrival(aRun({ run_id: `tsk_${i}` }))]);
    await until("all of it to be heard", () => b.changes({ after: begin, limit: 99 }).changes.length === 30);
    // One in a tenth of a second.
    expect(theirs).toBeLessThanOrEqual(1 + (performance.now() - from) / 100);
    // Notifications come in the order in which they were sent.
    databases[1]?.notifyPeers?.(null);
    await until("the other one to be heard", () => mine > 0);
    expect(mine).toBe(1);
  });

  it("a notification brings what another process changed, whether it is a relay or not", async () => {
    const heard = await join(0, "relay_a");
    let news = 0;
    heard.onPeerChange(() => (news += 1));
    const begin = a.lastChange();
    await b.accept([anArrival(aRun(), { decision: { deliveries: [aDelivery("dlv_1")] } })]);
    await until("it to be heard", () => news > 0);
    expect(a.changes({ after: begin, limit: 9 })).toMatchObject({
      isKnown: true,
      changes: [
        { change: { kind: "run", id: "tsk_1" } },
        { change: { kind: "delivery", id: "dlv_1", delivery: null } },
      ],
    });
  });

  it("changes from before the connection was lost, or another relay died, are not known", async () => {
    const first = await join(0, "relay_a");
    let news = 0;
    first.onPeerChange(() => (news += 1));
    const isKnown = (after: string) => a.changes({ after, limit: 9 }).isKnown;
    const begin = a.lastChange();
    expect(isKnown(begin)).toBe(true);
    await asAdmin(
      url,
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
    );
    await until("it to be connected again", () => news > 0);
    expect(isKnown(begin)).toBe(false);
    const then = a.lastChange();
    databases[1]?.notifyPeers?.(null);
    await until("it to be heard", () => news > 1);
    expect(isKnown(then)).toBe(false);
  });

  it("a notification says that another relay leaves", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    let news = 0;
    first.onPeerChange(() => (news += 1));
    await second.leave();
    await until("it to be heard", () => news > 0);
  });
});

describe("a duty", () => {
  stopClocks();

  it("a duty is done by one relay, and again when its time is over", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    const act = async () => true;
    const done = await Promise.all([
      first.runExclusively("d", 400, act),
      second.runExclusively("d", 400, act),
      second.runExclusively("other", 400, act),
    ]);
    expect(done.slice(0, 2).filter(Boolean)).toHaveLength(1);
    expect(done[2]).toBe(true);
    await advance(399);
    expect(await second.runExclusively("d", 400, act)).toBeNull();
    await advance(1);
    expect(await second.runExclusively("d", 400, act)).toBe(true);
    expect(await first.runExclusively("d", 400, act)).toBeNull();
  });

  it("a duty does not start while another relay runs it, and is free at once when that run failed", async () => {
    const [first, second] = [await join(0, "relay_a"), await join(1, "relay_b")];
    const [begun, doing] = [Promise.withResolvers<void>(), Promise.withResolvers<string>()];
    const done = first.runExclusively("d", 0, () => {
      begun.resolve();
      return doing.promise;
    });
    await begun.promise;
    expect(await second.runExclusively("d", 0, async () => "mine")).toBeNull();
    doing.resolve("done");
    expect(await done).toBe("done");
    const fails = second.runExclusively("d", 60_000, () => Promise.reject(new Error("it failed")));
    await expect(fails).rejects.toThrow("it failed");
    expect(await first.runExclusively("d", 0, async () => "again")).toBe("again");
  });

  it("a duty that runs is renewed by the heartbeat, and is free once the heartbeat of its relay has stopped", async () => {
    const [first, second] = [await joinByHand(0, "relay_a"), await joinByHand(1, "relay_b")];
    const doing = Promise.withResolvers<void>();
    const done = first.fleet.runExclusively("d", 0, () => doing.promise);
    await until("it to be begun", async () => (await runsOutAt("d")) > 0);
    const before = await runsOutAt("d");
    await advance(2_000);
    await first.beat();
    expect(await runsOutAt("d")).toBe(before + 2_000);
    await runOut("d");
    expect(await second.fleet.runExclusively("d", 60_000, async () => "mine")).toBe("mine");
    doing.resolve();
    await done;
    // It ends what is another's by then for nobody.
    expect(await runsOutAt("d")).toBeGreaterThan(1);
  });
});

it("a circuit that one relay opens is open for the others", async () => {
  await a.saveCircuit("ops", { ...CLOSED, state: "open", failures: 5, until: T });
  expect((await b.circuits()).get("ops")).toMatchObject({ state: "open", until: T });
});
