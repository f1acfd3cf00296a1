import { z, type OpenAPIHono } from "@hono/zod-openapi";
import { AlertSchema } from "../../domain/alert.ts";
import { VERSION } from "../../platform/version.ts";
import { RunSchema } from "./schemas.ts";
import { ALERT_EVENT, RUN_EVENT } from "./examples.ts";

const WebhookBody = z
  .object({
    type: z.string().openapi({
      description:
        "`run.<status>`; `run.attempt_failed` of a run attempt that failed and that Skyvern tries again, to sinks with " +
        "`attempts: true`: `data` is the run as it was then, with status `retrying`; `run.test` of a test.",
      example: "run.completed",
    }),
    timestamp: z.iso.datetime({ precision: 3 }),
    data: RunSchema,
  })
  .openapi("RunEvent", { example: RUN_EVENT });

const AlertBody = z
  .object({ type: z.literal("relay.alert"), timestamp: z.iso.datetime({ precision: 3 }), data: AlertSchema })
  .openapi("RelayAlert", { example: ALERT_EVENT });

/** The OpenAPI 3.1 document of the history API, with the bodies of HTTP sinks as webhooks. */
export function openapi(app: OpenAPIHono): ReturnType<OpenAPIHono["getOpenAPI31Document"]> {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  const webhook = (path: string, operationId: string, summary: string, schema: z.ZodType) => ({
    operationId,
    method: "post" as const,
    path,
    summary,
    // The request carries no token: its signature shows who sent it.
    security: [],
    request: {
      headers: z.object({
        "webhook-id": z.string().openapi({
          description:
            "The delivery's id: the same on every attempt. Of `run.attempt_failed` `<run_id>_attempt_<number>`: the " +
            "same when it is redelivered, too.",
        }),
        "webhook-timestamp": z.string().openapi({ description: "Unix seconds of the attempt." }),
        "webhook-signature": z.string().openapi({ description: "`v1,<base64>`, several separated by spaces." }),
      }),
      body: { content: { "application/json": { schema } } },
    },
    responses: {
      "2XX": { description: "Delivered." },
      410: { description: "Stop sending." },
      429: { description: "Try again later; `Retry-After` is honoured." },
      "5XX": { description: "Try again later." },
    },
  });
  const { openAPIRegistry: registry } = app;
  const run = "What an HTTP sink receives, signed as Standard Webhooks says";
  registry.registerWebhook(webhook("run", "receiveRun", run, WebhookBody));
  const alert = "What an HTTP sink named in `alerts` receives: a message about the relay itself, not about a run";
  registry.registerWebhook(webhook("alert", "receiveAlert", alert, AlertBody));
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "skyvern-relay",
      version: VERSION,
      description: "What happened to runs, and where they were delivered.",
      license: { name: "MIT", url: "https://spdx.org/licenses/MIT.html" },
    },
    servers: [{ url: "/" }],
  });
}
