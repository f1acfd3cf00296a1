import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";

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
  collectDefaultMetrics({ register: registry });
  const registers = [registry];
  return {
    registry,
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

/** Gauges whose values live in the database: read when they are scraped. */
export function watchBacklog(
  metrics: Metrics,
  read: () => Promise<{ backlog: Waiting[]; dead: { sink: string; count: number }[]; kept: number }>,
  now: () => number,
): void {
  const { registry } = metrics;
  const registers = [registry];
  const backlog = new Gauge({
    name: "skyvern_relay_backlog",
    help: "Deliveries waiting, by sink.",
    labelNames: ["sink"] as const,
    registers,
  });
  const oldest = new Gauge({
    name: "skyvern_relay_oldest_undelivered_seconds",
    help: "Age of the oldest delivery that waits, by sink; 0 when none does.",
    labelNames: ["sink"] as const,
    registers,
  });
  const dead = new Gauge({
    name: "skyvern_relay_dead_deliveries",
    help: "Deliveries given up, by sink, until they are delivered again or pruned.",
    labelNames: ["sink"] as const,
    registers,
  });
  // One gauge collects for all: the database is asked once a scrape.
  new Gauge({
    name: "skyvern_relay_kept_receipts",
    help: "Genuine bodies that were not understood.",
    registers,
    async collect() {
      const values = await read();
      backlog.reset();
      oldest.reset();
      dead.reset();
      for (const row of values.backlog) {
        backlog.set({ sink: row.sink }, row.waiting);
        oldest.set({ sink: row.sink }, Math.max(0, now() - row.oldest) / 1000);
      }
      for (const row of values.dead) dead.set({ sink: row.sink }, row.count);
      this.set(values.kept);
    },
  });
}
