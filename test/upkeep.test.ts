/** What waits for room waits for it, but not for ever, and in the end all of it is done. */
import { expect, it } from "vitest";
import { upkeep } from "../src/upkeep.ts";

/** So many runs to be indexed, of each age in ms one to be packed, and so many pages to be given back. `busy`: what the process is asked for. Every step takes 5 ms. */
function aRelay(given: { due?: number; ages?: readonly number[]; pages?: number; busy: () => number }) {
  const { due = 0, ages = [], pages = 0, busy } = given;
  let idle = pages;
  let left = due;
  let plain = ages;
  let at = 0;
  const steps: { at: number; indexed: number; packed: number }[] = [];
  const parts = {
    store: {
      indexWords: async (limit: number) => {
        const indexed = Math.min(left, limit);
        left -= indexed;
        steps.push({ at, indexed, packed: 0 });
        return indexed;
      },
      packRuns: async (before: number, limit: number) => {
        const old = plain.filter((age) => -age < before).slice(0, limit);
        plain = plain.slice(old.length);
        Object.assign(steps.at(-1) ?? {}, { packed: old.length });
        at += 5;
        return old.length;
      },
      shrink: async (limit: number) => {
        const given = Math.min(idle, limit);
        idle -= given;
        at += 1;
        return given;
      },
    },
    busyShare: busy,
    now: () => at,
    sleep: async (ms: number) => {
      at += ms;
    },
  };
  return { parts, steps };
}

const never = new AbortController().signal;

it("does all that is due in small steps, with pauses four times as long", async () => {
  const { parts, steps } = aRelay({ due: 150, ages: Array<number>(20).fill(90_000), busy: () => 0.1 });
  await upkeep(parts, never);
  expect(steps).toEqual([
    { at: 0, indexed: 64, packed: 16 },
    { at: 25, indexed: 64, packed: 4 },
    { at: 50, indexed: 22, packed: 0 },
  ]);
});

it("leaves runs alone that came within the last minute", async () => {
  const { parts, steps } = aRelay({ ages: [61_000, 59_000], busy: () => 0 });
  await upkeep(parts, never);
  expect(steps).toEqual([{ at: 0, indexed: 0, packed: 1 }]);
});

it("gives back what was left behind, when nothing else is due", async () => {
  const { parts, steps } = aRelay({ due: 70, pages: 70, busy: () => 0 });
  await upkeep(parts, never);
  expect(steps).toEqual([
    { at: 0, indexed: 64, packed: 0 },
    { at: 25, indexed: 6, packed: 0 },
    { at: 55, indexed: 0, packed: 0 },
  ]);
});

it("waits while there is no room", async () => {
  const shares = [0.9, 0.8, 0.2];
  const { parts, steps } = aRelay({ due: 1, busy: () => shares.shift() ?? 0 });
  await upkeep(parts, never);
  expect(steps).toEqual([{ at: 500, indexed: 1, packed: 0 }]);
});

it("under load that does not end it begins after half a minute all the same", async () => {
  const { parts, steps } = aRelay({ due: 100, busy: () => 1 });
  await upkeep(parts, never);
  expect(steps).toEqual([
    { at: 30_000, indexed: 64, packed: 0 },
    { at: 30_025, indexed: 36, packed: 0 },
  ]);
});

it("ends when it is told to", async () => {
  const ending = new AbortController();
  const { parts, steps } = aRelay({
    due: 100,
    busy: () => {
      ending.abort();
      return 1;
    },
  });
  await upkeep(parts, ending.signal);
  expect(steps).toEqual([]);
});
