/** What the bench of a fleet says beyond what it measures: the limit it names, and what it reckons. */
import { describe, expect, it } from "vitest";
import { limitOf, type Loaded } from "../../bench/scale/limit.ts";
import { paper, type Cost } from "../../bench/scale/paper.ts";

const aLoad = (over: Partial<Loaded> = {}): Loaded => ({
  offered: 2_000,
  done: 1_000,
  clientCores: 0.2,
  coresHere: 2,
  cores: { relays: 0.5, thread: 0.4, postgres: 0.3, machine: 1.1 },
  sessions: { cpu: 0.2, relay: 0.1, "Lock:advisory": 0.5 },
  ...over,
});

describe("the limit", () => {
  it("a step of a bench has no limit where all that was offered was done", () => {
    expect(limitOf(aLoad({ done: 1_980 }))).toBe("none: all that was offered");
  });

  it("the limit of a bench is the machine where its cores are full, and the report says what used them", () => {
    const cores = { relays: 0.7, thread: 0.4, postgres: 0.9, machine: 1.9 };
    expect(limitOf(aLoad({ cores }))).toBe(
      "CPU: 1.90 of 2 cores (PostgreSQL 0.90, relays 0.70, clients 0.20, others 0.10)",
    );
  });

  it("the limit of a bench is the thread of a relay where that is full and the machine is not", () => {
    const cores = { relays: 0.99, thread: 0.95, postgres: 0.3, machine: 1.5 };
    expect(limitOf(aLoad({ cores }))).toBe("a relay's one thread: 0.95 of a core");
  });

  it("the limit of a bench is otherwise what the sessions of the database waited for most", () => {
    expect(limitOf(aLoad())).toBe("the lock of the roll-ups: 63 % of the sessions' time");
    expect(limitOf(aLoad({ sessions: { "IO:Something": 1 } }))).toBe(
      "waiting for IO:Something: 100 % of the sessions' time",
    );
    expect(limitOf(aLoad({ sessions: {} }))).toContain("unknown");
  });
});

it("the cost of a load on paper is the cost of one webhook times their number", () => {
  const cost: Cost = {
    relayUs: 500,
    postgresUs: 400,
    walBytes: 10_000,
    diskBytes: 12_000,
    inserted: 9,
    dead: 3,
    rollupMs: 1,
  };
  const rows = paper({ rate: 10_000, stored: cost, delivered: { ...cost, relayUs: 1_400 }, flushMs: 1 });
  const figures = Object.fromEntries(rows.map(([what, figure]) => [what, figure]));
  expect(figures).toEqual({
    // 14 cores at 70 %.
    relays: "20",
    "cores of PostgreSQL": "4.0",
    connections: "220",
    // 100 a second, 2 ms each.
    "the lock of the roll-ups": "20 %",
    "log (WAL)": "100 MB/s",
    "disk before retention": "10 TB a day",
    rows: "90 thousand a second",
    autovacuum: "30 thousand rows a second",
  });
});
