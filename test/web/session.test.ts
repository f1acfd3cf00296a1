import { describe, expect, test } from "vitest";
import { idMaker } from "../../src/runtime.ts";
import { Secret } from "../../src/secret.ts";
import { createSessions } from "../../src/web/session.ts";
import { createThrottle } from "../../src/web/throttle.ts";

const key = Buffer.alloc(32, 7);
const runtime = { now: () => 1_000_000, newId: idMaker(() => 1_000_000) };
const sessionsOf = (...tokens: string[]) =>
  createSessions({ tokens: tokens.map((token) => new Secret(token)), key, runtime });

describe("sessions", () => {
  test("hold for every relay with the same key and token, also after a restart", () => {
    const cookie = sessionsOf("one").start("one") ?? "";
    expect(sessionsOf("one").read(cookie)).toEqual(sessionsOf("one").read(cookie));
    expect(sessionsOf("one").read(cookie)).not.toBeNull();
  });

  test("end when their own token is taken away, and only then", () => {
    const cookie = sessionsOf("old", "new").start("old") ?? "";
    expect(sessionsOf("new", "old", "third").read(cookie)).not.toBeNull();
    expect(sessionsOf("new").read(cookie)).toBeNull();
  });

  test("each have a form field of their own, the same on every page", () => {
    const sessions = sessionsOf("one");
    const [a, b] = [sessions.read(sessions.start("one") ?? ""), sessions.read(sessions.start("one") ?? "")];
    if (a === null || b === null) throw new Error("a fresh session was not read");
    expect(sessions.isOurForm(a, a.csrf)).toBe(true);
    expect(sessions.isOurForm(a, b.csrf)).toBe(false);
    expect(sessions.isOurForm(a, "")).toBe(false);
  });

  test("are not made for a wrong token, nor for any when there is none", () => {
    expect(sessionsOf("one").start("two")).toBeNull();
    expect(sessionsOf().start("")).toBeNull();
  });
});

describe("the throttle", () => {
  const at = { ms: 0 };
  const throttle = () => createThrottle({ now: () => at.ms, burst: 2, everyMs: 1_000, clients: 2 });

  test("lets a few failures pass, then one more each time the bucket has emptied a little", () => {
    const one = throttle();
    one.failed("1.2.3.4");
    expect(one.waitMs("1.2.3.4")).toBe(0);
    one.failed("1.2.3.4");
    expect(one.waitMs("1.2.3.4")).toBe(1_000);
    at.ms += 1_000;
    expect(one.waitMs("1.2.3.4")).toBe(0);
  });

  test("holds one client's failures against that client alone, an IPv6 network being one", () => {
    const one = throttle();
    for (const client of ["2001:db8:0:1::1", "2001:db8:0:1::2"]) one.failed(client);
    expect(one.waitMs("2001:db8:0:1::3")).toBe(1_000);
    expect(one.waitMs("2001:db8:0:2::3")).toBe(0);
    expect(one.waitMs("1.2.3.4")).toBe(0);
  });

  test("remembers no more clients than it was told", () => {
    const one = throttle();
    for (const client of ["a", "a", "b", "c"]) one.failed(client);
    expect(one.waitMs("a")).toBe(0);
  });
});
