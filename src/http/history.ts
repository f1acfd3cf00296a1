import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { isoTime, ReportSchema, toReport, type Links, type Report } from "../report.ts";
import { CAUSES, DELIVERY_STATES, SOURCES, VERDICTS, type Circuit, type Delivery } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import type { Attempt, Page, Receipt, Store, StoredRun } from "../store/store.ts";
import { redeliver } from "../store/redeliver.ts";
import { problem, ProblemSchema } from "./problem.ts";

export interface HistoryParts {
  store: Pick<
    Store,
    | "run"
    | "runs"
    | "receipts"
    | "keptReceipts"
    | "body"
    | "deliveries"
    | "attempts"
    | "artifacts"
    | "redeliver"
    | "redeliverAll"
    | "backlog"
    | "counts"
  >;
  links: Links;
  sinks: readonly { name: string; kind: string }[];
  runtime: Pick<Runtime, "now" | "newId">;
  /** Called when deliveries were queued. */
  nudge(): void;
  circuit(sink: string): Promise<Circuit>;
  /** Turns a sink on again. */
  resume(sink: string): Promise<void>;
}

// --- routes ---------------------------------------------------------------------------------------------------------

const listRuns = createRoute({
  method: "get",
  path: "/runs",
  summary: "Runs, newest first",
  security,
  request: { query: RunsQuery },
  responses: {
    200: json(z.object({ data: z.array(RunSchema), next_cursor: z.string().nullable() }), "One page."),
    400: fault("A parameter is wrong; `errors` names it."),
    ...closed,
  },
});

const getRun = createRoute({
  method: "get",
  path: "/runs/{run_id}",
  summary: "One run, with its deliveries and receipts",
  security,
  request: { params: RunParams },
  responses: { 200: json(RunDetailSchema, "The run."), 404: fault("No such run."), ...closed },
});

