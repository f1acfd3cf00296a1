import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** What waits for one sink, asked for at each scrape. `oldest`: epoch ms. */
export interface Waiting {
  sink: string;
  waiting: number;
  oldest: number;
}

export type Metrics = ReturnType<typeof createMetrics>;

/** Every metric of the relay, in a registry of its own. Labels take few values: sinks, verdicts, outcomes, never ids. */
export function createMetrics() {
  const registry = new Registry();
  const registers = [registry];
  return {
    registry,
    /** Sinks whose metrics there are. */
    announced: new Set<string>(),
    webhooks: new Counter({
      name: "skyvern_relay_webhooks_total",
      help: "Webhooks answered, by result: a verdict, or why it was refused.",
      labelNames: ["result"] as const,
      registers,
    }),
    receiveSeconds: new Histogram({
      name: "skyvern_relay_receive_seconds",
      help: "From the whole body read to the answer, for genuine webhooks.",
      buckets: [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      registers,
    }),
    ingested: new Counter({
      name: "skyvern_relay_ingested_total",
      help: "Runs read from Skyvern's API, by source and verdict.",
      labelNames: ["source", "verdict"] as const,
      registers,
    }),
    rounds: new Counter({
      name: "skyvern_relay_reconcile_rounds_total",
      help: "Rounds over Skyvern's list of runs: complete, or incomplete because the API failed.",
      labelNames: ["result"] as const,
      registers,
    }),
    attempts: new Counter({
      name: "skyvern_relay_attempts_total",
      help: "Attempts to deliver, by sink and outcome (delivered, retry, dead).",
      labelNames: ["sink", "outcome"] as const,
      registers,
    }),
    attemptSeconds: new Histogram({
      name: "skyvern_relay_attempt_seconds",
      help: "How long one attempt took, artifacts included.",
      labelNames: ["sink"] as const,
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
      registers,
    }),
    deliverySeconds: new Histogram({
      name: "skyvern_relay_delivery_seconds",
      help: "From the receipt to the delivery.",
      labelNames: ["sink"] as const,
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 28800, 86400],
      registers,
    }),
  };
}

/** Of an app before on the same registry: another one watches from now on. */
function unwatch({ registry }: Metrics): void {
  for (const name of WATCHED) registry.removeSingleMetric(name);
}

const WATCHED = [
  "skyvern_relay_backlog",
  "skyvern_relay_oldest_undelivered_seconds",
  "skyvern_relay_dead_deliveries",
  "skyvern_relay_kept_receipts",
  "skyvern_relay_coverage_seen",
  "skyvern_relay_coverage_relayed",
];

/** Every metric by sink is there from the first scrape on, as 0: a rate that begins at its first event hides that one. */
export function announceSinks(metrics: Metrics, sinks: readonly string[]): void {
  const { attempts, attemptSeconds, deliverySeconds, announced } = metrics;
  for (const sink of sinks) {
    // Of an app before on the same registry: what it counted stands.
    if (announced.has(sink)) continue;
    announced.add(sink);
    for (const outcome of ["delivered", "retry", "dead"]) attempts.inc({ sink, outcome }, 0);
    attemptSeconds.zero({ sink });
    deliverySeconds.zero({ sink });
  }
}

/** Gauges whose values live in the database: read when they are scraped, once for all of them. 0 for a sink without any. */
export function watchBacklog(
  metrics: Metrics,
  sinks: readonly string[],
  read: () => Promise<{ backlog: Waiting[]; dead: { sink: string; count: number }[]; kept: number }>,
  now: () => number,
): void {
  type Values = Awaited<ReturnType<typeof read>>;
  unwatch(metrics);
  const { registry } = metrics;
  const values = readOnce(read);
  const gauge = (name: string, help: string, rows: (values: Values) => [sink: string, value: number][]) =>
    new Gauge({
      name,
      help,
      labelNames: ["sink"] as const,
      registers: [registry],
      async collect() {
        const all = rows(await values());
        this.reset();
        for (const sink of sinks) this.set({ sink }, 0);
        for (const [sink, value] of all) this.set({ sink }, value);
      },
    });
  gauge("skyvern_relay_backlog", "Deliveries waiting, by sink.", ({ backlog }) =>
    backlog.map(({ sink, waiting }) => [sink, waiting]),
  );
  gauge(
    "skyvern_relay_oldest_undelivered_seconds",
    "Age of the oldest delivery that waits, by sink; 0 when none does.",
    ({ backlog }) => backlog.map(({ sink, oldest }) => [sink, Math.max(0, now() - oldest) / 1000]),
  );
  gauge(
    "skyvern_relay_dead_deliveries",
    "Deliveries given up, by sink, until they are delivered again or pruned.",
    ({ dead }) => dead.map(({ sink, count }) => [sink, count]),
  );
  new Gauge({
    name: "skyvern_relay_kept_receipts",
    help: "Genuine bodies that were not understood.",
    registers: [registry],
    async collect() {
      this.set((await values()).kept);
    },
  });
}

/** Seen at Skyvern against relayed, over the lookback: read when they are scraped. */
export function watchCoverage({ registry }: Metrics, read: () => Promise<{ seen: number; relayed: number }>): void {
  const values = readOnce(read);
  const registers = [registry];
  new Gauge({
    name: "skyvern_relay_coverage_seen",
    help: "Final runs of ours in Skyvern's list, over the lookback.",
    registers,
    async collect() {
      this.set((await values()).seen);
    },
  });
  new Gauge({
    name: "skyvern_relay_coverage_relayed",
    help: "Those of them that were settled and delivered to every sink they were for.",
    registers,
    async collect() {
      this.set((await values()).relayed);
    },
  });
}

/** Each gauge has to wait for its own values, and a scrape asks all of them at one time: they share one reading. */
function readOnce<T>(read: () => Promise<T>): () => Promise<T> {
  let reading: Promise<T> | null = null;
  return () => {
    reading ??= read().finally(() => {
      reading = null;
    });
    return reading;
  };
}
