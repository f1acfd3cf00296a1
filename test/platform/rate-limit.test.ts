import { expect, it } from "vitest";
import { createRateLimit } from "../../src/platform/rate-limit.ts";

function aLimit() {
  const at = { ms: 0 };
  return { at, limit: createRateLimit({ now: () => at.ms, burst: 2, everyMs: 1_000, clients: 2 }) };
}

it("a rate limit lets a burst pass, then one more each time the bucket has emptied a little", () => {
  const { at, limit } = aLimit();
  limit.count("1.2.3.4");
  expect(limit.waitMs("1.2.3.4")).toBe(0);
  limit.count("1.2.3.4");
  expect(limit.waitMs("1.2.3.4")).toBe(1_000);
  at.ms += 1_000;
  expect(limit.waitMs("1.2.3.4")).toBe(0);
});

it("a rate limit takes as many as it allows, and counts none that it refused", () => {
  const { at, limit } = aLimit();
  expect([limit.take("a"), limit.take("a"), limit.take("a"), limit.take("b")]).toEqual([true, true, false, true]);
  at.ms += 1_000;
  expect([limit.take("a"), limit.take("a")]).toEqual([true, false]);
});

it("a rate limit makes no client wait longer for having continued, and lets no client in that does not stop", () => {
  const { at, limit } = aLimit();
  for (let n = 0; n < 1_000; n += 1) {
    limit.count("a");
    at.ms += 10;
    if (n > 1) expect(limit.waitMs("a")).toBeGreaterThan(0);
  }
  at.ms += 1_000;
  expect(limit.waitMs("a")).toBe(0);
});

it.each([
  ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"],
  ["2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8:0:1::1"],
  ["192.0.2.1", "::ffff:192.0.2.1", "192.0.2.2"],
])("a rate limit holds what %s and %s do against the same network, and not against %s", (one, same, another) => {
  const { limit } = aLimit();
  for (const client of [one, same]) limit.count(client);
  expect(limit.waitMs(one)).toBe(1_000);
  expect(limit.waitMs(another)).toBe(0);
});

it("a rate limit keeps no more clients than configured, and forgets the one that did nothing for longest", () => {
  const { limit } = aLimit();
  for (const client of ["a", "a", "b", "b", "c"]) limit.count(client);
  expect([limit.waitMs("a"), limit.waitMs("b")]).toEqual([0, 1_000]);
});
