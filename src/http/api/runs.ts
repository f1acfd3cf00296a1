import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler, TypedResponse } from "hono";
import { DELIVERY_STATES } from "../../domain/run.ts";
import type { DeliveryStore } from "../../store/contract/deliveries.ts";
import type { ReceiptStore } from "../../store/contract/receipts.ts";
import { newDeliveryIds, redeliver, type RedeliverDeps } from "../../store/outbox/redeliver.ts";
import { mapInTurns } from "../../platform/yielding.ts";
import {
  attemptJson,
  badParameter,
  bodySchema,
  closed,
  defined,
  DeliveriesQuery,
  deliveryJson,
  DeliverySchema,
  toFieldErrors,
  slowSearch,
  fault,
  instant,
  json,
  noRun,
  raw,
  receiptJson,
  ReceiptSchema,
  rowToReport,
  RunDetailSchema,
  toRunFilter,
  RunParams,
  RunSchema,
  RunsQuery,
  security,
  someOf,
  texts,
  writeCursor,
} from "./schemas.ts";
import { mountEvents, type EventsDeps } from "./events.ts";
import { mountExports, type ExportsDeps } from "./exports.ts";
import { refuseOtherMethods } from "../method-not-allowed.ts";
import { problem } from "../problem.ts";
import { mountRunDetail, type RunDetailDeps } from "./run-detail.ts";
import { mountSinks, type SinksDeps } from "./sinks.ts";
import { mountStatistics, type StatisticsDeps } from "./statistics.ts";

export interface HistoryDeps extends RedeliverDeps, RunDetailDeps, ExportsDeps, SinksDeps, StatisticsDeps, EventsDeps {
  store: RedeliverDeps["store"] &
    RunDetailDeps["store"] &
    ExportsDeps["store"] &
    SinksDeps["store"] &
    StatisticsDeps["store"] &
    EventsDeps["store"] &
    Pick<ReceiptStore, "unrecognizedReceipts" | "body"> &
    Pick<DeliveryStore, "redeliverAll" | "redeliverable">;
  sinks: readonly { name: string; kind: string }[];
  runtime: RedeliverDeps["runtime"] & EventsDeps["runtime"];
  /** Called when deliveries were queued. */
  nudge(): void;
}

/** A body is JSON whatever the client calls it: `curl -d` calls it a form, and a filter must not be overlooked. */
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

const badBody = (c: Context) =>
  problem(c, 400, "A parameter is wrong.", [{ parameter: "body", message: "must be a JSON object" }]);

// --- routes ---------------------------------------------------------------------------------------------------------

const RunsSchema = z.object({ data: z.array(RunSchema), next_cursor: z.string().nullable() });

const listRuns = createRoute({
  operationId: "listRuns",
  method: "get",
  path: "/runs",
  summary: "Runs, newest first",
  security,
  request: { query: RunsQuery },
  responses: {
    200: json(RunsSchema, "One page."),
    ...badParameter,
    ...closed,
  },
});

const getRun = createRoute({
  operationId: "getRun",
  method: "get",
  path: "/runs/{run_id}",
  summary: "One run, with its deliveries and receipts",
  security,
  request: { params: RunParams },
  responses: { 200: json(RunDetailSchema, "The run."), 404: fault("No such run."), ...closed },
});

const getRaw = createRoute({
  operationId: "getRunReceiptBytes",
  method: "get",
  path: "/runs/{run_id}/receipts/{id}/raw",
  summary: "The bytes of one receipt, masked as stored",
  security,
  request: { params: RunParams.extend({ id: z.string() }) },
  responses: {
    200: { description: "The bytes.", content: { "application/octet-stream": { schema: z.string() } } },
    404: fault("No such receipt, or its bytes were pruned."),
    ...closed,
  },
});

const listUnrecognized = createRoute({
  operationId: "listUnrecognizedReceipts",
  method: "get",
  path: "/receipts/unrecognized",
  summary: "List verified webhooks that were not recognized as a run, newest first (at most 200)",
  security,
  responses: {
    200: json(z.object({ data: z.array(ReceiptSchema) }), "They are read again after an upgrade."),
    ...closed,
  },
});

const getUnrecognizedRaw = createRoute({
  operationId: "getReceiptBytes",
  method: "get",
  path: "/receipts/{id}/raw",
  summary: "The bytes of one receipt, masked as stored",
  security,
  request: { params: z.object({ id: z.string() }) },
  responses: {
    200: { description: "The bytes.", content: { "application/octet-stream": { schema: z.string() } } },
    404: fault("No such receipt, or its bytes were pruned."),
    ...closed,
  },
});

const listDeliveries = createRoute({
  operationId: "listDeliveries",
  method: "get",
  path: "/deliveries",
  summary: "Deliveries, newest first",
  security,
  request: { query: DeliveriesQuery },
  responses: {
    200: json(z.object({ data: z.array(DeliverySchema), next_cursor: z.string().nullable() }), "One page."),
    ...badParameter,
    ...closed,
  },
});

const SINKS = "must be a list of the names of sinks, one at least";

const redeliverRun = createRoute({
  operationId: "redeliverRun",
  method: "post",
  path: "/runs/{run_id}/redeliver",
  summary: "Send a run's current state again",
  security,
  middleware: [readJson] as const,
  request: {
    params: RunParams,
    body: {
      required: false,
      content: {
        "application/json": {
          schema: bodySchema({
            sinks: z
              .array(z.string(), { error: SINKS })
              .min(1, SINKS)
              .optional()
              .openapi({ description: "Default: every sink the run was meant for." }),
          }),
        },
      },
    },
  },
  responses: {
    202: json(z.object({ data: z.array(DeliverySchema) }), "The new deliveries, each with an id of its own."),
    400: fault("An unknown sink, or a body that is not as described."),
    404: fault("No such run."),
    409: fault("The run is not final yet, or was meant for no sink."),
    ...closed,
  },
});

