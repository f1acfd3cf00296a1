import fc from "fast-check";
import { expect, it } from "vitest";
import { bucketOf, percentile, upperBound } from "../../src/store/stats/latency-buckets.ts";

const histogramOf = (times: number[]) =>
  [...Map.groupBy(times, bucketOf)].map(([bucket, all]) => ({ bucket, count: all.length }));

it("a percentile is never too low, and at most 19 % and 1 ms too high", () => {
  const anyTimes = fc.array(fc.integer({ min: 0, max: 30 * 86_400_000 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(anyTimes, fc.constantFrom(0.5, 0.9, 0.99), (times, share) => {
      const exact = times.toSorted((a, b) => a - b)[Math.ceil(times.length * share) - 1] ?? 0;
      const answer = percentile(histogramOf(times), share) ?? -1;
      expect(answer).toBeGreaterThanOrEqual(exact);
      expect(answer).toBeLessThanOrEqual(exact * 1.19 + 1);
    }),
  );
});

it("a percentile of no times is none", () => {
  expect(percentile([], 0.5)).toBeNull();
});

it.each([-5, 0, 0.4, 1])("a time of %d ms is in the lowest bucket, as a clock may have been set back", (ms) => {
  expect([bucketOf(ms), upperBound(0)]).toEqual([0, 1]);
});
