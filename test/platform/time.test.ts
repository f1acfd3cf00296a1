import { expect, it } from "vitest";
import { DAY_MS, dayOf, HOUR_MS, hourOf, isoTime } from "../../src/platform/time.ts";

it("a time is written in UTC with milliseconds, and no time as null", () => {
  expect(isoTime(0)).toBe("1970-01-01T00:00:00.000Z");
  expect(isoTime(1_795_631_644_799)).toBe("2026-11-25T18:34:04.799Z");
  expect(isoTime(null)).toBeNull();
});

it("a number that is no time is refused", () => {
  for (const ms of [Number.NaN, Infinity, 8.64e15 + 1]) expect(() => isoTime(ms)).toThrow(RangeError);
});

it("the beginnings of the hour and of the day are found, before 1970 too", () => {
  const at = Date.parse("2026-11-25T18:34:04.799Z");
  expect([isoTime(hourOf(at)), isoTime(dayOf(at))]).toEqual(["2026-11-25T18:00:00.000Z", "2026-11-25T00:00:00.000Z"]);
  expect([hourOf(-1), dayOf(-1)]).toEqual([-HOUR_MS, -DAY_MS]);
});
