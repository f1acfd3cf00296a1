import { describe, expect, it } from "vitest";
import { anApp, type TestApp } from "../support/app.ts";
import { fixtureJson, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

interface Stats {
  since: string;
  until: string;
  bucket: string;
  totals: Record<string, number>;
  buckets: { start: string; counts: Record<string, number> }[];
  sinks: Record<string, unknown>[];
  coverage: { day: string; seen: number; relayed: number }[];
}
interface Problem {
  errors: { parameter: string; message: string }[];
}

const HOUR = 3_600_000;
const iso = (ms: number): string => new Date(ms).toISOString();
const aRun = (id: string, values: Record<string, unknown> = {}): string =>
  JSON.stringify({ run_id: id, status: "completed", ...values });
const stats = (relay: TestApp, query = "") => relay.read<Stats>(`/v1/stats${query}`);

describe("GET /v1/stats", () => {
  it("GET /v1/stats counts runs by status and hour, of the last 24 hours by default, empty hours included", async () => {
    const runtime = aRuntime(NOW - 2 * HOUR);
    const relay = await anApp({}, { runtime });
    await relay.webhook(aRun("a"));
    await relay.webhook(aRun("b", { status: "failed" }));
    runtime.advance(HOUR + 60_000);
    await relay.webhook(aRun("c", { status: "running" }));

    const answer = await stats(relay);

    expect([answer.since, answer.until, answer.bucket]).toEqual([iso(NOW - 24 * HOUR), iso(NOW), "hour"]);
    expect(answer.buckets).toHaveLength(24);
    expect(answer.buckets.slice(-3)).toEqual([
      { start: iso(NOW - 3 * HOUR), counts: {} },
      { start: iso(NOW - 2 * HOUR), counts: { completed: 1, failed: 1 } },
      { start: iso(NOW - HOUR), counts: { running: 1 } },
    ]);
    expect(answer.totals).toEqual({ completed: 1, failed: 1, running: 1 });
  });

  it("GET /v1/stats counts runs by the day, of the last 30 days by default", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime });
    await relay.webhook(aRun("a"));
    runtime.advance(24 * HOUR);
    await relay.webhook(aRun("b"));

    const answer = await stats(relay, "?bucket=day");

    expect(answer.buckets).toHaveLength(30);
    expect(answer.buckets.slice(-2)).toEqual([
      { start: "2026-08-23T00:00:00.000Z", counts: { completed: 1 } },
      { start: "2026-08-24T00:00:00.000Z", counts: { completed: 1 } },
    ]);
  });

  it("GET /v1/stats counts a corrected run under its new status", async () => {
    const relay = await anApp();
    await relay.webhook(mutated("task_v2.failed", { finished_at: "2026-08-21T13:00:00" }));
    expect((await stats(relay)).totals).toEqual({ failed: 1 });
    await relay.webhook(
      mutated("task_v2.failed", { status: "completed", failure_reason: null, modified_at: "2026-08-21T23:00:00" }),
    );
    await relay.webhook(
      mutated("task_v2.failed", { status: "completed", failure_reason: null, finished_at: "2026-08-21T23:00:00" }),
    );
    expect((await stats(relay)).totals).toEqual({ completed: 1 });
  });

  it("GET /v1/stats widens its times to whole buckets, and says to which", async () => {
    const relay = await anApp();
    await relay.webhook(aRun("a"));
    const answer = await stats(relay, "?since=2026-08-23T08:59:59Z&until=2026-08-23T10:00:01Z");
    expect([answer.since, answer.until]).toEqual(["2026-08-23T08:00:00.000Z", "2026-08-23T11:00:00.000Z"]);
    expect(answer.totals).toEqual({ completed: 1 });
    expect((await stats(relay, "?since=2026-08-23T08:00:00Z&until=2026-08-23T10:00:00Z")).totals).toEqual({});
  });

  it("GET /v1/stats says how long deliveries took and what is pending, for each sink", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime, standIns: ["http", "slack"], file: "delivery: { schedule: [1h] }" });
    relay.standIns.http.answers.push({}, {}, { status: 500 });
    for (const [i, waitMs] of [100, 1_000, 9_000].entries()) {
      await relay.webhook(aRun(`tsk_${i}`));
      runtime.advance(waitMs);
      await relay.deliver();
    }

    const { sinks } = await stats(relay, `?until=${iso(NOW + HOUR)}`);

    const [slack, http] = sinks;
    expect(slack).toMatchObject({
      name: "slack",
      delivered: 3,
      backlog: 0,
      oldest_undelivered_at: null,
      oldest_undelivered_ms: null,
    });
    expect(http).toMatchObject({
      name: "http",
      delivered: 2,
      backlog: 1,
      oldest_undelivered_at: iso(NOW + 1_100),
      oldest_undelivered_ms: 9_000,
    });
    for (const [sink, name, ms] of [
      [slack, "p50_ms", 1_000],
      [slack, "p99_ms", 9_000],
      [http, "p50_ms", 100],
      [http, "p90_ms", 1_000],
    ] as const) {
      expect(sink?.[name]).toBeGreaterThanOrEqual(ms);
      expect(sink?.[name]).toBeLessThan(ms * 1.2);
    }
  });

  it("GET /v1/stats has no percentile where nothing was delivered", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    expect((await stats(relay)).sinks).toEqual([
      {
        name: "http",
        delivered: 0,
        p50_ms: null,
        p90_ms: null,
        p99_ms: null,
        backlog: 0,
        oldest_undelivered_at: null,
        oldest_undelivered_ms: null,
      },
    ]);
  });

  it("GET /v1/stats says how much of Skyvern's own list was relayed", async () => {
    const relay = await anApp({}, { standIns: ["http"], skyvern: { now: () => NOW } });
    const payload = (id: string) => ({
      ...fixtureJson("task_v2.completed"),
      run_id: id,
      created_at: "2026-08-23T08:00:00",
      queued_at: "2026-08-23T08:00:00",
      started_at: "2026-08-23T08:00:00",
      finished_at: "2026-08-23T09:00:00",
      webhook_callback_url: "https://relay.example.com/webhook",
    });
    for (const id of ["tsk_v2_1", "tsk_v2_2"]) relay.standIns.skyvern.addRun({ payload: payload(id) });
    await relay.webhook(JSON.stringify(payload("tsk_v2_1")));
    await relay.deliver();
    await relay.app.reconcile();
    expect((await stats(relay)).coverage).toEqual([{ day: "2026-08-23T00:00:00.000Z", seen: 2, relayed: 1 }]);
    await relay.deliver();
    expect((await stats(relay)).coverage).toEqual([{ day: "2026-08-23T00:00:00.000Z", seen: 2, relayed: 2 }]);
  });

  it("GET /v1/stats counts a status that is called like something every object has", async () => {
    const relay = await anApp();
    await relay.webhook(aRun("a", { status: "__proto__" }));
    await relay.webhook(aRun("b", { status: "constructor" }));
    expect((await relay.get("/v1/stats")).text).toContain('"totals":{"__proto__":1,"constructor":1}');
  });

  it.each([
    ["bucket=week", "bucket"],
    ["since=soon", "since"],
    ["until=2026-13-01", "until"],
    ["since=2026-08-24&until=2026-08-23", "since"],
    ["since=2026-08-23T10:00:00Z&until=2026-08-23T10:00:00Z", "since"],
    ["since=2026-01-01", "since"],
    ["bucket=day&since=1970-01-01", "since"],
    ["sink=http", "sink"],
  ])("GET /v1/stats?%s is answered 400 and names %s", async (query, parameter) => {
    const relay = await anApp();
    const answer = await relay.get(`/v1/stats?${query}`);
    expect([answer.status, answer.json<Problem>().errors.map((error) => error.parameter)]).toEqual([400, [parameter]]);
  });

  it("GET /v1/stats until the end of 9999 has only times with four-digit years", async () => {
    const relay = await anApp();
    const { text, status } = await relay.get("/v1/stats?until=9999-12-31T23:59:59.999Z");
    expect([status, text.includes("+010000")]).toEqual([200, false]);
  });

  it("GET /v1/stats says what to ask for when it was asked for too much", async () => {
    const relay = await anApp();
    const [error] = (await relay.get("/v1/stats?since=2026-01-01")).json<Problem>().errors;
    expect(error?.message).toMatch(/at most 744; ask for days/);
  });
});
