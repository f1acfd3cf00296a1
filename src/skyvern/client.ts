/**
 * Skyvern's API as the relay uses it (contract §4): reads, one try of an address, and workflows that `register` saves.
 * Results are values.
 */
import { z } from "zod";
import { isJsonObject, toNumber, type Json, type JsonObject } from "../platform/json.ts";
import type { Outbound } from "../net/http-client.ts";
import { systemRuntime } from "../platform/runtime.ts";
import {
  callJson,
  openStream,
  saysNoRun,
  type ApiCall,
  type CallContext,
  type Choice,
  type SkyvernKey,
  type SkyvernResult,
} from "./api-call.ts";
import { nextAttemptAt, parseTime } from "./normalize.ts";
import { findRow, readTags, type Tag, type WorkflowRunRow } from "./relations.ts";

/** One page of a list. `skipped` counts rows that could not be read, so a full page may have fewer `rows`. */
export interface Rows<T> {
  rows: T[];
  skipped: number;
}

const text = z.string().nullish().catch(null);
/** Epoch milliseconds. */
const time = z
  .string()
  .nullish()
  .catch(null)
  .transform((value) => parseTime(value));
const yes = z.boolean().nullish().catch(null);

const ArtifactRowSchema = z.looseObject({
  artifact_id: z.string().min(1),
  artifact_type: z.string(),
  created_at: time,
  uri: text,
  bundle_key: text,
  file_size: z
    .unknown()
    .optional()
    .transform((value) => toNumber(value)),
  task_id: text,
  workflow_run_block_id: text,
  /** Self-hosted storage may give a `file:` URL. Others live for an hour or longer (contract §5). */
  signed_url: text,
  archived: yes,
});
/** One artifact of a run. Unknown types and keys pass. */
export type ArtifactRow = z.output<typeof ArtifactRowSchema>;

const RunRowSchema = z
  .looseObject({
    run_id: z.string().min(1),
    status: z.string(),
    task_run_type: text,
    title: text,
    created_at: time,
    started_at: time,
    finished_at: time,
    workflow_permanent_id: text,
    attempt: z
      .unknown()
      .optional()
      .transform((value) => Math.max(1, toNumber(value) ?? 1)),
    retry_pending: yes,
    next_attempt_at: time,
  })
  .transform((row) => ({ ...row, next_attempt_at: nextAttemptAt(row, row.finished_at ?? 0) }));
/** One run in Skyvern's list of runs. `next_attempt_at`: null when no run attempt is to come. */
export type SkyvernRunRow = z.output<typeof RunRowSchema>;

const WorkflowRowSchema = z.object({
  workflow_permanent_id: z.string().min(1),
  title: text,
  /** Where the webhooks of its runs go, unless a run names another address. */
  webhook_callback_url: text,
});
/** One workflow in Skyvern's list. */
export type SkyvernWorkflowRow = z.output<typeof WorkflowRowSchema>;

const SignedUrlSchema = z.looseObject({
  signed_url: z.string(),
  // Unix seconds.
  expires_at: z.unknown().transform((value) => {
    const seconds = toNumber(value);
    return seconds === null ? null : seconds * 1000;
  }),
});

const TriedWebhookSchema = z.looseObject({
  status_code: z
    .unknown()
    .optional()
    .transform((value) => toNumber(value)),
  response_body: text,
  error: text,
});

export interface SignedUrl {
  /** As Skyvern gives it, possibly a `file:` URL. */
  url: string;
  /** Epoch milliseconds. */
  expiresAt: number | null;
}

export interface RunsQuery {
  /** 1–100 */
  page: number;
  /** 1–100 */
  pageSize: number;
  /** Any of these; all when absent. */
  status?: readonly string[];
  /** Permanent ids (`wpid_…`), any of these; all when absent. */
  workflow?: readonly string[];
}

export interface ContentOptions {
  /** A `Range` header, passed on as it is, so the answer may be 206. */
  range?: string;
  signal?: AbortSignal;
}

