/** What transactions that share a commit must keep: each is all or nothing, and none is said to be done before it is on the disk. */
import Sqlite from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createSharedCommit, type SharedCommit } from "../../src/store/shared-commit.ts";

let sqlite: Sqlite.Database;
let shared: SharedCommit;
let told: [string, unknown][];
/** Milliseconds. A commit takes as long as {@link commitMs} says. */
let now: number;
let commitMs: number;
beforeEach(() => {
  sqlite = new Sqlite(":memory:");
  sqlite.exec("create table parents (name text primary key)");
  sqlite.exec("create table children (parent text references parents (name) deferrable initially deferred)");
  now = 0;
  commitMs = 0;
  shared = createSharedCommit(sqlite, () => {
    // Asked once before a commit, in the transaction, and once behind it.
    if (!sqlite.inTransaction) now += commitMs;
    return now;
  });
  told = [];
});
afterEach(() => sqlite.close());

const add = (name: string) => sqlite.prepare("insert into parents values (?)").run(name);
const hold = (name: string) => shared.hold((fault) => told.push([name, fault === null ? null : String(fault)]));
const done = (name: string) => {
  shared.begin();
  add(name);
  shared.end();
  hold(name);
};
const stored = () => sqlite.prepare("select name from parents order by name").pluck().all();

it("none is told before the commit they share", () => {
  for (const name of ["a", "b", "c"]) done(name);
  expect(told).toEqual([]);
  expect(sqlite.inTransaction).toBe(true);
  shared.commit();
  expect(told).toEqual(["a", "b", "c"].map((name) => [name, null]));
  expect(sqlite.inTransaction).toBe(false);
  expect(stored()).toEqual(["a", "b", "c"]);
});

it("what wrote nothing is told as well", () => {
  hold("a");
  shared.commit();
  expect(told).toEqual([["a", null]]);
});

it("one that is taken back leaves what came before and after", () => {
  done("a");
  shared.begin();
  add("b");
  shared.rollback(new Error("a bug"));
  done("c");
  shared.commit();
  expect(stored()).toEqual(["a", "c"]);
  expect(told).toEqual([
    ["a", null],
    ["c", null],
  ]);
});

it("the first one taken back leaves nothing open", () => {
  shared.begin();
  add("a");
  shared.rollback(new Error("a bug"));
  expect(sqlite.inTransaction).toBe(false);
  done("b");
  shared.commit();
  expect(stored()).toEqual(["b"]);
});

it("a commit that fails is told to all that share it", () => {
  done("a");
  shared.begin();
  sqlite.pragma("foreign_keys = ON");
  sqlite.prepare("insert into children values ('nobody')").run();
  shared.end();
  hold("b");
  shared.commit();
  expect(told.map(([name, fault]) => [name, fault !== null])).toEqual([
    ["a", true],
    ["b", true],
  ]);
  expect(sqlite.inTransaction).toBe(false);
  expect(stored()).toEqual([]);
});

it("SQLite's own rollback is told to those that were held, and the next one begins anew", () => {
  done("a");
  shared.begin();
  try {
    sqlite.prepare("insert or rollback into parents values ('a')").run();
  } catch (fault) {
    shared.rollback(fault);
  }
  expect(told).toEqual([["a", expect.stringMatching(/UNIQUE/)]]);
  done("b");
  shared.commit();
  expect(told[1]).toEqual(["b", null]);
  expect(stored()).toEqual(["b"]);
});

it.each([
  ["the commit", () => shared.commit()],
  ["another transaction", () => done("b")],
  ["what wrote by itself", () => hold("b")],
])("a full disk met outside of transactions takes back what was held, and that is told before %s", (_what, then) => {
  done("a");
  sqlite.pragma(`max_page_count = ${Number(sqlite.pragma("page_count", { simple: true }))}`);
  expect(() => add("x".repeat(100_000))).toThrow(/full/);
  sqlite.pragma("max_page_count = 1000");
  then();
  shared.commit();
  expect(told[0]).toEqual(["a", expect.stringMatching(/rolled back/)]);
  expect(told.slice(1).every(([, fault]) => fault === null)).toBe(true);
  expect(stored()).not.toContain("a");
});

it("a commit is due once the work for it took several times as long as commits do", () => {
  expect(shared.isDue()).toBe(false);
  done("a");
  expect(shared.isDue()).toBe(true);
  commitMs = 10;
  for (let n = 0; n < 30; n++) {
    shared.commit();
    done(String(n));
  }
  expect(shared.isDue()).toBe(false);
  now += 39;
  expect(shared.isDue()).toBe(false);
  now += 2;
  expect(shared.isDue()).toBe(true);
  shared.commit();
  expect(shared.isDue()).toBe(false);
});
