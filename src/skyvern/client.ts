/**
 * Skyvern's API as the relay uses it (contract §4): reads, and one try of an address. Results are values. The key is sent only to the origin
 * of the configured base URL, and no reason holds it.
 */
import { z } from "zod";
import { isJsonObject, toNumber, parseJson, type Json, type JsonObject } from "../platform/json.ts";
import { onOneLine } from "../platform/hostile-text.ts";
import { BodyTooLong, type HttpResponse, type Outbound } from "../net/http-client.ts";
import { followRedirects, MAX_REDIRECTS } from "../net/redirects.ts";
import { boundOutput } from "./large-output.ts";
import { retry } from "../platform/retry.ts";
import { readRetryAfter } from "../net/retry-after.ts";
import { systemRuntime, type Runtime } from "../platform/runtime.ts";
import type { Secret } from "../platform/secret.ts";
import { nextAttemptAt, parseTime } from "./normalize.ts";

export interface SkyvernKey {
  name: string;
  key: Secret;
  /** The key's organization, when known. */
  organization: string | null;
}

/**
 * Why a call failed. `not_found`: 404 or 410; of a run only a 404 in which Skyvern says that there is no such run, as a
 * proxy may answer 404 too. `blocked`: 400 of a run, whose webhook address leads to a host that Skyvern does not allow any
 * more; only its list and its artifacts can be read (contract §9). `forbidden`: 403, Skyvern's answer to a bad key (or 401). `rate_limited`:
 * 429. `unavailable`: no answer in time, or 408 or 5xx. `unexpected`: an answer that no retry would change: another
 * status, a redirect, a body that is not what the call answers.
 */
export interface SkyvernFault {
  kind: "not_found" | "blocked" | "forbidden" | "rate_limited" | "unavailable" | "unexpected";
  /** The HTTP status, null when there was no answer. */
  status: number | null;
  reason: string;
  /** The wait that Skyvern's `Retry-After` asked for. */
  retryAfterMs?: number;
}

export type SkyvernResult<T> = { ok: true; value: T } | { ok: false; fault: SkyvernFault };

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
  task_id: text,
  workflow_run_block_id: text,
  /** Self-hosted storage may give a `file:` URL. It lives for about an hour (contract §5). */
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
   * Lets Skyvern POST a sample to an address as it POSTs a run's webhook, and returns the result. Fails with `not_found`
   * where Skyvern has no such call.
   */
  tryWebhook(address: string, signal?: AbortSignal): Promise<SkyvernResult<TriedWebhook>>;
  /** The newest first. Pages shift while runs are added, so callers drop repeated ids. */
  listRuns(query: RunsQuery, signal?: AbortSignal): Promise<SkyvernResult<Rows<SkyvernRunRow>>>;
  /** The organization's workflows, the newest version of each; the first thousand. */
  listWorkflows(signal?: AbortSignal): Promise<SkyvernResult<SkyvernWorkflowRow[]>>;
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

export interface KeyClient {
  name: string;
  organization: string | null;
  client: SkyvernClient;
}

