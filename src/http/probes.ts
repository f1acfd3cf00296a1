import type { Hono } from "hono";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Store } from "../store/store.ts";

export interface OpsParts {
  store: Pick<Store, "ping">;
  now(): number;
  isStopping(): boolean;
  /** The delivery loop shows no sign of life. */
  isStalled(): boolean;
  log: Log;
}

/** Why no webhook can be accepted now, or null; shown by a real write. */
export async function unready({ store, now, isStopping, isStalled, log }: OpsParts): Promise<string | null> {
  if (isStopping()) return "stopping";
  if (isStalled()) return "the delivery loop has stalled";
  try {
    await store.ping(now());
    return null;
  } catch (error) {
    log.error("ready.failed", { error: String(error) });
    return "the database cannot be written";
  }
}

/** `/healthz`: the process works. `/readyz`: it can accept a webhook now, shown by a real write. Both without a token. */
export function mountOps(app: Hono, parts: OpsParts): void {
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    const reason = await unready(parts);
    return c.json({ status: reason ?? "ok" }, reason === null ? 200 : 503);
  });
}

export function mountMetrics(app: Hono, metrics: Metrics): void {
  app.get("/metrics", async (c) => {
    c.header("content-type", metrics.registry.contentType);
    return c.body(await metrics.registry.metrics());
  });
}
