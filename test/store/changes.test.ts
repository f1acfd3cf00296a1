/** What followers of changes are promised: each change once, or an honest word that they have to read anew. */
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Change } from "../../src/store/contract/changes.ts";
import { ChangeRing } from "../../src/store/history/changes.ts";
import { openSqlite, openSqliteReadOnly } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aFolder } from "../support/app.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";

const change = (n: number): Change => ({ kind: "run", id: `tsk_${n}` });
const changes = (count: number, from = 1): Change[] => Array.from({ length: count }, (_none, i) => change(from + i));

describe("the ring", () => {
  it("the ring gives every follower each change once and in order, however it is asked and whatever comes meanwhile", () => {
    const steps = fc.array(fc.record({ pushed: fc.nat(9), limit: fc.integer({ min: 1, max: 7 }) }), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (asked) => {
        const ring = new ChangeRing();
        let [last, pushed] = [ring.last, 0];
        const told: string[] = [];
        const read = (limit: number): number => {
          const page = ring.after(last, limit);
          expect(page.isKnown).toBe(true);
          told.push(...page.changes.map(({ change: { id } }) => id));
          last = page.last;
          return page.changes.length;
        };
        for (const { pushed: count, limit } of asked) {
          ring.push(changes(count, pushed + 1));
          pushed += count;
          read(limit);
        }
        while (read(5) > 0);
        expect(told).toEqual(changes(pushed).map(({ id }) => id));
        expect(last).toBe(ring.last);
      }),
    );
  });

  it("the ring continues after the id of each change that it gave", () => {
    const ring = new ChangeRing();
    const begin = ring.last;
    ring.push(changes(4));
    for (const [i, { at }] of ring.after(begin, 9).changes.entries())
      expect(ring.after(at, 9).changes.map(({ change: { id } }) => id)).toEqual(
        changes(3 - i, i + 2).map(({ id }) => id),
      );
  });

  it("the ring can continue after each of the last ten thousand changes, and not after much older ones", () => {
    const ring = new ChangeRing();
    const ids: string[] = [];
    for (let i = 0; i < 260; i++) {
      ids.push(ring.last);
      ring.push(changes(100, i * 100));
      const known = ids.filter((id) => ring.after(id, 1).isKnown).length;
      expect(known).toBeGreaterThanOrEqual(Math.min(i + 1, 100));
      expect(known).toBeLessThanOrEqual(111);
    }
    expect(ring.after(ids[0] as string, 5)).toEqual({ changes: [], last: ring.last, isKnown: false });
  });

  it("the ring knows no id of another ring, of itself before a reset, or that it has not come to yet", () => {
    const ring = new ChangeRing();
    ring.push(changes(3));
    const before = ring.last;
    const other = new ChangeRing();
    other.push(changes(3));
    const [name = ""] = before.split("-");
    for (const id of [other.last, `${name}-4`, `${name}-`, `${name}--1`, `${name}-1.5`, `${name}-1e1`, name, "", "3"])
      expect([id, ring.after(id, 9)]).toEqual([id, { changes: [], last: before, isKnown: false }]);
    ring.reset();
    expect(ring.after(before, 9)).toEqual({ changes: [], last: ring.last, isKnown: false });
    ring.push(changes(3));
    expect(ring.after(before, 9).isKnown).toBe(false);
  });
});

describe("a store on a file that other processes open too", () => {
  async function aStoreOnFile(): Promise<{ store: Store; path: string }> {
    const path = join(aFolder(), "relay.db");
    const database = openSqlite(path, { exclusive: true });
    await migrate(database);
    const store = createSqlStore(database);
    onTestFinished(() => store.close());
    await store.accept([anArrival(aRun(), { decision: { deliveries: [aDelivery("dlv_1")] } })]);
    return { store, path };
  }
  const isKnown = (store: Store, after: string): boolean => store.changes({ after, limit: 9 }).isKnown;

  it("a store on a shared file knows its own changes", async () => {
    const { store } = await aStoreOnFile();
    const last = store.lastChange();
    await store.accept([anArrival(aRun({ run_id: "tsk_2" }))]);
    await store.ping(1);
    expect(store.changes({ after: last, limit: 9 })).toMatchObject({
      isKnown: true,
      changes: [{ change: { id: "tsk_2" } }],
    });
  });

  it("a store on a shared file still knows its changes when another process only read", async () => {
    const { store, path } = await aStoreOnFile();
    const last = store.lastChange();
    const reader = createSqlStore(openSqliteReadOnly(path));
    expect(await reader.run("tsk_1")).not.toBeNull();
    await reader.close();
    expect(isKnown(store, last)).toBe(true);
  });

  it("a store on a shared file knows no changes from before another process wrote, and those since", async () => {
    const { store, path } = await aStoreOnFile();
    const last = store.lastChange();
    const beside = createSqlStore(openSqlite(path, { exclusive: false }));
    await beside.redeliver("tsk_1", [aDelivery("dlv_2", "mail", { cause: "redelivery" })], 5);
    await beside.close();
    const { last: now, ...rest } = store.changes({ after: last, limit: 9 });
    expect(rest).toEqual({ changes: [], isKnown: false });
    await store.accept([anArrival(aRun({ run_id: "tsk_2" }))]);
    expect(store.changes({ after: now, limit: 9 })).toMatchObject({
      isKnown: true,
      changes: [{ change: { id: "tsk_2" } }],
    });
  });

  it("a store on a shared file lets a follower that begins now begin after what another process wrote", async () => {
    const { store, path } = await aStoreOnFile();
    const beside = createSqlStore(openSqlite(path, { exclusive: false }));
    await beside.ping(1);
    await beside.close();
    expect(isKnown(store, store.lastChange())).toBe(true);
  });
});
