import type { Hono } from "hono";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { UpkeepStore } from "../store/contract/upkeep.ts";

export interface ProbeDeps {
  store: Pick<UpkeepStore, "ping">;
  now(): number;
  isStopping(): boolean;
  /** True when the delivery loop shows no sign of life. */
  isStalled(): boolean;
  /** What is wrong with the database's file, or null. */
  damage(): string | null;
  log: Log;
}

/** How long a successful write proves that the database accepts one. */
const PING_FRESH_MS = 1_000;

/**
 * Says why no webhook can be accepted now, or null, after a real write. Anybody may ask, so parallel callers share a
 * write, and a successful one answers for a second.
 */
export function createReadiness({
  store,
  now,
  isStopping,
  isStalled,
  damage,
  log,
}: ProbeDeps): () => Promise<string | null> {
  const ping = async (): Promise<string | null> => {
    try {
      await store.ping(now());
      return null;
    } catch (error) {
      log.error("ready.failed", { error: String(error) });
      return "the database cannot be written";
    }
  };
  let last: { answer: Promise<string | null>; endedAt: number } | null = null;
  return async () => {
    if (isStopping()) return "stopping";
    if (isStalled()) return "the delivery loop has stalled";
    const damaged = damage();
    if (damaged !== null) return damaged;
    if (last === null || performance.now() - last.endedAt >= PING_FRESH_MS) {
      const asked = { answer: ping(), endedAt: Infinity };
      last = asked;
      void asked.answer.then((reason) => (asked.endedAt = reason === null ? performance.now() : -Infinity));
    }
    return last.answer;
  };
}

/**
 * `/healthz`: the process works. `/readyz`: it can accept a webhook now, as a real write proves. Neither needs a token.
 */
export function mountOps(app: Hono, unready: () => Promise<string | null>): void {
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    const reason = await unready();
    return c.json({ status: reason ?? "ok" }, reason === null ? 200 : 503);
  });
}

export function mountMetrics(app: Hono, metrics: Metrics): void {
  app.get("/metrics", async (c) => {
    c.header("content-type", metrics.registry.contentType);
    return c.body(await metrics.registry.metrics());
  });
}
