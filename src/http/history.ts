import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { isoTime, ReportSchema, toReport, type Links, type Report } from "../report.ts";
import { CAUSES, DELIVERY_STATES, isTerminal, SOURCES, VERDICTS, type Circuit, type Delivery } from "../run.ts";
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

const time = z.iso.datetime({ precision: 3 });

const DeliverySchema = z
  .object({
    id: z.string().meta({ description: "The idempotency key of every attempt; an HTTP sink's `webhook-id`." }),
    run_id: z.string(),
    revision: z.int(),
    sink: z.string(),
    kind: z.string().meta({ description: "The sink's kind: `http`, `slack`, `email`." }),
    cause: z.enum(CAUSES),
    state: z.enum(DELIVERY_STATES),
    attempts: z.int().meta({ description: "Attempts begun." }),
    next_attempt_at: time.nullable(),
    last_error: z.string().nullable(),
    created_at: time,
    delivered_at: time.nullable(),
    receipt: z
      .record(z.string(), z.unknown())
      .nullable()
      .meta({ description: "What the sink answered with: HTTP status; Slack channel, ts, permalink; Message-ID." }),
  })
  .openapi("Delivery");

const AttemptSchema = z.object({
  n: z.int(),
  started_at: time,
  finished_at: time,
  outcome: z.enum(["delivered", "retry", "dead"]),
  reason: z.string().nullable(),
});

const ReceiptSchema = z
  .object({
    id: z.string(),
    run_id: z.string().nullable(),
    verdict: z.enum(VERDICTS),
    note: z.string().nullable().meta({ description: "Why, when the verdict alone does not say it." }),
    routing: z
      .array(z.object({ route: z.string(), matched: z.boolean(), because: z.string() }))
      .nullable()
      .meta({ description: "What each route said, when this receipt chose the sinks." }),
    reported_status: z.string().nullable(),
    source: z.enum(SOURCES),
    channel: z.string().nullable(),
    key: z.string().nullable().meta({ description: "Name of the key that signed it." }),
    body_hash: z.string().meta({ description: "sha256, hex, of the bytes received." }),
    body_bytes: z.int(),
    received_at: time,
    copies: z.int().meta({ description: "How often these bytes came." }),
    last_received_at: time,
  })
  .openapi("Receipt");

export const RunSchema = z.object(ReportSchema.shape).openapi("Run");
const RunDetailSchema = z
  .object({
    ...ReportSchema.shape,
    deliveries: z.array(DeliverySchema.extend({ log: z.array(AttemptSchema) })),
    receipts: z.array(ReceiptSchema),
  })
  .openapi("RunDetail");

// --- queries --------------------------------------------------------------------------------------------------------

const list = <T extends z.ZodType<string>>(item: T) =>
  z
    .union([item, z.array(item)])
    .transform((value): string[] => (Array.isArray(value) ? value : [value]))
    .optional();
const text = z.string().min(1).max(500);

/** ISO 8601; without an offset it is UTC. Epoch milliseconds inside. */
const instant = z
  .union([z.iso.datetime({ offset: true, local: true }), z.iso.date()], {
    error: "must be an ISO 8601 time, like 2026-01-20T12:00:00Z",
  })
  .transform((value) => Date.parse(/Z$|[+-]\d\d:\d\d$/.test(value) || value.length === 10 ? value : `${value}Z`))
  .optional();

const cursor = z
  .string()
  .max(1000)
  .transform((value, context): Page["after"] => {
    const page = readCursor(value);
    if (page !== null) return page;
    context.addIssue({ code: "custom", message: "is not a cursor of this API" });
    return z.NEVER;
  })
  .optional();

const paging = {
  since: instant,
  until: instant,
  limit: z.coerce.number({ error: "must be a whole number from 1 to 200" }).int().min(1).max(200).default(50),
  cursor,
};

const RunsQuery = z.strictObject({
  status: list(text),
  run_type: list(text),
  workflow: list(text).openapi({ description: "Permanent id or title." }),
  organization_id: list(text),
  channel: list(text),
  source: list(z.enum(SOURCES)),
  sink: list(text).openapi({ description: "Runs with a delivery to this sink." }),
  delivery: list(z.enum(DELIVERY_STATES)).openapi({ description: "Runs with a delivery in this state." }),
  ...paging,
});

const DeliveriesQuery = z.strictObject({
  state: list(z.enum(DELIVERY_STATES)),
  sink: list(text),
  run_id: text.optional(),
  ...paging,
});

const writeCursor = ({ at, id }: { at: number; id: string }): string =>
  Buffer.from(JSON.stringify([at, id])).toString("base64url");

function readCursor(value: string): Page["after"] | null {
  try {
    const parsed = z.tuple([z.int(), z.string()]).safeParse(JSON.parse(Buffer.from(value, "base64url").toString()));
    return parsed.success ? { at: parsed.data[0], id: parsed.data[1] } : null;
  } catch {
    return null;
  }
}

// --- routes ---------------------------------------------------------------------------------------------------------

const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});
const fault = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: ProblemSchema.openapi("Problem") } },
});
const closed = { 401: fault("The token is missing or wrong."), 403: fault("No RELAY_TOKEN is configured.") };
const security = [{ bearer: [] }];
const RunParams = z.object({ run_id: z.string() });

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

// --- answers --------------------------------------------------------------------------------------------------------

const reportOf = (row: StoredRun, links: Links): Report =>
  toReport(
    { run: row.state.run, revision: row.state.revision, artifacts: row.artifacts, artifactsStatus: row.status },
    links,
  );

const at = (ms: number): string => new Date(ms).toISOString();

const deliveryJson = (delivery: Delivery) => ({
  ...delivery,
  next_attempt_at: isoTime(delivery.next_attempt_at),
  created_at: at(delivery.created_at),
  delivered_at: isoTime(delivery.delivered_at),
});

const attemptJson = ({ n, started_at, finished_at, outcome, reason }: Attempt) => ({
  n,
  started_at: at(started_at),
  finished_at: at(finished_at),
  outcome,
  reason,
});

const receiptJson = ({
  key_name,
  sent_at: _unsigned,
  received_at,
  last_received_at,
  routing,
  ...receipt
}: Receipt) => ({
  ...receipt,
  key: key_name,
  routing: routing as z.output<typeof ReceiptSchema>["routing"],
  received_at: at(received_at),
  last_received_at: at(last_received_at),
});

const noRun = (c: Context, runId: string) => problem(c, 404, `There is no run ${JSON.stringify(runId.slice(0, 100))}.`);

function raw(c: Context, body: Uint8Array | null) {
  if (body === null) return problem(c, 404, "There is no such receipt, or its bytes were pruned.");
  return c.body(new Uint8Array(body), 200, {
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
    "x-content-type-options": "nosniff",
  });
}

const errorsOf = (issues: z.core.$ZodIssue[]) =>
  issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((parameter) => ({ parameter, message: "there is no such parameter" }));
    }
    return [{ parameter: String(issue.path[0] ?? "body"), message: issue.message }];
  });

/** The same without the keys that are undefined. */
const defined = <T extends object>(value: T) =>
  Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
