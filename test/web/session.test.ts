import { describe, expect, test } from "vitest";
import { idMaker } from "../../src/platform/runtime.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createSessions } from "../../src/web/login/session.ts";

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
