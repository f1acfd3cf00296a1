import { describe, expect, test } from "vitest";
import { idMaker } from "../../src/platform/runtime.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createEndedSessions } from "../../src/web/login/ended-sessions.ts";
import { createSessions } from "../../src/web/login/session.ts";

const key = Buffer.alloc(32, 7);
const runtime = { now: () => 1_000_000, newId: idMaker(() => 1_000_000) };
/** Settings in memory. */
const aStore = () => {
  const values = new Map<string, string>();
  return {
    setting: (name: string, initial: string) => Promise.resolve(values.get(name) ?? initial),
    saveSetting: async (name: string, value: string) => void values.set(name, value),
  };
};
const sessionsOn = (store: ReturnType<typeof aStore>, ...tokens: string[]) => {
  const ended = createEndedSessions({ store, now: runtime.now });
  return createSessions({ tokens: tokens.map((token) => new Secret(token)), key, runtime, ended });
};
const sessionsOf = (...tokens: string[]) => sessionsOn(aStore(), ...tokens);

describe("sessions", () => {
  test("sessions hold for every relay with the same key and token, also after a restart", async () => {
    const cookie = sessionsOf("one").start("one") ?? "";
    expect(await sessionsOf("one").read(cookie)).toEqual(await sessionsOf("one").read(cookie));
    expect(await sessionsOf("one").read(cookie)).not.toBeNull();
  });

  test("sessions end when their own token is taken away, and only then", async () => {
    const cookie = sessionsOf("old", "new").start("old") ?? "";
    expect(await sessionsOf("new", "old", "third").read(cookie)).not.toBeNull();
    expect(await sessionsOf("new").read(cookie)).toBeNull();
  });

  test("each session has a form field of its own, the same on every page", async () => {
    const sessions = sessionsOf("one");
    const [a, b] = [await sessions.read(sessions.start("one") ?? ""), await sessions.read(sessions.start("one") ?? "")];
    if (a === null || b === null) throw new Error("a fresh session was not read");
    expect(sessions.isOurForm(a, a.csrf)).toBe(true);
    expect(sessions.isOurForm(a, b.csrf)).toBe(false);
    expect(sessions.isOurForm(a, "")).toBe(false);
  });

  test("sessions end for every relay on the database once they are logged out, each alone", async () => {
    const store = aStore();
    const [here, there] = [sessionsOn(store, "one"), sessionsOn(store, "one")];
    const [first, second, third] = [here, here, here].map((sessions) => sessions.start("one") ?? "");
    const [a, b] = [await here.read(first), await here.read(second)];
    if (a === null || b === null) throw new Error("a fresh session was not read");
    await Promise.all([here.end(a), here.end(b)]);
    expect([await there.read(first), await there.read(second)]).toEqual([null, null]);
    expect(await there.read(third)).not.toBeNull();
  });

  test("sessions are not made for a wrong token, nor for any when there is none", () => {
    expect(sessionsOf("one").start("two")).toBeNull();
    expect(sessionsOf().start("")).toBeNull();
  });
});
