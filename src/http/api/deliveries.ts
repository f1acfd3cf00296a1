/** Deliveries: the list, and sending again. */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { DELIVERY_STATES } from "../../domain/run.ts";
import type { DeliveryStore } from "../../store/contract/deliveries.ts";
import type { Page } from "../../store/contract/runs.ts";
import { newDeliveryIds, redeliver, type RedeliverDeps } from "../../store/outbox/redeliver.ts";
import { problem, wrongParameters } from "../problem.ts";
import {
  badParameter,
  bodySchema,
  withoutUndefined,
  DeliveriesQuery,
  deliveryJson,
  DeliverySchema,
  problemAnswer,
  inOrder,
  instant,
  jsonAnswer,
  readPage,
  RunParams,
  someOf,
  texts,
  guarded,
} from "./schemas.ts";

export interface DeliveriesDeps extends RedeliverDeps {
  store: RedeliverDeps["store"] & Pick<DeliveryStore, "deliveries" | "redeliverAll" | "redeliverable">;
  sinks: readonly { name: string; kind: string }[];
  /** Called when deliveries were queued. */
  nudge(): void;
}

/** The most deliveries that one call redelivers. The next call continues, because pending ones are skipped. */
const MAX_REDELIVERIES = 10_000;

const listDeliveries = guarded({
  operationId: "listDeliveries",
  method: "get",
  path: "/deliveries",
  summary: "Deliveries, newest first",
  request: { query: DeliveriesQuery },
  responses: {
    200: jsonAnswer(z.object({ data: z.array(DeliverySchema), next_cursor: z.string().nullable() }), "One page."),
    ...badParameter,
  },
});

const SINKS = "must be a list of the names of sinks, one at least";

/**
 * Every body is read as JSON, whatever the client calls it: `curl -d` calls it a form, and a filter must not be
 * overlooked.
 */
const readJson: MiddlewareHandler = async (c, next) => {
  const body = c.req.method === "POST" ? await c.req.text() : "";
  if (body !== "" && !isJson(body)) return badBody(c);
  const headers = new Headers(c.req.raw.headers);
  if (body === "") headers.delete("content-type");
  else headers.set("content-type", "application/json");
  // The text read above is what later readers of this request get.
  c.req.raw = new Request(c.req.url, { method: c.req.method, headers, signal: c.req.raw.signal });
  return next();
};

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

const badBody = (c: Context) => wrongParameters(c, [{ parameter: "body", message: "must be a JSON object" }]);

const redeliverRun = guarded({
  operationId: "redeliverRun",
  method: "post",
  path: "/runs/{run_id}/redeliver",
  summary: "Redeliver a run's current state",
  middleware: [readJson] as const,
  request: {
    params: RunParams,
    body: {
      required: false,
      content: {
        "application/json": {
          schema: bodySchema({
            sinks: z
              .array(z.string({ error: SINKS }), { error: SINKS })
              .min(1, SINKS)
              .optional()
              .openapi({ description: "Default: every sink the run was meant for." }),
          }),
        },
      },
    },
  },
  responses: {
    202: jsonAnswer(z.object({ data: z.array(DeliverySchema) }), "The new deliveries, each with an id of its own."),
    400: problemAnswer("An unknown sink, or a body that is not as described."),
    404: problemAnswer("No such run."),
    409: problemAnswer("The run is not final yet, or was meant for no sink."),
  },
});

const redeliverAll = guarded({
  operationId: "redeliverAll",
  method: "post",
  path: "/redeliver",
  summary: "Redeliver everything that fits a filter, once for each run and sink, except what is already queued",
  middleware: [readJson] as const,
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: inOrder(
            bodySchema({
              state: someOf(DELIVERY_STATES).openapi({ description: "Default: `dead`." }),
              sink: texts,
              since: instant,
              until: instant,
              dry_run: z.boolean({ error: "must be true or false" }).default(false),
            }),
          ),
        },
      },
    },
  },
  responses: {
    202: jsonAnswer(
      z.object({ count: z.int(), dry_run: z.boolean() }),
      "How many deliveries were created, or would be with `dry_run`.",
    ),
    ...badParameter,
  },
});

export function mountDeliveries(app: OpenAPIHono, deps: DeliveriesDeps): void {
  const { store, runtime } = deps;

  app.openapi(listDeliveries, async (c) => {
    const { limit, cursor, run_id: runId, ...filter } = c.req.valid("query");
    const read = (asked: Page) => store.deliveries(withoutUndefined({ ...filter, runId }), asked);
    const { rows, next } = await readPage({ limit, cursor }, read, ({ created_at }) => created_at);
    return c.json({ data: rows.map(deliveryJson), next_cursor: next }, 200);
  });

  app.openapi(redeliverRun, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const result = await redeliver(deps, runId, c.req.valid("json")?.sinks ?? null);
    if (!result.ok) {
      if (result.status !== 400) return problem(c, result.status, result.reason);
      return wrongParameters(c, [{ parameter: "sinks", message: result.reason }]);
    }
    deps.nudge();
    return c.json({ data: result.deliveries.map(deliveryJson) }, 202);
  });

  app.openapi(redeliverAll, async (c) => {
    // An empty filter is fine when somebody wrote it down.
    if ((await c.req.text()) === "") return badBody(c);
    const { dry_run: dryRun, state = ["dead"], ...filter } = c.req.valid("json");
    const unknown = filter.sink?.find((name) => !deps.sinks.some((sink) => sink.name === name));
    if (unknown !== undefined)
      return wrongParameters(c, [{ parameter: "sink", message: `there is no sink "${unknown}"` }]);
    const sinks = deps.sinks.map(({ name }) => name);
    const found = { sink: sinks, ...withoutUndefined({ ...filter, state }) };
    const count = dryRun
      ? await store.redeliverable(found, MAX_REDELIVERIES)
      : await store.redeliverAll(found, newDeliveryIds(runtime, MAX_REDELIVERIES), runtime.now());
    if (!dryRun) deps.nudge();
    return c.json({ count, dry_run: dryRun }, 202);
  });
}
