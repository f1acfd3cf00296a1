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
export const PROBES = ["/healthz", "/readyz"] as const;

/** What a probe is answered; `body` is JSON. */
export async function answerProbe(
  probe: (typeof PROBES)[number],
  parts: OpsParts,
): Promise<{ status: 200 | 503; body: string }> {
  const reason = probe === "/readyz" ? await unready(parts) : null;
  return { status: reason === null ? 200 : 503, body: JSON.stringify({ status: reason ?? "ok" }) };
}

export function mountOps(app: Hono, parts: OpsParts): void {
  for (const probe of PROBES)
    app.get(probe, async (c) => {
      const { status, body } = await answerProbe(probe, parts);
      return c.body(body, status, { "content-type": "application/json" });
    });
}

export function mountMetrics(app: Hono, metrics: Metrics): void {
  app.get("/metrics", async (c) => {
    c.header("content-type", metrics.registry.contentType);
    return c.body(await metrics.registry.metrics());
  });
}