/** What an address answered Skyvern. */
export interface TriedWebhook {
  /** The HTTP status; null when there was no answer. */
  status: number | null;
  /** What the address answered with. */
  body: string;
  /** Why there was no answer, in Skyvern's words. */
  error: string | null;
}

export interface SkyvernClient {
  /** Scheme, host and port of the configured base URL. */
  readonly origin: string;
  /** The run with fresh URLs. A v2 task's `wr_…` id answers the `tsk_v2_…` run. */
  getRun(id: string, signal?: AbortSignal): Promise<SkyvernResult<JsonObject>>;
  /**
   * The artifacts of these types (all when empty), oldest first. An unknown run gives an empty list, not `not_found`.
   */
  listArtifacts(
    runId: string,
    types: readonly string[],
    signal?: AbortSignal,
  ): Promise<SkyvernResult<Rows<ArtifactRow>>>;
  /** A workflow run's timeline as Skyvern answers it. `not_found` for runs of another kind. */
  getTimeline(runId: string, signal?: AbortSignal): Promise<SkyvernResult<Json>>;
  /**
   * The artifact's bytes as a stream; the caller reads or cancels the body. The timeout covers the wait for headers.
   */
  openContent(artifactId: string, options?: ContentOptions): Promise<SkyvernResult<Response>>;
  /**
   * A URL that works for 5 minutes without a key. Fails with status 404 on a Skyvern before v1.0.47 and with 503 on one
   * without signing keys; 503 is therefore not retried.
   */
  signedUrl(artifactId: string, signal?: AbortSignal): Promise<SkyvernResult<SignedUrl>>;
  /** Skyvern's version, such as `1.0.56`. Fails with `not_found` on a Skyvern that does not say it. */
  version(signal?: AbortSignal): Promise<SkyvernResult<string>>;
  /**
   * Lets Skyvern POST a sample to an address as it POSTs a run's webhook, and returns the result. Fails with
   * `not_found` where Skyvern has no such call.
   */
  tryWebhook(address: string, signal?: AbortSignal): Promise<SkyvernResult<TriedWebhook>>;
  /**
   * A workflow run's row in the list of its workflow's runs, which says where the run comes from. Null when it is not
   * in the list.
   */
  getWorkflowRunRow(run: WorkflowRunKey, signal?: AbortSignal): Promise<SkyvernResult<WorkflowRunRow | null>>;
  /** The tags of a workflow run. */
  listTags(runId: string, signal?: AbortSignal): Promise<SkyvernResult<Tag[]>>;
  /** The newest first. Pages shift while runs are added, so callers drop repeated ids. */
  listRuns(query: RunsQuery, signal?: AbortSignal): Promise<SkyvernResult<Rows<SkyvernRunRow>>>;
  /** The organization's workflows, the newest version of each; the first thousand. */
  listWorkflows(signal?: AbortSignal): Promise<SkyvernResult<SkyvernWorkflowRow[]>>;
  /** The newest version of a workflow, as Skyvern answers it. */
  getWorkflow(id: string, signal?: AbortSignal): Promise<SkyvernResult<JsonObject>>;
  /**
   * Saves a definition as the next version of a workflow, or of a new one where `id` is null. Returns the version as
   * Skyvern stored it. It is tried once: an answer that did not arrive does not say that nothing was saved.
   */
  saveWorkflow(id: string | null, definition: JsonObject, signal?: AbortSignal): Promise<SkyvernResult<JsonObject>>;
  deleteWorkflow(id: string, signal?: AbortSignal): Promise<SkyvernResult<true>>;
  /** How many schedules it has. */
  countSchedules(signal?: AbortSignal): Promise<SkyvernResult<number>>;
  /**
   * The same client with a key of this organization and this many tries per call. For an organization without a key it
   * uses one with an unknown organization, else the first.
   */
  with(choice: { organization?: string | null; tries?: number }): SkyvernClient;
  /** One client for each key, to ask for every organization's runs. */
  perKey(): KeyClient[];
}