const getRaw = createRoute({
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

const listKept = createRoute({
  method: "get",
  path: "/receipts/kept",
  summary: "Genuine bodies that were not understood, newest first (at most 200)",
  security,
  responses: {
    200: json(z.object({ data: z.array(ReceiptSchema) }), "They are read again after an upgrade."),
    ...closed,
  },
});

const getKeptRaw = createRoute({
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
  method: "get",
  path: "/deliveries",
  summary: "Deliveries, newest first",
  security,
  request: { query: DeliveriesQuery },
  responses: {
    200: json(z.object({ data: z.array(DeliverySchema), next_cursor: z.string().nullable() }), "One page."),
    400: fault("A parameter is wrong; `errors` names it."),
    ...closed,
  },
});

const redeliverRun = createRoute({
  method: "post",
  path: "/runs/{run_id}/redeliver",
  summary: "Send a run's current state again",
  security,
  request: {
    params: RunParams,
    body: {
      required: false,
      content: {
        "application/json": {
          schema: z.strictObject({
            sinks: z
              .array(z.string())
              .min(1)
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
  method: "post",
  path: "/redeliver",
  summary: "Send what fits a filter again: once for each run and sink, nothing that waits already",
  security,
  request: {
    body: {
      required: true,
      content: {
        "application/json": {
          schema: z.strictObject({
            state: list(z.enum(DELIVERY_STATES)).openapi({ description: "Default: `dead`." }),
            sink: list(text),
            since: instant,
            until: instant,
            dry_run: z.boolean().default(false),
          }),
        },
      },
    },
  },
  responses: {
    202: json(z.object({ count: z.int(), dry_run: z.boolean() }), "How many deliveries were, or would be, made."),
    400: fault("A parameter is wrong; `errors` names it."),
    ...closed,
  },
});

const SinkStateSchema = z
  .object({
    name: z.string(),
    kind: z.string(),
    state: z
      .enum(["closed", "open", "stopped"])
      .openapi({ description: "The circuit: `open` after failures in a row, `stopped` by HTTP 410." }),
    failures: z.int().openapi({ description: "In a row." }),
    retry_at: time.nullable().openapi({ description: "When an open circuit is probed." }),
    reason: z.string().nullable(),
    backlog: z.int(),
    oldest_waiting_at: time.nullable(),
    dead: z.int(),
    last_success_at: time.nullable(),
    last_failure_at: time.nullable(),
  })
  .openapi("SinkState");

const listSinks = createRoute({
  method: "get",
  path: "/sinks",
  summary: "The sinks and how they are",
  security,
  responses: {
    200: json(z.object({ data: z.array(SinkStateSchema) }), "In the order of the configuration."),
    ...closed,
  },
});

const resumeSink = createRoute({
  method: "post",
  path: "/sinks/{name}/resume",
  summary: "Turn a sink on again that was stopped or whose circuit is open",
  security,
  request: { params: z.object({ name: z.string() }) },
  responses: { 200: json(SinkStateSchema, "The sink."), 404: fault("No such sink."), ...closed },
});

/** The history API below `/v1`. Whoever mounts it asks for the token first. */
export function createHistory(parts: HistoryParts): OpenAPIHono {
  const { store, links, runtime } = parts;
  const app = new OpenAPIHono({
    strict: false,
    defaultHook: (result, c) => {
      if (!result.success) return problem(c, 400, "A parameter is wrong.", errorsOf(result.error.issues));
    },
  });

  app.use(readJson);

  app.openapi(listRuns, async (c) => {
    const { limit, cursor: after, organization_id: organization, ...filter } = c.req.valid("query");
    const rows = await store.runs(defined({ ...filter, organization }), {
      limit: limit + 1,
      ...(after ? { after } : {}),
    });
    const page = rows.slice(0, limit);
    const last = page.at(-1)?.state.run;
    const next = rows.length > limit && last ? writeCursor({ at: last.received_at, id: last.run_id }) : null;
    return c.json({ data: page.map((row) => reportOf(row, links)), next_cursor: next }, 200);
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
        ...reportOf(row, links),
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

  app.openapi(listKept, async (c) => c.json({ data: (await store.keptReceipts(200)).map(receiptJson) }, 200));

  app.openapi(getKeptRaw, async (c) => raw(c, await store.body(c.req.valid("param").id)));

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
    const result = await redeliver(parts, runId, c.req.valid("json")?.sinks ?? null);
    if (!result.ok) {
      if (result.status !== 400) return problem(c, result.status, result.reason);
      return problem(c, 400, "A parameter is wrong.", [{ parameter: "sinks", message: result.reason }]);
    }
    parts.nudge();
    return c.json({ data: result.deliveries.map(deliveryJson) }, 202);
  });

  app.openapi(redeliverAll, async (c) => {
    // An empty filter is fine when somebody wrote it down.
    if ((await c.req.text()) === "") return badBody(c);
    const { dry_run: dryRun, state = ["dead"], ...filter } = c.req.valid("json");
    const unknown = filter.sink?.find((name) => !parts.sinks.some((sink) => sink.name === name));
    if (unknown !== undefined) {
      return problem(c, 400, "A parameter is wrong.", [
        { parameter: "sink", message: `there is no sink "${unknown}"` },
      ]);
    }
    const make = (target: { sink: string; kind: string }) =>
      ({ id: runtime.newId("dlv"), ...target, cause: "redelivery" }) as const;
    const options = { now: runtime.now(), limit: MAX_REDELIVERIES, dryRun };
    const sinks = parts.sinks.map(({ name }) => name);
    const count = await store.redeliverAll({ sink: sinks, ...defined({ ...filter, state }) }, make, options);
    if (!dryRun) parts.nudge();
    return c.json({ count, dry_run: dryRun }, 202);
  });

  app.openapi(listSinks, async (c) => c.json({ data: await sinkStates(parts) }, 200));

  app.openapi(resumeSink, async (c) => {
    const { name } = c.req.valid("param");
    if (!parts.sinks.some((sink) => sink.name === name)) return problem(c, 404, "There is no such sink.");
    await parts.resume(name);
    const states = await sinkStates(parts);
    return c.json(states.find((state) => state.name === name) as z.output<typeof SinkStateSchema>, 200);
  });

  return app;
}

/** One call redelivers at most so many; the next call goes on, as what waits is left out. */
const MAX_REDELIVERIES = 10_000;

async function sinkStates({ store, sinks, circuit }: HistoryParts): Promise<z.output<typeof SinkStateSchema>[]> {
  const [backlog, counts] = await Promise.all([store.backlog(), store.counts()]);
  return Promise.all(
    sinks.map(async ({ name, kind }) => {
      const { state, failures, until, reason, last_success_at, last_failure_at } = await circuit(name);
      const waiting = backlog.find(({ sink }) => sink === name);
      const dead = counts.deliveries.find((row) => row.sink === name && row.state === "dead");
      return {
        name,
        kind,
        state,
        failures,
        retry_at: isoTime(until),
        reason,
        backlog: waiting?.waiting ?? 0,
        oldest_waiting_at: isoTime(waiting?.oldest ?? null),
        dead: dead?.count ?? 0,
        last_success_at: isoTime(last_success_at),
        last_failure_at: isoTime(last_failure_at),
      };
    }),
  );
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
