import type { Hono } from "hono";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Store } from "../store/store.ts";

export interface OpsParts {
  store: Pick<Store, "ping">;
  now(): number;
  isStopping(): boolean;
  /** The delivery loop shows no sign of life. */
  isStalled(): boolean;
  log: Log;
}

/** `/healthz`: the process works. `/readyz`: it can accept a webhook now, shown by a real write. Both without a token. */
export function mountOps(app: Hono, { store, now, isStopping, isStalled, log }: OpsParts): void {
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", async (c) => {
    if (isStopping()) return c.json({ status: "stopping" }, 503);
    if (isStalled()) return c.json({ status: "the delivery loop has stalled" }, 503);
    try {
      await store.ping(now());
      return c.json({ status: "ok" });
    } catch (error) {
      log.error("ready.failed", { error: String(error) });
      return c.json({ status: "the database cannot be written" }, 503);
    }
  });
}

export function mountMetrics(app: Hono, metrics: Metrics): void {
  app.get("/metrics", async (c) => {
    c.header("content-type", metrics.registry.contentType);
    return c.body(await metrics.registry.metrics());
  });
}
