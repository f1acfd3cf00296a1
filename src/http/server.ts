import { OpenAPIHono } from "@hono/zod-openapi";
import { secureHeaders } from "hono/secure-headers";
import type { BlankEnv } from "hono/types";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { mountArtifacts, type ArtifactsDeps } from "./artifacts.ts";
import { requireToken, type TokenGate } from "./auth.ts";
import { createHistory, type HistoryDeps } from "./api/history.ts";
import { refuseOtherMethods } from "./method-not-allowed.ts";
import { openapi } from "./api/openapi.ts";
import { mountMetrics, mountOps } from "./probes.ts";
import { problem } from "./problem.ts";
import { mountWebhook, type WebhookDeps } from "./webhook.ts";

export interface ServerDeps {
  webhook: WebhookDeps;
  history: HistoryDeps;
  artifacts: ArtifactsDeps;
  /** Why no webhook can be accepted now, or null. */
  unready(): Promise<string | null>;
  metrics: Metrics;
  gate: TokenGate;
  log: Log;
  /** Mounts the web page. */
  pages(app: OpenAPIHono<BlankEnv>): void;
}

/** All addresses of the relay. A trailing slash makes no difference, because Skyvern follows no redirect. */
export function createHttp(deps: ServerDeps): OpenAPIHono<BlankEnv> {
  const app = new OpenAPIHono<BlankEnv>({ strict: false });
  app.onError((error, c) => {
    deps.log.error("request.crashed", { method: c.req.method, path: c.req.path, error: error.stack ?? error.message });
    return problem(c, 500, "Internal error; see the relay's log.");
  });
  app.notFound((c) => problem(c, 404, "The relay has no such address."));
  // The webhook comes first, as it needs nothing of what follows.
  mountWebhook(app, deps.webhook);
  mountOps(app, deps.unready);
  // The pages come next, because their own headers are stricter than these.
  deps.pages(app);
  app.use(
    secureHeaders({
      referrerPolicy: "no-referrer",
      crossOriginResourcePolicy: "same-site",
      // Of its own host alone: the relay knows nothing of the others under it.
      strictTransportSecurity: "max-age=15552000",
    }),
  );
  const guard = requireToken(deps.gate);
  app.use("/v1/*", guard);
  app.use("/metrics", guard);
  mountMetrics(app, deps.metrics);
  mountArtifacts(app, deps.artifacts);
  app.route("/v1", createHistory(deps.history));
  // Built once, because building it adds to the registry of routes.
  let document: ReturnType<typeof openapi> | null = null;
  app.get("/openapi.json", (c) => c.json((document ??= openapi(app))));
  refuseOtherMethods(app);
  return app;
}
