import { assert, constantFrom, integer, property } from "fast-check";
import { describe, expect, it } from "vitest";
import { durationBetween, formatDuration, parseDuration } from "../../src/platform/duration.ts";

describe("a duration", () => {
  it.each([
    ["500ms", 500],
    ["5s", 5_000],
    ["2m", 120_000],
    ["1h", 3_600_000],
    ["90d", 7_776_000_000],
    ["0s", 0],
  ])("the duration %s is %i ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each(["", "5", "s", "-5s", "1.5h", "5 s", "5S", "5s ", "1h30m", "5y", "999999999999999d", "٥s"])(
    "%j is not a duration",
    (text) => {
      expect(parseDuration(text)).toBeNull();
      expect(durationBetween(0, 3_650 * 86_400_000).safeParse(text).success).toBe(false);
    },
  );

  it("a duration is written in its largest whole unit", () => {
    expect([0, 1, 1500, 90_000, 120_000, 86_400_000].map(formatDuration)).toEqual([
      "0s",
      "1ms",
      "1500ms",
      "90s",
      "2m",
      "1d",
    ]);
  });

  it("a duration is read back as it was written", () => {
    const ms = constantFrom(1, 1000, 60_000, 3_600_000, 86_400_000);
    assert(
      property(
        integer({ min: 0, max: 100_000 }),
        ms,
        (n, unit) => parseDuration(formatDuration(n * unit)) === n * unit,
      ),
    );
  });

  it("a duration may be bounded on both sides, bounds included", () => {
    const bounded = durationBetween(1000, 2000);
    expect(["999ms", "1s", "2s", "2001ms"].map((text) => bounded.safeParse(text).success)).toEqual([
      false,
      true,
      true,
      false,
    ]);
  });
});