const redeliverAll = createRoute({
  operationId: "redeliverAll",
  method: "post",
  path: "/redeliver",
  summary: "Send what fits a filter again: once for each run and sink, nothing that waits already",
  security,
  middleware: [readJson] as const,
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: bodySchema({
            state: someOf(DELIVERY_STATES).openapi({ description: "Default: `dead`." }),
            sink: texts,
            since: instant,
            until: instant,
            dry_run: z.boolean({ error: "must be true or false" }).default(false),
          }),
        },
      },
    },
  },
  responses: {
    202: json(z.object({ count: z.int(), dry_run: z.boolean() }), "How many deliveries were, or would be, made."),
    ...badParameter,
    ...closed,
  },
});

/** The history API below `/v1`. Whoever mounts it asks for the token first. */
export function createHistory(deps: HistoryDeps): OpenAPIHono {
  const { store, links, runtime } = deps;
  const app = new OpenAPIHono({
    strict: false,
    defaultHook: (result, c) => {
      if (!result.success) return problem(c, 400, "A parameter is wrong.", toFieldErrors(result.error.issues));
    },
  });

  app.openapi(listRuns, async (c) => {
    const { limit, cursor: after, ...filter } = c.req.valid("query");
    const slow = await slowSearch(c, store, filter.q);
    if (slow) return slow;
    const { runs, next } = await store.runs(toRunFilter(filter), { limit, ...(after ? { after } : {}) });
    const data = await mapInTurns(runs, (row) => JSON.stringify(rowToReport(row, links)));
    const text = `{"data":[${data.join(",")}],"next_cursor":${JSON.stringify(next && writeCursor(next))}}`;
    return written(c, text);
  });

  app.openapi(getRun, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const row = await store.run(runId);
    if (row === null) return noRun(c, runId);
    const deliveries = (await store.deliveries({ runId }, { limit: 1000 })).toReversed();
    const attempts = Map.groupBy(
      await store.attempts(deliveries.map(({ id }) => id)),
      (attempt) => attempt.delivery_id,
    );
    const receipts = await store.receipts(runId);
    return c.json(
      {
        ...rowToReport(row, links),
        deliveries: deliveries.map((delivery) => ({
          ...deliveryJson(delivery),
          log: (attempts.get(delivery.id) ?? []).map(attemptJson),
        })),
        receipts: receipts.map(receiptJson),
      },
      200,
    );
  });

  app.openapi(getRaw, async (c) => {
    const { run_id: runId, id } = c.req.valid("param");
    const known = (await store.receipts(runId)).some((receipt) => receipt.id === id);
    return raw(c, known ? await store.body(id) : null);
  });

  app.openapi(listUnrecognized, async (c) =>
    c.json({ data: (await store.unrecognizedReceipts(200)).map(receiptJson) }, 200),
  );

  app.openapi(getUnrecognizedRaw, async (c) => raw(c, await store.body(c.req.valid("param").id)));

  app.openapi(listDeliveries, async (c) => {
    const { limit, cursor: after, run_id: runId, ...filter } = c.req.valid("query");
    const rows = await store.deliveries(defined({ ...filter, runId }), {
      limit: limit + 1,
      ...(after ? { after } : {}),
    });
    const page = rows.slice(0, limit);
    const last = page.at(-1);
    const next = rows.length > limit && last ? writeCursor({ at: last.created_at, id: last.id }) : null;
    return c.json({ data: page.map(deliveryJson), next_cursor: next }, 200);
  });

  app.openapi(redeliverRun, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const result = await redeliver(deps, runId, c.req.valid("json")?.sinks ?? null);
    if (!result.ok) {
      if (result.status !== 400) return problem(c, result.status, result.reason);
      return problem(c, 400, "A parameter is wrong.", [{ parameter: "sinks", message: result.reason }]);
    }
    deps.nudge();
    return c.json({ data: result.deliveries.map(deliveryJson) }, 202);
  });

  app.openapi(redeliverAll, async (c) => {
    // An empty filter is fine when somebody wrote it down.
    if ((await c.req.text()) === "") return badBody(c);
    const { dry_run: dryRun, state = ["dead"], ...filter } = c.req.valid("json");
    const unknown = filter.sink?.find((name) => !deps.sinks.some((sink) => sink.name === name));
    if (unknown !== undefined) {
      return problem(c, 400, "A parameter is wrong.", [
        { parameter: "sink", message: `there is no sink "${unknown}"` },
      ]);
    }
    const sinks = deps.sinks.map(({ name }) => name);
    const found = { sink: sinks, ...defined({ ...filter, state }) };
    const count = dryRun
      ? await store.redeliverable(found, MAX_REDELIVERIES)
      : await store.redeliverAll(found, newDeliveryIds(runtime, MAX_REDELIVERIES), runtime.now());
    if (!dryRun) deps.nudge();
    return c.json({ count, dry_run: dryRun }, 202);
  });

  mountRunDetail(app, deps);
  mountExports(app, deps);
  mountSinks(app, deps);
  mountStatistics(app, deps);
  mountEvents(app, deps);
  refuseOtherMethods(app);

  return app;
}

/** What `c.json` answers, of JSON that is text already. Given bytes, Node's server is quicker than at making them of a text. */
const written = (c: Context, text: string) =>
  c.body(Buffer.from(text), 200, { "content-type": "application/json" }) as unknown as Response &
    TypedResponse<never, 200, "json">;

/** One call redelivers at most so many; the next call goes on, as what waits is left out. */
const MAX_REDELIVERIES = 10_000;
