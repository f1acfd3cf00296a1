/** `GET /v1/stats`: numbers for charts, all read from roll-ups. */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import { dayOf, isoTime } from "../../platform/time.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { percentile } from "../../store/stats/latency-buckets.ts";
import { GRAIN_MS } from "../../store/stats/read.ts";
import type { ReconcileStore } from "../../store/contract/reconcile.ts";
import type { Backlog, Grain, Statistics, StatsStore } from "../../store/contract/stats.ts";
import { badParameter, instant, jsonAnswer, oneOf, guarded, time } from "./schemas.ts";
import { wrongParameters } from "../problem.ts";

export interface StatisticsDeps {
  store: Pick<StatsStore, "statistics" | "backlog"> & Pick<ReconcileStore, "dailyCoverage">;
  sinks: readonly { name: string; kind: string }[];
  runtime: Pick<Runtime, "now">;
}

/** The most hours or days of one answer, and the default. */
const SPANS = { hour: { most: 744, usual: 24 }, day: { most: 400, usual: 30 } } satisfies Record<Grain, object>;

const StatsQuery = z.strictObject({
  since: instant.openapi({ description: "Default: 24 hours, or 30 days, before `until`." }),
  until: instant.openapi({ description: "Default: now." }),
  bucket: oneOf(["hour", "day"]).default("hour").openapi({ description: "UTC. At most 744 hours or 400 days." }),
});

const milliseconds = z.int().nullable();
const StatsSchema = z
  .object({
    since: time.openapi({ description: "Start of the first bucket." }),
    until: time.openapi({ description: "End of the last bucket." }),
    bucket: z.enum(["hour", "day"]),
    totals: z.record(z.string(), z.int()).openapi({ description: "Runs by settled status." }),
    buckets: z.array(z.object({ start: time, counts: z.record(z.string(), z.int()) })).openapi({
      description: "Runs by the time of their first receipt; every bucket of the span, also the empty ones.",
    }),
    sinks: z
      .array(
        z.object({
          name: z.string(),
          delivered: z.int().openapi({ description: "Deliveries that arrived in the span." }),
          p50_ms: milliseconds.openapi({
            description: "From the outbox to the sink: half of them took at most this (19 % too high at most).",
          }),
          p90_ms: milliseconds,
          p99_ms: milliseconds,
          backlog: z.int().openapi({ description: "Pending and sending deliveries." }),
          oldest_undelivered_at: time.nullable(),
          oldest_undelivered_ms: milliseconds.openapi({ description: "Age of the oldest in the backlog." }),
        }),
      )
      .openapi({ description: "Each sink that is configured, had a delivery in the span, or has a backlog." }),
    coverage: z.array(z.object({ day: time, seen: z.int(), relayed: z.int() })).openapi({
      description:
        "By the day of creation at Skyvern: final runs in Skyvern's list that target this relay, and those " +
        "that were settled and " +
        "delivered to every sink. Days without runs are left out.",
    }),
  })
  .openapi("Stats", {
    example: {
      since: "2026-01-20T12:00:00.000Z",
      until: "2026-01-20T13:00:00.000Z",
      bucket: "hour",
      totals: { completed: 41, failed: 2 },
      buckets: [{ start: "2026-01-20T12:00:00.000Z", counts: { completed: 41, failed: 2 } }],
      sinks: [
        {
          name: "finance",
          delivered: 43,
          p50_ms: 724,
          p90_ms: 1722,
          p99_ms: 9742,
          backlog: 0,
          oldest_undelivered_at: null,
          oldest_undelivered_ms: null,
        },
      ],
      coverage: [{ day: "2026-01-20T00:00:00.000Z", seen: 43, relayed: 43 }],
    },
  });

const getStats = guarded({
  operationId: "getStats",
  method: "get",
  path: "/stats",
  summary: "Statistics: runs by status and time, delivery times, backlog, and coverage of Skyvern's list",
  request: { query: StatsQuery },
  responses: {
    200: jsonAnswer(StatsSchema, "Times are widened to whole buckets."),
    ...badParameter,
  },
});

export function mountStatistics(app: OpenAPIHono, { store, sinks, runtime }: StatisticsDeps): void {
  app.openapi(getStats, async (c) => {
    const span = resolveSpan(c.req.valid("query"), runtime.now());
    if (span.fault !== null) return wrongParameters(c, [{ parameter: "since", message: span.fault }]);
    const { bucket, since, until } = span;
    const [{ runs, times }, backlog, coverage] = await Promise.all([
      store.statistics(bucket, since, until),
      store.backlog(),
      store.dailyCoverage(dayOf(since), until),
    ]);
    const names = new Set([...sinks.map(({ name }) => name), ...times.map(({ sink }) => sink)]);
    for (const { sink } of backlog) names.add(sink);
    return c.json(
      {
        since: isoTime(since),
        until: isoTime(until),
        bucket,
        totals: sumRuns(runs),
        buckets: buildBuckets(span, runs),
        sinks: [...names].map((name) => summarizeSink(name, times, backlog, runtime.now())),
        coverage: coverage.map(({ day, seen, relayed }) => ({ day: isoTime(day), seen, relayed })),
      },
      200,
    );
  });
}

/** The last bucket ends in the year 9999, the last that every reader of times accepts. */
const LAST_DAY = Date.parse("9999-12-31");

interface TimeSpan {
  bucket: Grain;
  since: number;
  until: number;
}

/** Widens the span to whole buckets. */
function resolveSpan(query: z.output<typeof StatsQuery>, now: number): TimeSpan & { fault: string | null } {
  const { bucket } = query;
  const ms = GRAIN_MS[bucket];
  // Without `until`, the current bucket is the last.
  const until = Math.min(Math.ceil((query.until ?? now + 1) / ms) * ms, LAST_DAY);
  const since = Math.floor((query.since ?? until - SPANS[bucket].usual * ms) / ms) * ms;
  const count = (until - since) / ms;
  const most = SPANS[bucket].most;
  const fault =
    count < 1
      ? "must be before `until`"
      : count > most
        ? `spans ${count} ${bucket}s, and an answer at most ${most}${bucket === "hour" ? "; ask for days" : ""}`
        : null;
  return { bucket, since, until, fault };
}

/** Own properties only, because a status may be any text. */
function sumRuns(runs: readonly { status: string; count: number }[]): Record<string, number> {
  const totals = new Map<string, number>();
  for (const { status, count } of runs) totals.set(status, (totals.get(status) ?? 0) + count);
  return Object.fromEntries(totals);
}

function buildBuckets({ bucket, since, until }: TimeSpan, runs: Statistics["runs"]) {
  const byStart = Map.groupBy(runs, ({ start }) => start);
  const length = (until - since) / GRAIN_MS[bucket];
  return Array.from({ length }, (_none, i) => {
    const start = since + i * GRAIN_MS[bucket];
    return { start: isoTime(start), counts: sumRuns(byStart.get(start) ?? []) };
  });
}

function summarizeSink(name: string, times: Statistics["times"], backlog: readonly Backlog[], now: number) {
  const own = times.filter(({ sink }) => sink === name);
  const open = backlog.find(({ sink }) => sink === name);
  return {
    name,
    delivered: own.reduce((sum, { count }) => sum + count, 0),
    p50_ms: percentile(own, 0.5),
    p90_ms: percentile(own, 0.9),
    p99_ms: percentile(own, 0.99),
    backlog: open?.size ?? 0,
    oldest_undelivered_at: isoTime(open?.oldest ?? null),
    oldest_undelivered_ms: open ? Math.max(0, now - open.oldest) : null,
  };
}
