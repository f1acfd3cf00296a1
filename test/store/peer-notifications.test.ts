/** What one process tells others, without a database between them. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { ChangedId } from "../../src/store/contract/changes.ts";
import { PeerNotifications } from "../../src/store/postgres/peer-notifications.ts";
import { ANY_CHARACTER } from "../support/any-character.ts";

/** Two processes: what the first tells, the second hears. */
function aPair() {
  const payloads: string[] = [];
  const state = { isAway: false };
  const first = new PeerNotifications(async (sent) => {
    if (state.isAway) throw new Error("the database is away");
    payloads.push(...sent);
    for (const payload of sent) second.receive(payload);
  });
  const second = new PeerNotifications(async () => {});
  return { first, second, payloads, state };
}

it("peer notifications announce everything in order and in sizes that PostgreSQL takes, however much there is", async () => {
  const change = fc.record({
    kind: fc.constantFrom("run", "delivery"),
    id: fc.string({ unit: ANY_CHARACTER, maxLength: 300 }),
  });
  const announce = async (changes: ChangedId[]) => {
    const { first, second, payloads } = aPair();
    first.announce(changes);
    await first.idle();
    expect(second.take()).toEqual(changes);
    expect(second.take()).toEqual([]);
    for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThan(8_000);
  };
  // Twenty pairs at one time: each rests for a tenth of a second.
  const lists = fc.array(fc.array(change, { maxLength: 400 }), { minLength: 20, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(lists, async (all) => void (await Promise.all((all as ChangedId[][]).map(announce)))),
    { numRuns: 1 },
  );
});

it("peer notifications gather announcements for a moment, and a sender does not receive its own", async () => {
  const { first, second, payloads } = aPair();
  for (let i = 0; i < 50; i += 1) first.announce([{ kind: "run", id: `tsk_${i}` }]);
  await first.idle();
  expect(payloads).toHaveLength(1);
  expect(second.take()).toHaveLength(50);
  expect(first.receive(payloads[0] ?? "")).toBe(false);
  expect(first.take()).toEqual([]);
});

it("a notification says only that something changed when an announcement failed, is too large, or cannot be parsed", async () => {
  const { first, second, state } = aPair();
  state.isAway = true;
  first.announce([{ kind: "run", id: "tsk_1" }]);
  await first.idle();
  state.isAway = false;
  first.announce([{ kind: "run", id: "tsk_2" }]);
  await first.idle();
  expect(second.take()).toBeNull();
  for (const much of [
    [{ kind: "run", id: "x".repeat(9_000) }],
    Array.from({ length: 10_001 }, (_none, i) => ({ kind: "run", id: `tsk_${i}` })),
  ]) {
    first.announce(much as ChangedId[]);
    await first.idle();
    expect(second.take()).toBeNull();
  }
  for (const payload of [null, "relay_a", "7", "{}", "[1,2]"]) {
    expect(second.receive(payload)).toBe(true);
    expect([payload, second.take()]).toEqual([payload, null]);
  }
});