export interface SkyvernClientOptions extends Outbound {
  /** Such as `https://api.skyvern.com`; a path is kept. */
  baseUrl: string;
  /** At least one key; the first is used unless {@link SkyvernClient.with} chooses another. */
  keys: readonly SkyvernKey[];
  sleep?: Runtime["sleep"];
  now?: Runtime["now"];
  random?: Runtime["random"];
  /** The time for each try, ms. Default 30,000. */
  timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 30_000;
/** A workflow is listed with its whole definition. */
const WORKFLOW_PAGE = 50;
const MAX_WORKFLOW_PAGES = 20;
const DEFAULT_TRIES = 3;
const UTF8 = new TextDecoder();
const MAX_JSON_BYTES = 20_000_000;
const FIRST_BACKOFF_MS = 500;
/** A longer `Retry-After` is returned to the caller instead of being waited for. */
const MAX_WAIT_MS = 10_000;

/** Throws for faults of the configuration: no key, an empty key, or an invalid base URL. */
export function createSkyvernClient(options: SkyvernClientOptions): SkyvernClient {
  const [first] = options.keys;
  if (!first) throw new Error("Skyvern's client needs at least one API key.");
  const empty = options.keys.find(({ key }) => key.reveal() === "");
  if (empty) throw new Error(`Skyvern's API key "${empty.name}" is empty.`);
  const base = new URL(options.baseUrl);
  const defaults = { ...systemRuntime(), timeoutMs: DEFAULT_TIMEOUT_MS };
  const context: ClientContext = { ...defaults, ...options, base };
  return clientWith(context, { key: first, tries: DEFAULT_TRIES });
}

interface ClientContext extends Outbound {
  base: URL;
  keys: readonly SkyvernKey[];
  sleep: Runtime["sleep"];
  now: Runtime["now"];
  random: Runtime["random"];
  timeoutMs: number;
}

interface Choice {
  key: SkyvernKey;
  tries: number;
}

interface ApiCall {
  /** The name of the call in reasons. */
  what: string;
  /** The segments after `/v1`, unencoded. */
  path: readonly string[];
  /** Without the leading `?`. */
  query?: string;
  /** JSON to POST; absent: a GET. */
  body?: string;
  signal?: AbortSignal | undefined;
  /** Statuses that are final for this call though retried elsewhere. */
  final?: readonly number[];
  /** A 400 says that a host is blocked. */
  isBlockable?: true;
  /** Judges from the body of a 404 whether the thing is missing; absent: every 404 means that. */
  notFound?(body: string): boolean;
  /** Its answer is a run, whose output may be heavy. */
  isRun?: boolean;
}

function clientWith(context: ClientContext, choice: Choice): SkyvernClient {
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
      return json(call, (value) => (isJsonObject(value) ? value : undefined));
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
      return json({ what: "signed URL", path, signal, final: [503] }, (value) => {
        const parsed = SignedUrlSchema.safeParse(value);
        return parsed.success ? { url: parsed.data.signed_url, expiresAt: parsed.data.expires_at } : undefined;
      });
    },
    version: (signal) =>
      json({ what: "version", path: ["version"], signal }, (value) =>
        isJsonObject(value) && typeof value["version"] === "string" ? value["version"] : undefined,
      ),
    tryWebhook: (address, signal) => {
      const body = JSON.stringify({ webhook_url: address, run_type: "workflow_run" });
      return json({ what: "test webhook", path: ["internal", "test-webhook"], body, signal }, (value) => {
        const parsed = TriedWebhookSchema.safeParse(value);
        if (!parsed.success) return undefined;
        const { status_code: status = null, response_body, error = null } = parsed.data;
        return { status, body: response_body ?? "", error };
      });
    },
    listRuns: ({ page, pageSize, status = [], workflow = [] }, signal) => {
      const query = formatSearch([
        ["page", String(page)],
        ["page_size", String(pageSize)],
        ...status.map((value): [string, string] => ["status", value]),
        ...workflow.map((value): [string, string] => ["workflow_permanent_id", value]),
      ]);
      return json({ what: "list of runs", path: ["runs"], query, signal }, (value) => parseRows(value, RunRowSchema));
    },
    listWorkflows: async (signal) => {
      const workflows: SkyvernWorkflowRow[] = [];
      for (let page = 1; page <= MAX_WORKFLOW_PAGES; page += 1) {
        const query = formatSearch([
          ["page", String(page)],
          ["page_size", String(WORKFLOW_PAGE)],
          ["only_workflows", "true"],
        ]);
        const answer = await json({ what: "list of workflows", path: ["workflows"], query, signal }, (value) =>
          parseRows(value, WorkflowRowSchema),
        );
        if (!answer.ok) return answer;
        workflows.push(...answer.value.rows);
        if (answer.value.rows.length + answer.value.skipped < WORKFLOW_PAGE) break;
      }
      return { ok: true, value: workflows };
    },
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

const formatSearch = (pairs: [string, string][]): string => new URLSearchParams(pairs).toString();

function parseRows<T>(value: Json, schema: z.ZodType<T>): Rows<T> | undefined {
  if (!Array.isArray(value)) return undefined;
  const rows = value.flatMap((item) => {
    const parsed = schema.safeParse(item);
    return parsed.success ? [parsed.data] : [];
  });
  return { rows, skipped: value.length - rows.length };
}

/** Compression is off, because the lists are short. */
const JSON_HEADERS = {
  accept: "application/json",
  "accept-encoding": "identity",
  "user-agent": "skyvern-relay",
} as const;

/** `read` returns undefined for a body of another form. */
function callJson<T>(
  context: ClientContext,
  choice: Choice,
  call: ApiCall,
  read: (json: Json) => T | undefined,
): Promise<SkyvernResult<T>> {
  return withRetries(context, choice, call, async (url) => {
    const timeout = AbortSignal.timeout(context.timeoutMs);
    const signal = call.signal ? AbortSignal.any([call.signal, timeout]) : timeout;
    try {
      const headers = { "x-api-key": choice.key.key.reveal(), ...JSON_HEADERS };
      const post = call.body === undefined ? {} : ({ method: "POST", body: call.body } as const);
      if (call.body !== undefined) Object.assign(headers, { "content-type": "application/json" });
      const answer = await context.request(url, { headers, ...post, signal, maxBytes: MAX_JSON_BYTES });
      const { status, missing } = answer;
      if (missing?.why instanceof BodyTooLong) return unexpected(call, status, `more than ${MAX_JSON_BYTES / 1e6} MB`);
      if (missing) throw missing.why;
      const body = UTF8.decode(answer.body);
      if (status !== 200) return { ok: false, fault: toFault(context, choice, call, answer, body) };
      const value = read(parseJson(call.isRun === true ? (boundOutput(body) ?? body) : body));
      return value === undefined ? unexpected(call, status, "JSON of another shape") : { ok: true as const, value };
    } catch (error) {
      if (error instanceof SyntaxError) return unexpected(call, 200, "a body that is not JSON");
      if (error instanceof RangeError) return unexpected(call, 200, "JSON nested too deeply");
      return { ok: false, fault: noAnswer(context, choice, call, error, timeout.aborted) };
    }
  });
}

/**
 * Content may be redirected to a storage host. Redirects are followed without the key, to http(s) only, each hop by the
 * guarded fetch.
 */
function openStream(
  context: ClientContext,
  choice: Choice,
  call: ApiCall,
  range?: string,
): Promise<SkyvernResult<Response>> {
  return withRetries(context, choice, call, async (start) => {
    const deadline = createDeadline(context.timeoutMs, call.signal);
    // The other side must not redirect back with the key to an address of its choice.
    let isOurs = true;
    try {
      const response = await followRedirects(start, (url) => {
        isOurs &&= url.origin === context.base.origin;
        const headers = new Headers({ accept: "*/*", "accept-encoding": "identity" });
        if (range !== undefined) headers.set("range", range);
        if (isOurs) headers.set("x-api-key", choice.key.key.reveal());
        return context.fetch(url, { redirect: "manual", signal: deadline.signal, headers });
      });
      if (response === null) return unexpected(call, null, `more than ${MAX_REDIRECTS} redirects`);
      if (response.status === 200 || response.status === 206) return { ok: true as const, value: response };
      return { ok: false, fault: toFault(context, choice, call, response, (await readText(response)) ?? "") };
    } catch (error) {
      return { ok: false, fault: noAnswer(context, choice, call, error, deadline.timedOut()) };
    } finally {
      deadline.clear();
    }
  });
}

/** Makes at most `choice.tries` tries for what may pass: no answer, 408, 429, 5xx. */
async function withRetries<T>(
  context: ClientContext,
  choice: Choice,
  call: ApiCall,
  attempt: (url: URL) => Promise<SkyvernResult<T>>,
): Promise<SkyvernResult<T>> {
  const url = buildUrl(context.base, call);
  if (url === null)
    return toFailure("not_found", null, `Skyvern was not asked for the ${call.what}: that is not an id`);
  if (call.signal?.aborted)
    return toFailure("unavailable", null, `Skyvern was not asked for the ${call.what}: aborted`);
  return retry({
    act: () => attempt(url),
    waitMs: (result, tried) => {
      if (result.ok || tried >= choice.tries || !mayPass(result.fault, call)) return null;
      const backoffMs = FIRST_BACKOFF_MS * 2 ** (tried - 1) * (1 + context.random());
      const waitMs = Math.max(backoffMs, result.fault.retryAfterMs ?? 0);
      return waitMs > MAX_WAIT_MS ? null : waitMs;
    },
    sleep: context.sleep,
    signal: call.signal,
  });
}

const mayPass = ({ kind, status }: SkyvernFault, call: ApiCall): boolean =>
  (kind === "unavailable" || kind === "rate_limited") && !(status !== null && call.final?.includes(status));

/** Null for segments that are no ids: a URL parser would resolve `..`, also when it is percent-encoded. */
function buildUrl(base: URL, { path, query }: ApiCall): URL | null {
  if (path.some((segment) => /^\.{0,2}$/.test(segment) || !segment.isWellFormed())) return null;
  const under = `${base.pathname.replace(/\/+$/, "")}/v1/${path.map(encodeURIComponent).join("/")}`;
  return new URL(`${base.origin}${under}${query ? `?${query}` : ""}`);
}

/** A content body may still stream when the wait for its headers is over. */
interface HeadersDeadline {
  signal: AbortSignal;
  timedOut(): boolean;
  /** Ends the timeout; the caller's own signal still applies to a body that is streaming. */
  clear(): void;
}

function createDeadline(timeoutMs: number, signal: AbortSignal | undefined): HeadersDeadline {
  const timeout = new AbortController();
  const timer = setTimeout(() => timeout.abort(), timeoutMs);
  return {
    signal: signal ? AbortSignal.any([signal, timeout.signal]) : timeout.signal,
    timedOut: () => timeout.signal.aborted,
    clear: () => clearTimeout(timer),
  };
}

/** Null when the body is over the limit; the rest is discarded unread. */
async function readText(response: Response): Promise<string | null> {
  const announced = Number(response.headers.get("content-length") ?? 0);
  if (announced > MAX_JSON_BYTES) {
    await response.body?.cancel();
    return null;
  }
  // The announced length applies unless the body is decompressed on the way.
  if (announced > 0 && !response.headers.has("content-encoding")) return response.text();
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    // Leaving the loop cancels the stream.
    if (size > MAX_JSON_BYTES) return null;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

const toFailure = (kind: SkyvernFault["kind"], status: number | null, reason: string): SkyvernResult<never> => ({
  ok: false,
  fault: { kind, status, reason },
});

const unexpected = (call: ApiCall, status: number | null, came: string): SkyvernResult<never> =>
  toFailure("unexpected", status, `Skyvern answered the ${call.what} with ${came}`);

function toFault(
  context: ClientContext,
  choice: Choice,
  call: ApiCall,
  response: Answered,
  body: string,
): SkyvernFault {
  const { status } = response;
  const detail = scrub(readDetail(body), choice);
  const retryAfterMs = readRetryAfter(response.headers, context.now());
  const isOther = status === 404 && call.notFound?.(body) === false;
  return {
    kind: isOther ? "unexpected" : status === 400 && call.isBlockable === true ? "blocked" : faultKind(status),
    status,
    reason: `Skyvern answered the ${call.what} with ${status}${detail === "" ? "" : `: ${detail}`}`,
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
  };
}

type Answered = Pick<HttpResponse, "status" | "headers">;

function faultKind(status: number): SkyvernFault["kind"] {
  if (status === 404 || status === 410) return "not_found";
  if (status === 403 || status === 401) return "forbidden";
  if (status === 429) return "rate_limited";
  return status === 408 || status >= 500 ? "unavailable" : "unexpected";
}

function noAnswer(
  context: ClientContext,
  choice: Choice,
  call: ApiCall,
  error: unknown,
  timedOut: boolean,
): SkyvernFault {
  const why = call.signal?.aborted
    ? "aborted"
    : timedOut
      ? `nothing within ${context.timeoutMs} ms`
      : scrub(describeCause(error), choice);
  return { kind: "unavailable", status: null, reason: `Skyvern did not answer the ${call.what}: ${why}` };
}

/** The code or message of the innermost error, because fetch wraps what happened. */
function describeCause(error: unknown): string {
  if (!(error instanceof Error)) return "network error";
  if (error.cause instanceof Error) return describeCause(error.cause);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}

/**
 * Skyvern's own message: `{"detail": text}` or `{"error": text}`. Nothing is taken from any other body, which may be a
 * proxy's page.
 */
function readDetail(body: string): string {
  try {
    const json = parseJson(body);
    const words = isJsonObject(json) ? (json["detail"] ?? json["error"]) : null;
    return typeof words === "string" ? words : "";
  } catch {
    return "";
  }
}

/** Skyvern says `Task run not found ID`; for a workflow run's id it sends no body at all (contract §4). */
function saysNoRun(id: string, body: string): boolean {
  if (body === "") return id.startsWith("wr_");
  const detail = readDetail(body);
  return detail.includes(id) || /\brun not found\b/i.test(detail);
}

/** One short line, with the key removed in case the other side echoed it. */
const scrub = (words: string, { key }: Choice): string =>
  onOneLine(words.replaceAll(key.key.reveal(), "[secret]")).slice(0, 200).toWellFormed();
