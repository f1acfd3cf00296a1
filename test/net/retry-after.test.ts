import { expect, it } from "vitest";
import { readRetryAfter } from "../../src/net/retry-after.ts";

const NOW = Date.parse("2026-01-20T12:00:00Z");
const read = (value: string) => readRetryAfter(new Headers({ "retry-after": value }), NOW);

it.each([
  ["120", 120_000],
  [" 7 ", 7_000],
  ["Tue, 20 Jan 2026 12:00:45 GMT", 45_000],
  ["Tue, 20 Jan 2026 11:00:00 GMT", 0],
  ["86400", 3_600_000],
])("Retry-After %j is read as a wait of %i ms, an hour at most", (value, wait) => {
  expect(read(value)).toBe(wait);
});

it.each(["", "soon", "-5", "1.5", "2026-01-20", "30 s"])("Retry-After %j is read as nothing", (value) => {
  expect(read(value)).toBeNull();
});

it("an answer without Retry-After names no wait", () => {
  expect(readRetryAfter(new Headers(), NOW)).toBeNull();
});
