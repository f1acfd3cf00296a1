/** What the routes of the history API share: the shapes of what they answer, of what they are asked, and of their faults. */
import { z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { isoTime, ReportSchema, toReport, type Links, type Report } from "../report.ts";
import { CAUSES, DELIVERY_STATES, SOURCES, VERDICTS, type Delivery } from "../run.ts";
import { readSearch } from "../store/search.ts";
import type { Attempt, Page, Receipt, RunFilter, StoredRun } from "../store/store.ts";
import { problem, ProblemSchema } from "./problem.ts";

export const time = z.iso.datetime({ precision: 3 });

export const DeliverySchema = z
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

export const AttemptSchema = z.object({
  n: z.int(),
  started_at: time,
  finished_at: time,
  outcome: z.enum(["delivered", "retry", "dead"]),
  reason: z.string().nullable(),
});

export const ReceiptSchema = z
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
export const RunDetailSchema = z
  .object({
    ...ReportSchema.shape,
    deliveries: z.array(DeliverySchema.extend({ log: z.array(AttemptSchema) })),
    receipts: z.array(ReceiptSchema),
  })
  .openapi("RunDetail");

// --- queries --------------------------------------------------------------------------------------------------------

export const list = <T extends z.ZodType<string>>(item: T) =>
  z
    .union([item, z.array(item)])
    .transform((value): string[] => (Array.isArray(value) ? value : [value]))
    .optional();
export const text = z.string().min(1).max(500);

/** ISO 8601; without an offset it is UTC. Epoch milliseconds inside. */
export const instant = z
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

export const paging = {
  since: instant,
  until: instant,
  limit: z.coerce.number({ error: "must be a whole number from 1 to 200" }).int().min(1).max(200).default(50),
  cursor,
};

const search = z
  .string()
  .max(500)
  .transform((value, context) => {
    const found = readSearch(value);
    if (typeof found !== "string") return found;
    context.addIssue({ code: "custom", message: found });
    return z.NEVER;
  })
  .optional();

/** What narrows a list of runs. */
const runFilters = {
  q: search.openapi({
    description:
      "Words of the ids, title, prompt, summary, failure and output; all must be there. A phrase stands in double quotes; " +
      "`inv*` finds every word that begins so, from three characters. Ids and numbers are found digit for digit.",
    example: 'INV-2026-0042 "payment overdue"',
  }),
  status: list(text).openapi({ example: ["failed", "terminated"] }),
  run_type: list(text),
  workflow: list(text).openapi({ description: "Permanent id or title." }),
  organization_id: list(text),
  channel: list(text),
  source: list(z.enum(SOURCES)),
  sink: list(text).openapi({ description: "Runs with a delivery to this sink." }),
  delivery: list(z.enum(DELIVERY_STATES)).openapi({ description: "Runs with a delivery in this state." }),
};

export const RunsQuery = z.strictObject({ ...runFilters, ...paging });
/** All of it at once. */
export const ExportQuery = z.strictObject({ ...runFilters, since: instant, until: instant });

export function runFilterOf({ q, organization_id: organization, ...filter }: z.output<typeof ExportQuery>): RunFilter {
  return defined({ ...filter, organization, search: q });
}

export const DeliveriesQuery = z.strictObject({
  state: list(z.enum(DELIVERY_STATES)),
  sink: list(text),
  run_id: text.optional(),
  ...paging,
});

export const writeCursor = ({ at, id }: { at: number; id: string }): string =>
  Buffer.from(JSON.stringify([at, id])).toString("base64url");

function readCursor(value: string): Page["after"] | null {
  try {
    const parsed = z.tuple([z.int(), z.string()]).safeParse(JSON.parse(Buffer.from(value, "base64url").toString()));
    return parsed.success ? { at: parsed.data[0], id: parsed.data[1] } : null;
  } catch {
    return null;
  }
}

// --- answers --------------------------------------------------------------------------------------------------------

export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});
export const fault = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: ProblemSchema.openapi("Problem") } },
});
export const badParameter = { 400: fault("A parameter is wrong; `errors` names it.") };
export const closed = { 401: fault("The token is missing or wrong."), 403: fault("No RELAY_TOKEN is configured.") };
export const security = [{ bearer: [] }];
export const RunParams = z.object({ run_id: z.string() });

export const reportOf = (row: StoredRun, links: Links): Report =>
  toReport(
    { run: row.state.run, revision: row.state.revision, artifacts: row.artifacts, artifactsStatus: row.status },
    links,
  );

export const at = (ms: number): string => new Date(ms).toISOString();

export const deliveryJson = (delivery: Delivery) => ({
  ...delivery,
  next_attempt_at: isoTime(delivery.next_attempt_at),
  created_at: at(delivery.created_at),
  delivered_at: isoTime(delivery.delivered_at),
});

export const attemptJson = ({ n, started_at, finished_at, outcome, reason }: Attempt) => ({
  n,
  started_at: at(started_at),
  finished_at: at(finished_at),
  outcome,
  reason,
});

export const receiptJson = ({
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

export const noRun = (c: Context, runId: string) =>
  problem(c, 404, `There is no run ${JSON.stringify(runId.slice(0, 100))}.`);

export function raw(c: Context, body: Uint8Array | null) {
  if (body === null) return problem(c, 404, "There is no such receipt, or its bytes were pruned.");
  return c.body(new Uint8Array(body), 200, {
    "content-type": "application/octet-stream",
    "content-disposition": "attachment",
    "x-content-type-options": "nosniff",
  });
}

export const errorsOf = (issues: z.core.$ZodIssue[]) =>
  issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((parameter) => ({ parameter, message: "there is no such parameter" }));
    }
    return [{ parameter: String(issue.path[0] ?? "body"), message: issue.message }];
  });

/** The same without the keys that are undefined. */
export const defined = <T extends object>(value: T) =>
  Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
