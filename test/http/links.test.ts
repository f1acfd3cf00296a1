import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createLinks } from "../../src/http/links.ts";
import { NOW } from "../support/runtime.ts";
import { ANY_CHARACTER } from "../support/any-character.ts";

const DAY_MS = 86_400_000;
const LINK_LIFE_MS = 90 * DAY_MS;
const KEY = Buffer.alloc(32, 1);
const linksAt = (now: number, key = KEY) =>
  createLinks({ publicUrl: () => "https://relay.example.com", key, lifeMs: LINK_LIFE_MS, now: () => now });
const links = linksAt(NOW);

/** Where a link leads: what the relay reads from it again. */
function read(link: string) {
  const { origin, pathname, searchParams } = new URL(link);
  const [, artifacts, run = "", key = ""] = pathname.split("/");
  return {
    origin,
    artifacts,
    run: decodeURIComponent(run),
    key: decodeURIComponent(key),
    query: { exp: searchParams.get("exp") ?? undefined, sig: searchParams.get("sig") ?? undefined },
  };
}

describe("a link to an artifact", () => {
  it("a link to an artifact opens that artifact", () => {
    const { origin, artifacts, run, key, query } = read(links.artifact("wr_1", "a_2"));
    expect({ origin, artifacts, run, key }).toEqual({
      origin: "https://relay.example.com",
      artifacts: "artifacts",
      run: "wr_1",
      key: "a_2",
    });
    expect(links.check(run, key, query)).toBe(true);
  });

  it("a link to an artifact opens no other artifact", () => {
    const { query } = read(links.artifact("wr_1", "a_2"));
    expect(links.check("wr_1", "a_3", query)).toBe(false);
    expect(links.check("wr_2", "a_2", query)).toBe(false);
    expect(links.check("wr_1a_2", "", query)).toBe(false);
    expect(links.check("wr_1", "a_2", { ...query, exp: String(Number(query.exp) + 1) })).toBe(false);
  });

  it("a link to an artifact opens nothing at a relay with another key", () => {
    const { query } = read(links.artifact("wr_1", "a_2"));
    expect(linksAt(NOW, Buffer.alloc(32, 2)).check("wr_1", "a_2", query)).toBe(false);
  });

  it("a link to an artifact works for 90 days and no more than 91", () => {
    const { query } = read(links.artifact("wr_1", "a_2"));
    expect(linksAt(NOW + LINK_LIFE_MS - 1).check("wr_1", "a_2", query)).toBe(true);
    expect(linksAt(NOW + LINK_LIFE_MS + DAY_MS).check("wr_1", "a_2", query)).toBe(false);
  });

  it("a link to an artifact is the same all day, so that a message made twice is the same", () => {
    expect(linksAt(NOW + 1000).artifact("wr_1", "a_2")).toBe(links.artifact("wr_1", "a_2"));
    expect(linksAt(NOW + DAY_MS).artifact("wr_1", "a_2")).not.toBe(links.artifact("wr_1", "a_2"));
  });

  it.each([
    {},
    { exp: "9999999999" },
    { sig: "x" },
    { exp: "9999999999", sig: "" },
    { exp: "9999999999", sig: "A".repeat(43) },
    { exp: "9999999999", sig: "A".repeat(10_000) },
    { exp: "1e12", sig: "A".repeat(43) },
    { exp: "-1", sig: "A".repeat(43) },
    { exp: "", sig: "A".repeat(43) },
  ])("a link to an artifact with the query %j opens nothing", (query) => {
    expect(links.check("wr_1", "a_2", query)).toBe(false);
  });

  it("a link to an artifact leads to any run and any artifact, and no two of them share a signature", () => {
    const text = fc
      .string({ unit: ANY_CHARACTER, minLength: 1, maxLength: 20 })
      .filter((value) => value.isWellFormed());
    fc.assert(
      fc.property(text, text, text, (runId, one, other) => {
        const link = read(links.artifact(runId, one));
        expect(links.check(runId, one, link.query)).toBe(true);
        if (other !== one) expect(links.check(runId, other, link.query)).toBe(false);
        if (!/^\.{1,2}$/.test(runId) && !/^\.{1,2}$/.test(one)) expect([link.run, link.key]).toEqual([runId, one]);
      }),
    );
  });
});

describe("a link to a run", () => {
  it.each([
    ["wr_1", "https://relay.example.com/runs/wr_1"],
    ["a/b?c#d", "https://relay.example.com/runs/a%2Fb%3Fc%23d"],
    ["javascript:alert(1)", "https://relay.example.com/runs/javascript%3Aalert(1)"],
  ])("a link to a run of %s is %s", (id, link) => {
    expect(links.run(id)).toBe(link);
  });
});

describe("its signature", () => {
  it("the signature of a link is the HMAC-SHA256 of what the link opens and until when", () => {
    const { query } = read(links.artifact("wr_1", "a_2"));
    const signed = JSON.stringify(["artifact", "wr_1", "a_2", query.exp]);
    expect(query.sig).toBe(createHmac("sha256", KEY).update(signed).digest("base64url"));
  });
});
