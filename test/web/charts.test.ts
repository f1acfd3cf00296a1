import { describe, expect, test } from "vitest";
import { HOUR_MS } from "../../src/platform/time.ts";
import { latencyChart, latencyWindow, runsChart, took, resolveWindow } from "../../src/web/charts.ts";
import { bucketOf } from "../../src/store/stats/latency-buckets.ts";

const NOW = Date.parse("2026-01-20T12:34:00Z");
const HOUR = Date.parse("2026-01-20T12:00:00Z");
const hours = ({ since, until }: { since: number; until: number }) => (until - since) / HOUR_MS;

describe("the hours that are drawn", () => {
  test.each([
    ["nothing is asked for: the last two days", {}, 48, HOUR + HOUR_MS],
    [
      "one hour: the two days it is in the middle of, or the last",
      { since: HOUR - 30 * HOUR_MS, until: HOUR - 29 * HOUR_MS },
      48,
      HOUR + HOUR_MS,
    ],
    [
      "one hour long ago: it and the two days after",
      { since: HOUR - 300 * HOUR_MS, until: HOUR - 299 * HOUR_MS },
      48,
      HOUR - 252 * HOUR_MS,
    ],
    ["three days", { since: NOW - 72 * HOUR_MS }, 72, HOUR + HOUR_MS],
    ["a year: its last seven days", { since: NOW - 8_760 * HOUR_MS }, 168, HOUR + HOUR_MS],
    ["a time to come", { since: NOW + 1e12 }, 48, HOUR + HOUR_MS],
    ["the beginning of time", { until: 0 }, 48, HOUR_MS],
  ])("the hours that are drawn fit the list of runs: %s", (_what, shown, length, until) => {
    const window = resolveWindow(shown, NOW);
    expect([hours(window), window.until]).toEqual([length, until]);
  });
});

describe("runs per hour", () => {
  const draw = async (shown = {}) =>
    String(
      await runsChart({
        window: resolveWindow(shown, NOW),
        runs: [
          { start: HOUR, status: "completed", count: 30 },
          { start: HOUR, status: "failed", count: 10 },
          { start: HOUR - HOUR_MS, status: "completed", count: 1 },
          { start: HOUR - HOUR_MS, status: `"><script>alert(1)</script>`, count: 2 },
        ],
        shown,
        href: (since, until) => `/?since=${since}&until=${until}`,
      }),
    ).replace(/\s+/g, " ");

  test("runs per hour are bars on one scale, one colour a status, each hour a link to its runs", async () => {
    const svg = await draw();
    expect(svg).toContain(`href="/?since=${HOUR}&amp;until=${HOUR + HOUR_MS}"`);
    const heights = [...svg.matchAll(/class="s-(\w+)" x="\d+" y="[\d.]+" width="8" height="([\d.]+)"/g)];
    expect(heights.map(([, series, height]) => [series, Number(height)])).toEqual([
      ["completed", 1.5],
      ["other", 3],
      ["completed", 45],
      ["failed", 15],
    ]);
  });

  test("runs per hour are written in words and numbers too, and a hostile status is counted among the others", async () => {
    const svg = await draw();
    expect(svg).toContain("2026-01-20 12:00 UTC: 30 completed, 10 failed");
    expect(svg).toMatch(/2 days, 43 runs, at most 40 runs an hour/);
    expect(svg).toContain("Not final 2");
    expect(svg).not.toContain("script");
    expect(svg.match(/<th scope="row">/g)).toHaveLength(2);
  });

  test("the hours outside the time that the list shows are dimmed", async () => {
    expect((await draw({ since: HOUR })).match(/class="dim"/g)).toHaveLength(1);
    expect((await draw()).match(/class="dim"/g)).toBeNull();
  });
});

describe("how long deliveries took", () => {
  test("the chart of delivery times shows percentiles and draws them by the hour", async () => {
    const window = latencyWindow(NOW);
    const times = [
      { start: HOUR, sink: "ops", bucket: bucketOf(100), count: 90 },
      { start: HOUR, sink: "ops", bucket: bucketOf(60_000), count: 10 },
      { start: HOUR - 5 * HOUR_MS, sink: "ops", bucket: bucketOf(10_000_000), count: 1 },
    ];
    const svg = String(await latencyChart(times, window)).replace(/\s+/g, " ");
    expect(svg).toContain("101 deliveries in 24 hours");
    expect(svg).toMatch(/<strong>107 ms<\/strong>.*half within.*<strong>66 s<\/strong>.*90.*within/);
    expect(svg.match(/class="p50"/g)).toHaveLength(2);
    for (const [, y] of svg.matchAll(/ y="([\d.-]+)"/g)) expect(Number(y)).toBeGreaterThanOrEqual(0);
  });

  test("the chart of delivery times says so when nothing arrived", async () => {
    expect(String(await latencyChart([], latencyWindow(NOW)))).toContain("Nothing arrived here");
  });

  test.each([
    [0, "0 ms"],
    [999, "999 ms"],
    [1_000, "1.0 s"],
    [12_400, "12 s"],
    [89_999, "90 s"],
    [90_000, "2 min"],
    [5_400_000, "1.5 h"],
  ])("a delivery time of %i ms is written as %s", (ms, said) => {
    expect(took(ms)).toBe(said);
  });
});
