import fc from "fast-check";
import { expect, it } from "vitest";
import { nextDelay, WAITS_AFTER_CUT_MS } from "../../src/deliver/backoff.ts";

const schedule = [5_000, 30_000];

it("the backoff waits as the schedule says, a tenth more or less", () => {
  expect(nextDelay(schedule, 1, 0.5, undefined)).toBe(5_000);
  expect(nextDelay(schedule, 2, 0, undefined)).toBe(27_000);
  fc.assert(
    fc.property(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (random) => {
      const delay = nextDelay(schedule, 1, random, undefined) ?? 0;
      expect(delay).toBeGreaterThanOrEqual(4_500);
      expect(delay).toBeLessThanOrEqual(5_500);
    }),
  );
});

it("the schedule is used up after its last entry, whatever the sink asks for", () => {
  expect(nextDelay(schedule, 3, 0.5, undefined)).toBeNull();
  expect(nextDelay(schedule, 3, 0.5, 1_000)).toBeNull();
});

it("the next attempt never comes earlier than the sink asked", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      fc.integer({ min: 0, max: 4e6 }),
      (random, after) => {
        expect(nextDelay(schedule, 1, random, after)).toBeGreaterThanOrEqual(after);
      },
    ),
  );
});

it("the backoff after an attempt that died with its process is a second, twice as long each time, at most ten", () => {
  expect(WAITS_AFTER_CUT_MS).toEqual([1_000, 2_000, 4_000, 8_000, 10_000]);
});
