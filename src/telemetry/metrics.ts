import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import { ALERT_REASONS } from "../domain/alert.ts";
import { VERDICTS, type Circuit } from "../domain/run.ts";
import { VERSION } from "../platform/version.ts";

/** The pending and sending deliveries of one sink, read at each scrape. `oldest` is epoch ms. */
export interface WaitingDeliveries {
  sink: string;
  size: number;
  oldest: number;
}

export type Metrics = ReturnType<typeof createMetrics>;

const OUTCOMES = ["delivered", "retry", "dead"];
/** Results of webhooks that exist as 0 from the first scrape, besides the verdicts. */
const REFUSALS = [
  "missing_signature",
  "malformed_signature",
  "wrong_signature",
  "totp",
  "overloaded",
  "storage_failed",
];

/** Every metric of the relay, in its own registry. Labels take few values: sinks, verdicts, outcomes, never ids. */
export function createMetrics() {
  const registry = new Registry();
  const count = <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter({ name, help, labelNames: [...labelNames], registers: [registry] });
  const time = <Label extends string = never>(
    name: string,
    help: string,
    buckets: number[],
    labelNames: readonly Label[] = [],
  ) =>
    new Histogram({
      name,
      help,
      buckets,
      labelNames: [...labelNames],
      registers: [registry],
    });
  const webhooks = count(
    "skyvern_relay_webhooks_total",
    "Webhooks answered, by result: a verdict, or why it was refused.",
    ["result"],
  );
  for (const result of [...VERDICTS, ...REFUSALS]) webhooks.inc({ result }, 0);
  const build = new Gauge({
    name: "skyvern_relay_build_info",
    help: "Always 1; the label holds the running version.",
    labelNames: ["version"] as const,
    registers: [registry],
  });
  build.set({ version: VERSION }, 1);
  const alerts = count("skyvern_relay_alerts_total", "Alerts sent, by reason and outcome.", ["reason", "outcome"]);
  for (const reason of ALERT_REASONS) for (const outcome of OUTCOMES) alerts.inc({ reason, outcome }, 0);
  return {
    registry,
    /** The sinks that have metrics. */
    announced: new Set<string>(),
    webhooks,
    receiveSeconds: time(
      "skyvern_relay_receive_seconds",
      "Time from the complete body to the answer, for genuine webhooks.",
      [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    ),
    alerts,
    spansDropped: count("skyvern_relay_spans_dropped_total", "Spans that the trace collector rejected."),
    diskFree: new Gauge({
      name: "skyvern_relay_disk_free_bytes",
      help:
        "Free bytes by disk (database: the disk of the database). Absent when the database is on no disk of this " +
        "machine.",
      labelNames: ["disk"] as const,
      registers: [registry],
    }),
    heartbeats: count(
      "skyvern_relay_heartbeats_total",
      "Heartbeats sent, by result: alive, fail (something is wrong), rejected.",
      ["result"],
    ),
    ingested: count("skyvern_relay_ingested_total", "Runs read from Skyvern's API, by source and verdict.", [
      "source",
      "verdict",
    ]),
    rounds: count(
      "skyvern_relay_reconcile_rounds_total",
      "Rounds over Skyvern's list of runs: complete, or incomplete because the API failed.",
      ["result"],
    ),
    attempts: count(
      "skyvern_relay_attempts_total",
      "Attempts to deliver, by sink and outcome (delivered, retry, dead).",
      ["sink", "outcome"],
    ),
    attemptSeconds: time(
      "skyvern_relay_attempt_seconds",
      "How long one attempt took, artifacts included.",
      [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      ["sink"],
    ),
    deliverySeconds: time(
      "skyvern_relay_delivery_seconds",
      "Time from the receipt to the delivery.",
      [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 28800, 86400],
      ["sink"],
    ),
  };
}

/** Metrics of the process: memory, event loop, garbage collection. */
export function collectProcess({ registry }: Metrics): void {
  collectDefaultMetrics({ register: registry });
  // Gauges whose names end like counters'. The same metrics by type stay.
  for (const what of ["handles", "requests", "resources"]) registry.removeSingleMetric(`nodejs_active_${what}_total`);
}

/**
 * Creates every metric of an app as 0 for the first scrape, because a rate that starts at its first event hides that
 * event.
 */
export function announce(metrics: Metrics, { sinks, coverage }: Pick<Gauges, "sinks" | "coverage">): void {
  const { attempts, attemptSeconds, deliverySeconds, announced, rounds, ingested } = metrics;
  for (const sink of sinks) {
    // Counts of the previous app on the same registry stay.
    if (announced.has(sink)) continue;
    announced.add(sink);
    for (const outcome of OUTCOMES) attempts.inc({ sink, outcome }, 0);
    attemptSeconds.zero({ sink });
    deliverySeconds.zero({ sink });
  }
  if (coverage === null) return;
  for (const result of ["complete", "incomplete"]) rounds.inc({ result }, 0);
  for (const verdict of ["accepted", "corrected"]) ingested.inc({ source: "reconciled", verdict }, 0);
}

/** The values that gauges read from the database. */
export interface Stored {
  backlog: WaitingDeliveries[];
  dead: { sink: string; count: number }[];
  unrecognized: number;
  circuits: ReadonlyMap<string, Circuit>;
}

/** The values that gauges read from the app in force at each scrape. */
export interface Gauges {
  sinks: readonly string[];
  stored(): Promise<Stored>;
  /** True when it can accept a webhook now. */
  isReady(): Promise<boolean>;
  /** How many listed runs were relayed within the lookback; null when Skyvern's list is not read. */
  coverage: (() => Promise<{ seen: number; relayed: number }>) | null;
}

/**
 * Gauges of the app that `app` returns at each scrape, since it may be replaced. A sink without any value has 0. While
 * the database cannot be read, these gauges are absent and all others stay.
 */
export function watch({ registry }: Metrics, app: () => Gauges, now: () => number): void {
  watchStored(registry, app, now);
  const help = "1 when the relay can accept a webhook now, proved by a real write like /readyz; else 0.";
  single(registry, "skyvern_relay_ready", help, async () => ((await app().isReady()) ? 1 : 0));
  const coverage = readOnce(async () => (await app().coverage?.()) ?? null);
  single(
    registry,
    "skyvern_relay_coverage_seen",
    "Final runs in Skyvern's list that target this relay, within the lookback.",
    async () => (await coverage())?.seen,
  );
  single(
    registry,
    "skyvern_relay_coverage_relayed",
    "Of those, the runs that were settled and delivered to every sink.",
    async () => (await coverage())?.relayed,
  );
}

function watchStored(registry: Registry, app: () => Gauges, now: () => number): void {
  const values = readOnce(() => app().stored());
  const gauge = <Label extends string>(
    name: string,
    help: string,
    labelNames: readonly Label[],
    rows: (values: Stored) => [labels: Record<Label, string>, value: number][],
  ) =>
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      async collect() {
        const stored = await values();
        this.reset();
        if (stored !== null) for (const [labels, value] of rows(stored)) this.set(labels, value);
      },
    });
  /** Every sink has a value. */
  const bySink = (found: [sink: string, value: number][]): [{ sink: string }, number][] => [
    ...app().sinks.map((sink): [{ sink: string }, number] => [{ sink }, 0]),
    ...found.map(([sink, value]): [{ sink: string }, number] => [{ sink }, value]),
  ];
  gauge("skyvern_relay_backlog", "Pending and sending deliveries, by sink.", ["sink"], ({ backlog }) =>
    bySink(backlog.map(({ sink, size }) => [sink, size])),
  );
  gauge(
    "skyvern_relay_oldest_undelivered_seconds",
    "Age of the oldest pending or sending delivery, by sink; 0 when there is none.",
    ["sink"],
    ({ backlog }) => bySink(backlog.map(({ sink, oldest }) => [sink, Math.max(0, now() - oldest) / 1000])),
  );
  gauge(
    "skyvern_relay_dead_deliveries",
    "Dead deliveries, by sink, until they are delivered again or pruned.",
    ["sink"],
    ({ dead }) => bySink(dead.map(({ sink, count }) => [sink, count])),
  );
  gauge(
    "skyvern_relay_circuit_state",
    "1 for the state a sink's circuit is in: closed, open (it fails), stopped (it asked for no more messages).",
    ["sink", "state"],
    ({ circuits }) =>
      app().sinks.flatMap((sink) => {
        const is = circuits.get(sink)?.state ?? "closed";
        return ["closed", "open", "stopped"].map((state) => [{ sink, state }, state === is ? 1 : 0]);
      }),
  );
  single(
    registry,
    "skyvern_relay_unrecognized_receipts",
    "Verified webhooks that were not recognized as a run.",
    async () => (await values())?.unrecognized,
  );
}

/** A gauge without labels; undefined means it has no value now. */
function single(registry: Registry, name: string, help: string, read: () => Promise<number | undefined>): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    async collect() {
      const value = await read();
      if (value === undefined) this.remove();
      else this.set(value);
    },
  });
}

/**
 * One scrape asks all gauges at once, so they share one read. Null when it failed: failing the whole scrape would hide
 * everything just when it matters.
 */
function readOnce<T>(read: () => Promise<T>): () => Promise<T | null> {
  let reading: Promise<T | null> | null = null;
  return () => {
    reading ??= read()
      .catch(() => null)
      .finally(() => {
        reading = null;
      });
    return reading;
  };
}