/** What a workflow run is found by in the list of its workflow's runs. */
export interface WorkflowRunKey {
  /** `wpid_…` */
  workflow: string;
  runId: string;
  /** Epoch milliseconds. */
  createdAt: number;
}

export interface KeyClient {
  name: string;
  organization: string | null;
  client: SkyvernClient;
}

export interface SkyvernClientOptions
  extends Outbound, Partial<Pick<CallContext, "sleep" | "now" | "random" | "timeoutMs">> {
  /** Such as `https://api.skyvern.com`; a path is kept. */
  baseUrl: string;
  /** At least one key; the first is used unless {@link SkyvernClient.with} chooses another. */
  keys: readonly SkyvernKey[];
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** A workflow is listed with its whole definition. */
const WORKFLOW_PAGE = 50;
const MAX_WORKFLOW_PAGES = 20;
const DEFAULT_TRIES = 3;

/** Throws for faults of the configuration: no key, an empty key, or an invalid base URL. */
export function createSkyvernClient(options: SkyvernClientOptions): SkyvernClient {
  const [first] = options.keys;
  if (!first) throw new Error("Skyvern's client needs at least one API key.");
  const empty = options.keys.find(({ key }) => key.reveal() === "");
  if (empty) throw new Error(`Skyvern's API key "${empty.name}" is empty.`);
  const base = new URL(options.baseUrl);
  const defaults = { ...systemRuntime(), timeoutMs: DEFAULT_TIMEOUT_MS };
  const context: CallContext = { ...defaults, ...options, base };
  return clientWith(context, { key: first, tries: DEFAULT_TRIES });
}

function clientWith(context: CallContext, choice: Choice): SkyvernClient {
  const json = <T>(call: ApiCall, read: (json: Json) => T | undefined) => callJson(context, choice, call, read);
  return {
    origin: context.base.origin,
    getRun: async (id, signal) => {
      const call: ApiCall = {
        what: "run",
        path: ["runs", id],
        signal,
        notFound: (body) => saysNoRun(id, body),
        isBlockable: true,
        isRun: true,
      };
      return json(call, toObject);
    },
    listArtifacts: (runId, types, signal) => {
      const query = formatSearch(types.map((type) => ["artifact_type", type]));
      return json({ what: "artifact list", path: ["runs", runId, "artifacts"], query, signal }, (value) =>
        parseRows(value, ArtifactRowSchema),
      );
    },
    getTimeline: (runId, signal) =>
      json({ what: "timeline", path: ["runs", runId, "timeline"], signal }, (value) => value),
    openContent: (artifactId, { range, signal } = {}) => {
      const call = { what: "artifact content", path: ["artifacts", artifactId, "content"], signal };
      return openStream(context, choice, call, range);
    },
    signedUrl: (artifactId, signal) => {
      const path = ["artifacts", artifactId, "signed-url"];
      return json({ what: "signed URL", path, signal, final: [503] }, toSignedUrl);
    },
    version: (signal) =>
      json({ what: "version", path: ["version"], signal }, (value) =>
        isJsonObject(value) && typeof value["version"] === "string" ? value["version"] : undefined,
      ),
    tryWebhook: (address, signal) => {
      const body = JSON.stringify({ webhook_url: address, run_type: "workflow_run" });
      return json({ what: "test webhook", path: ["internal", "test-webhook"], body, signal }, toTriedWebhook);
    },
    getWorkflowRunRow: (run, signal) =>
      json(
        { what: "list of a workflow's runs", path: ["workflows", run.workflow, "runs"], query: rowQuery(run), signal },
        (value) => findRow(value, run.runId),
      ),
    listTags: (runId, signal) => json({ what: "tags", path: ["runs", runId, "tags"], signal }, readTags),
    listRuns: ({ page, pageSize, status = [], workflow = [] }, signal) => {
      const query = formatSearch([
        ["page", String(page)],
        ["page_size", String(pageSize)],
        ...status.map((value): [string, string] => ["status", value]),
        ...workflow.map((value): [string, string] => ["workflow_permanent_id", value]),
      ]);
      return json({ what: "list of runs", path: ["runs"], query, signal }, (value) => parseRows(value, RunRowSchema));
    },
    listWorkflows: (signal) => listWorkflows(context, choice, signal),
    getWorkflow: (id, signal) => json({ what: "workflow", path: ["workflows", id], signal }, toObject),
    saveWorkflow: (id, definition, signal) => {
      const path = id === null ? ["workflows"] : ["workflows", id];
      const body = JSON.stringify({ json_definition: definition });
      return callJson(context, { ...choice, tries: 1 }, { what: "saved workflow", path, body, signal }, toObject);
    },
    deleteWorkflow: (id, signal) =>
      json({ what: "deleted workflow", path: ["workflows", id, "delete"], body: "", signal }, () => true),
    countSchedules: (signal) => {
      const query = formatSearch([["page_size", "1"]]);
      return json({ what: "list of schedules", path: ["schedules"], query, signal }, (value) =>
        isJsonObject(value) ? (toNumber(value["total_count"]) ?? undefined) : undefined,
      );
    },
    with: ({ organization, tries = choice.tries }) => {
      if (organization === undefined) return clientWith(context, { ...choice, tries });
      const keyOf = (wanted: string | null) => context.keys.find((key) => key.organization === wanted);
      return clientWith(context, { key: keyOf(organization) ?? keyOf(null) ?? choice.key, tries });
    },
    perKey: () =>
      context.keys.map((key) => ({
        name: key.name,
        organization: key.organization,
        client: clientWith(context, { ...choice, key }),
      })),
  };
}

/** Runs created in the same millisecond. Skyvern's times have microseconds and no time zone. */
const rowQuery = ({ createdAt }: WorkflowRunKey): string =>
  formatSearch([
    ["created_at_start", naiveTime(createdAt)],
    ["created_at_end", naiveTime(createdAt + 1)],
    ["include_child_runs", "true"],
    ["page_size", "100"],
  ]);

const naiveTime = (ms: number): string => new Date(ms).toISOString().slice(0, -1);

const toObject = (value: Json): JsonObject | undefined => (isJsonObject(value) ? value : undefined);

async function listWorkflows(
  context: CallContext,
  choice: Choice,
  signal: AbortSignal | undefined,
): Promise<SkyvernResult<SkyvernWorkflowRow[]>> {
  const workflows: SkyvernWorkflowRow[] = [];
  for (let page = 1; page <= MAX_WORKFLOW_PAGES; page += 1) {
    const query = formatSearch([
      ["page", String(page)],
      ["page_size", String(WORKFLOW_PAGE)],
      ["only_workflows", "true"],
    ]);
    const call: ApiCall = { what: "list of workflows", path: ["workflows"], query, signal };
    const answer = await callJson(context, choice, call, (value) => parseRows(value, WorkflowRowSchema));
    if (!answer.ok) return answer;
    workflows.push(...answer.value.rows);
    if (answer.value.rows.length + answer.value.skipped < WORKFLOW_PAGE) break;
  }
  return { ok: true, value: workflows };
}

const formatSearch = (pairs: [string, string][]): string => new URLSearchParams(pairs).toString();

function toSignedUrl(value: Json): SignedUrl | undefined {
  const parsed = SignedUrlSchema.safeParse(value);
  return parsed.success ? { url: parsed.data.signed_url, expiresAt: parsed.data.expires_at } : undefined;
}

function toTriedWebhook(value: Json): TriedWebhook | undefined {
  const parsed = TriedWebhookSchema.safeParse(value);
  if (!parsed.success) return undefined;
  const { status_code: status = null, response_body, error = null } = parsed.data;
  return { status, body: response_body ?? "", error };
}

function parseRows<T>(value: Json, schema: z.ZodType<T>): Rows<T> | undefined {
  if (!Array.isArray(value)) return undefined;
  const rows = value.flatMap((item) => {
    const parsed = schema.safeParse(item);
    return parsed.success ? [parsed.data] : [];
  });
  return { rows, skipped: value.length - rows.length };
}
