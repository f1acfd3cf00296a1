/** What the routes of the history API share: the schemas of answers, queries and faults. */
import { createRoute, z, type RouteConfig } from "@hono/zod-openapi";
import type { Context } from "hono";
import { AttemptSchema } from "../../history/why.ts";
import { isoTime } from "../../platform/time.ts";
import { ReportSchema, toReport, type Links, type Report } from "../../domain/report.ts";
import { CAUSES, DELIVERY_STATES, SOURCES, SUBJECTS, VERDICTS, type Delivery } from "../../domain/run.ts";
import { readAttempts, readSearch } from "../../store/search/search.ts";
import { KINDS } from "../../sinks/kinds.ts";
import type { Receipt } from "../../store/contract/receipts.ts";
import type { Page, RunFilter, RunStore, Search, StoredRun } from "../../store/contract/runs.ts";
import { DELIVERY, PROBLEM, RECEIPT, RUN, RUN_DETAIL } from "./examples.ts";
import { problem, ProblemSchema, wrongParameters } from "../problem.ts";

export const time = z.iso.datetime({ precision: 3 });

export const DeliverySchema = z
  .object({
    id: z.string().meta({
      description: "The idempotency key of every attempt; an HTTP sink's `webhook-id`, except of a run attempt.",
    }),
    run_id: z.string(),
    subject: z.enum(SUBJECTS).meta({
      description: "What it is about: the run, or an attempt of it that failed and that Skyvern tried again.",
    }),
    revision: z.int().meta({ description: "The run's revision; of a run attempt its number." }),
    sink: z.string(),
    kind: z.string().meta({ description: `The sink's kind: ${KINDS.map(({ kind }) => `\`${kind}\``).join(", ")}.` }),
    cause: z.enum(CAUSES),
    state: z.enum(DELIVERY_STATES),
    attempts: z.int().meta({ description: "The number of attempts begun." }),
    next_attempt_at: time.nullable(),
    last_error: z.string().nullable(),
    created_at: time,
    delivered_at: time.nullable(),
    receipt: z
      .record(z.string(), z.unknown())
      .nullable()
      .meta({ description: `What the sink answered with: ${KINDS.map(({ receipt }) => receipt).join("; ")}.` }),
  })
  .openapi("Delivery", { example: DELIVERY });

export const ReceiptSchema = z
  .object({
    id: z.string(),
    run_id: z.string().nullable(),
    verdict: z.enum(VERDICTS),
    note: z.string().nullable().meta({ description: "Why, where the verdict does not say it." }),
    routing: z
      .array(z.object({ route: z.string(), matched: z.boolean(), because: z.string() }))
      .nullable()
      .meta({ description: "The result of each route, when this receipt chose the sinks." }),
    reported_status: z.string().nullable(),
    source: z.enum(SOURCES),
    channel: z.string().nullable(),
    labels: ReportSchema.shape.labels,
    key: z.string().nullable().meta({ description: "Name of the key that signed it." }),
    body_hash: z.string().meta({ description: "sha256, hex, of the body as it is stored: masked." }),
    body_bytes: z.int().meta({ description: "The body's length in bytes." }),
    received_at: time,
    copies: z.int().meta({ description: "How often the same bytes came." }),
    last_received_at: time,
  })
  .openapi("Receipt", { example: RECEIPT });

export const RunSchema = z.object(ReportSchema.shape).openapi("Run", { example: RUN });
export const RunDetailSchema = z
  .object({
    ...ReportSchema.shape,
    deliveries: z.array(
      DeliverySchema.extend({ log: z.array(AttemptSchema) }).openapi({ example: RUN_DETAIL.deliveries[0] }),
    ),
    receipts: z.array(ReceiptSchema),
  })
  .openapi("RunDetail", { example: RUN_DETAIL });

// --- queries --------------------------------------------------------------------------------------------------------

/** The most values of one parameter. */
const MAX_VALUES = 50;

/** A parameter that may be repeated; `what` says which values it takes. */
const list = <T extends z.ZodType<string>>(item: T, what: string) =>
  z
    .union([item, z.array(item).max(MAX_VALUES)], {
      error: ({ input }) =>
        Array.isArray(input) && input.length > MAX_VALUES ? `was given more than ${MAX_VALUES} times` : what,
    })
    .transform((value): string[] => (Array.isArray(value) ? value : [value]))
    .optional();

const TEXT = "must be a text of 1 to 500 characters";
/** PostgreSQL cannot hold a NUL, so no stored value contains one. */
export const text = z
  .string({ error: TEXT })
  .min(1, TEXT)
  .max(500, TEXT)
  .refine((value) => !value.includes("\0"), "must not hold the character NUL");
export const texts = list(text, TEXT);
export const oneOf = <const T extends readonly string[]>(values: T) =>
  z.enum(values, { error: `must be ${listAlternatives(values)}` });
export const someOf = <const T extends readonly string[]>(values: T) =>
  list(z.enum(values), `must be ${listAlternatives(values)}`);

const listAlternatives = (values: readonly string[]): string => `${values.slice(0, -1).join(", ")} or ${values.at(-1)}`;

const INSTANT = "must be an ISO 8601 time of the years 1970 to 9999, like 2026-01-20T12:00:00Z";
const YEAR_10000 = Date.parse("+010000-01-01");
/** An ISO 8601 time; without an offset it is UTC. The value is epoch milliseconds. */
export const instant = z
  .union([z.iso.datetime({ offset: true, local: true }), z.iso.date()], { error: INSTANT })
  .transform((value, context) => {
    const ms = Date.parse(/Z$|[+-]\d\d:\d\d$/.test(value) || value.length === 10 ? value : `${value}Z`);
    // The form alone would allow an offset of 25 hours.
    if (ms >= 0 && ms < YEAR_10000) return ms;
    context.addIssue({ code: "custom", message: INSTANT });
    return z.NEVER;
  })
  .optional();

const CURSOR = "is not a cursor of this API";
const cursor = z
  .string({ error: CURSOR })
  .max(1000, CURSOR)
  .transform((value, context): Page["after"] => {
    const page = readCursor(value);
    if (page !== null) return page;
    context.addIssue({ code: "custom", message: CURSOR });
    return z.NEVER;
  })
  .optional();

const LIMIT = "must be a whole number from 1 to 200";
const limit = z
  .preprocess(
    // Only digits: JavaScript would also read 1e2 and 0x10 as numbers.
    (value) => (typeof value === "string" ? (/^\d{1,9}$/.test(value) ? Number(value) : null) : value),
    z.int({ error: LIMIT }).min(1, LIMIT).max(200, LIMIT).default(50),
  )
  .openapi({ description: "Fewer may come when they are large; `next_cursor` tells whether there are more." });

export const paging = {
  since: instant,
  until: instant,
  limit,
  cursor,
};

export const ReceiptsQuery = z.strictObject({ limit, cursor });

const search = z
  .string({ error: "must be given once" })
  .max(500, "must have at most 500 characters")
  .transform((value, context) => {
    const found = readSearch(value);
    if (typeof found !== "string") return found;
    context.addIssue({ code: "custom", message: found });
    return z.NEVER;
  })
  .optional();

const LABEL = "must be a label's name, a colon and its value, like customer:42";
const label = text.refine((value) => /^[A-Za-z][A-Za-z0-9_-]*:./.test(value), LABEL);

const ATTEMPTS = "must be a number from 2 to 19, or > and a number from 1 to 19";
const attempts = z.string({ error: ATTEMPTS }).transform((value, context): string => {
  const found = readAttempts(value);
  if (found !== null) return found;
  context.addIssue({ code: "custom", message: ATTEMPTS });
  return z.NEVER;
});

/** The filters of a list of runs. */
const runFilters = {
  q: search.openapi({
    description:
      "Words of the ids, title, prompt, summary, failure and output; all must be there. Case and accents make " +
      "no difference. " +
      ("A phrase stands in double quotes, and ids and numbers are found digit for digit. Chinese, Japanese, " +
        "Korean, Thai, Lao, Khmer and Burmese ") +
      ("are found inside of longer text too. `inv*` finds every word that begins so, from three letters; where " +
        "more than 100 words do, ") +
      "the answer is 400 and asks for another letter (PostgreSQL answers). " +
      "Every stored run can be found at once.",
    example: 'INV-2026-0042 "payment overdue"',
  }),
  status: texts.openapi({ example: ["failed", "terminated"] }),
  run_type: texts,
  workflow: texts.openapi({ description: "Permanent id or title." }),
  organization_id: texts,
  channel: texts,
  source: someOf(SOURCES),
  label: list(label, LABEL).openapi({ description: "A label of the run and its value.", example: ["customer:42"] }),
  attempts: list(attempts, ATTEMPTS).openapi({
    description: "How often Skyvern tried the run: a number from 2, or `>` and a number from 1.",
    example: [">1"],
  }),
  trigger: texts.openapi({ description: "What started the run, in Skyvern's words.", example: ["scheduled"] }),
  schedule: texts.openapi({ description: "Id of the schedule that started the run." }),
  tag: texts.openapi({ description: "A tag of the run: `key:value`, or a label alone.", example: ["customer:42"] }),
  related: texts.openapi({
    description: "Id of a run: those that name it as their parent or child, or that it retries or is retried by.",
  }),
  sink: texts.openapi({ description: "Runs with a delivery to this sink." }),
  delivery: someOf(DELIVERY_STATES).openapi({ description: "Runs with a delivery in this state." }),
};

type Span = { since?: number | undefined; until?: number | undefined };
/** Refuses a span that ends before it begins, which would select nothing in silence. */
export const inOrder = <T extends z.ZodType<Span>>(schema: T): T =>
  schema.refine(({ since = 0, until = Infinity }) => since <= until, {
    path: ["since"],
    error: "must not be after `until`",
  });

export const RunsQuery = inOrder(z.strictObject({ ...runFilters, ...paging }));
/** All filters together. */
export const ExportQuery = inOrder(z.strictObject({ ...runFilters, since: instant, until: instant }));

export function toRunFilter({ q, organization_id: organization, ...filter }: z.output<typeof ExportQuery>): RunFilter {
  return withoutUndefined({ ...filter, organization, search: q });
}

export const DeliveriesQuery = inOrder(
  z.strictObject({
    state: someOf(DELIVERY_STATES),
    sink: texts,
    run_id: text.optional(),
    ...paging,
  }),
);

export const writeCursor = ({ at, id }: { at: number; id: string }): string =>
  Buffer.from(JSON.stringify([at, id])).toString("base64url");

/** One page of a list that is ordered by `timeOf` and id, and the cursor of the next page, null when there is none. */
export async function readPage<Row extends { id: string }>(
  { limit, cursor: after }: { limit: number; cursor?: Page["after"] | null | undefined },
  read: (asked: Page) => Promise<Row[]>,
  timeOf: (row: Row) => number,
): Promise<{ rows: Row[]; next: string | null }> {
  // One row more says whether there is a next page.
  const found = await read({ limit: limit + 1, ...(after ? { after } : {}) });
  const rows = found.slice(0, limit);
  const last = rows.at(-1);
  return { rows, next: found.length > limit && last ? writeCursor({ at: timeOf(last), id: last.id }) : null };
}

function readCursor(value: string): Page["after"] | null {
  try {
    const parsed = z.tuple([z.int(), z.string()]).safeParse(JSON.parse(Buffer.from(value, "base64url").toString()));
    return parsed.success ? { at: parsed.data[0], id: parsed.data[1] } : null;
  } catch {
    return null;
  }
}

// --- answers --------------------------------------------------------------------------------------------------------

export const jsonAnswer = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});
export const problemAnswer = (description: string) => ({
  description,
  content: { "application/problem+json": { schema: ProblemSchema.openapi("Problem", { example: PROBLEM }) } },
});
export const badParameter = { 400: problemAnswer("A parameter is wrong; `errors` names it.") };
const closed = {
  401: problemAnswer("The token is missing or wrong."),
  403: problemAnswer("No RELAY_TOKEN is configured."),
  429: problemAnswer("Too many wrong tokens came from this address."),
};

/** A route that needs the relay's token. */
export const guarded = <P extends string, R extends Omit<RouteConfig, "path"> & { path: P }>(route: R) =>
  createRoute<P, R>({ ...route, security: [{ bearer: [] }], responses: { ...route.responses, ...closed } });
/** A request body; `what` describes it when the client sent no object at all. */
export const bodySchema = <T extends z.ZodRawShape>(shape: T) => z.strictObject(shape, { error: BODY });
const BODY = "must be a JSON object";

export const RunParams = z.object({ run_id: z.string() });

export const rowToReport = (row: StoredRun, links: Links): Report =>
  toReport({ run: row.state.run, revision: row.state.revision, known: row }, links);

export const deliveryJson = (delivery: Delivery) => ({
  ...delivery,
  next_attempt_at: isoTime(delivery.next_attempt_at),
  created_at: isoTime(delivery.created_at),
  delivered_at: isoTime(delivery.delivered_at),
});

export const receiptJson = ({
  key_name,
  sent_at: _unsigned,
  received_at,
  last_received_at,
  routing,
  labels,
  ...receipt
}: Receipt) => ({
  ...receipt,
  labels: labels ?? {},
  key: key_name,
  routing: routing as z.output<typeof ReceiptSchema>["routing"],
  received_at: isoTime(received_at),
  last_received_at: isoTime(last_received_at),
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

/** The answer to a search with too many words, if it is one. */
export async function slowSearch(c: Context, store: Pick<RunStore, "searchFault">, search: Search | undefined) {
  const message = search ? await store.searchFault(search) : null;
  return message === null ? null : wrongParameters(c, [{ parameter: "q", message }]);
}

export const toFieldErrors = (issues: z.core.$ZodIssue[]) =>
  issues.flatMap((issue) => {
    if (issue.code === "unrecognized_keys") {
      return issue.keys.map((parameter) => ({ parameter, message: "there is no such parameter" }));
    }
    return [{ parameter: String(issue.path[0] ?? "body"), message: issue.message }];
  });

/** The same object without undefined keys. */
export const withoutUndefined = <T extends object>(value: T) =>
  Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
