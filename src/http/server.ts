import { OpenAPIHono } from "@hono/zod-openapi";
import { secureHeaders } from "hono/secure-headers";
import type { BlankEnv } from "hono/types";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Secret } from "../platform/secret.ts";
import { mountArtifacts, type ArtifactsParts } from "./artifacts.ts";
import { createTokenCheck, requireToken } from "./auth.ts";
import { createHistory, type HistoryParts } from "./api/runs.ts";
import { refuseOtherMethods } from "./method-not-allowed.ts";
import { openapi } from "./api/openapi.ts";
import { mountMetrics, mountOps } from "./probes.ts";
import { problem } from "./problem.ts";
import { mountWebhook, type WebhookParts } from "./webhook.ts";

export interface HttpParts {
  webhook: WebhookParts;
  history: HistoryParts;
  artifacts: Omit<ArtifactsParts, "isToken">;
  /** Why no webhook can be accepted now, or null. */
  unready(): Promise<string | null>;
  metrics: Metrics;
  tokens: readonly Secret[];
  log: Log;
  /** Mounts the web page. */
  pages(app: OpenAPIHono<BlankEnv>): void;
}

/** Beside the history API. */
const MACHINES = new Set(["/healthz", "/readyz", "/metrics", "/openapi.json"]);

/** Every address of the relay. A trailing slash changes nothing: Skyvern follows no redirect. */
export function createHttp(parts: HttpParts): OpenAPIHono<BlankEnv> {
  const app = new OpenAPIHono<BlankEnv>({ strict: false });
  app.onError((error, c) => {
    parts.log.error("request.crashed", { method: c.req.method, path: c.req.path, error: error.stack ?? error.message });
    return problem(c, 500, "The relay met a bug; its log has the details.");
  });
  app.notFound((c) => problem(c, 404, "There is nothing at this address."));
  // The webhook first: it needs none of what follows.
  mountWebhook(app, parts.webhook);
  mountOps(app, parts.unready);
  // The pages next: their own headers are stricter than these.
  parts.pages(app);
  app.use(secureHeaders({ referrerPolicy: "no-referrer", crossOriginResourcePolicy: "same-site" }));
  const guard = requireToken(parts.tokens);
  app.use("/v1/*", guard);
  app.use("/metrics", guard);
  mountMetrics(app, parts.metrics);
  mountArtifacts(app, { ...parts.artifacts, isToken: createTokenCheck(parts.tokens) });
  app.route("/v1", createHistory(parts.history));
  // Made once: making it adds to the registry of routes.
  let document: ReturnType<typeof openapi> | null = null;
  app.get("/openapi.json", (c) => c.json((document ??= openapi(app))));
  refuseOtherMethods(app, (path) => MACHINES.has(path));
  return app;
}
