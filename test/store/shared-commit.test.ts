/** What transactions that share a commit must keep: each is all or nothing, and none is said to be done before it is on the disk. */
import Sqlite from "better-sqlite3";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createSharedCommit, type SharedCommit } from "../../src/store/shared-commit.ts";

let sqlite: Sqlite.Database;
let shared: SharedCommit;
let told: [string, unknown][];
beforeEach(() => {
  sqlite = new Sqlite(":memory:");
  sqlite.exec("create table parents (name text primary key)");
  sqlite.exec("create table children (parent text references parents (name) deferrable initially deferred)");
  shared = createSharedCommit(sqlite);
  told = [];
});
afterEach(() => sqlite.close());

const add = (name: string) => sqlite.prepare("insert into parents values (?)").run(name);
const end = (name: string, more: boolean) =>
  shared.end(more, (fault) => told.push([name, fault === null ? null : String(fault)]));
const stored = () => sqlite.prepare("select name from parents order by name").pluck().all();

it("one by itself is told at once", () => {
  shared.begin();
  add("a");
  end("a", false);
  expect(told).toEqual([["a", null]]);
  expect(sqlite.inTransaction).toBe(false);
});

it("none is told before the commit they share", () => {
  for (const name of ["a", "b"]) {
    shared.begin();
    add(name);
    end(name, true);
    expect(told).toEqual([]);
    expect(sqlite.inTransaction).toBe(true);
  }
  shared.begin();
  add("c");
  end("c", false);
  expect(told.map(([name]) => name)).toEqual(["a", "b", "c"]);
  expect(sqlite.inTransaction).toBe(false);
  expect(stored()).toEqual(["a", "b", "c"]);
});

it("one that is taken back leaves what came before and after", () => {
  shared.begin();
  add("a");
  end("a", true);
  shared.begin();
  add("b");
  shared.rollback(true);
  shared.begin();
  add("c");
  end("c", false);
  expect(stored()).toEqual(["a", "c"]);
  expect(told).toEqual([
    ["a", null],
    ["c", null],
  ]);
});

it("the last one taken back commits those before it; the first one taken back leaves nothing open", () => {
  shared.begin();
  shared.rollback(true);
  expect(sqlite.inTransaction).toBe(false);
  shared.begin();
  add("a");
  end("a", true);
  shared.begin();
  add("b");
  shared.rollback(false);
  expect(told).toEqual([["a", null]]);
  expect(stored()).toEqual(["a"]);
});

it("a commit that fails is told to all that share it", () => {
  shared.begin();
  add("a");
  end("a", true);
  shared.begin();
  sqlite.pragma("foreign_keys = ON");
  sqlite.prepare("insert into children values ('nobody')").run();
  end("b", false);
  expect(told.map(([name, fault]) => [name, fault !== null])).toEqual([
    ["a", true],
    ["b", true],
  ]);
  expect(sqlite.inTransaction).toBe(false);
  expect(stored()).toEqual([]);
});

it("SQLite's own rollback is told to those that were held, and the next one begins anew", () => {
  shared.begin();
  add("a");
  end("a", true);
  shared.begin();
  try {
    sqlite.prepare("insert or rollback into parents values ('a')").run();
  } catch (fault) {
    shared.failed(fault);
  }
  expect(told).toEqual([["a", expect.stringMatching(/UNIQUE/)]]);
  shared.rollback(true);
  shared.begin();
  add("b");
  end("b", false);
  expect(told[1]).toEqual(["b", null]);
  expect(stored()).toEqual(["b"]);
});

it("a failure that SQLite did not roll back for costs only its own", () => {
  shared.begin();
  add("a");
  end("a", true);
  shared.begin();
  expect(() => add("a")).toThrow(/UNIQUE/);
  shared.failed(new Error("UNIQUE"));
  shared.rollback(false);
  expect(told).toEqual([["a", null]]);
});

it("nobody waits for more than a few others", () => {
  for (let n = 0; n < 20; n++) {
    shared.begin();
    add(String(n));
    end(String(n), true);
  }
  expect(told.length).toBeGreaterThanOrEqual(13);
  shared.commit();
  expect(told).toHaveLength(20);
});
