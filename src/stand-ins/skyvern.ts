/**
 * A Skyvern on loopback for the demo and the tests: the parts of its API the relay reads and its webhooks, held to the
 * wire contract, its traps included. Knows nothing of the relay's own code for Skyvern, so that both can disagree.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import http, { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { isJsonObject, type Json, type JsonObject } from "../platform/json.ts";
import { systemRuntime, type Runtime } from "../platform/runtime.ts";

export interface StandInArtifact {
  artifact_id: string;
  artifact_type: string;
  /** A tiny PNG, a few bytes of webm or a line of text unless given. */
  bytes?: Uint8Array;
  /** Of a download. */
  filename?: string;
  /** Skyvern's naive UTC. */
  created_at?: string;
  archived?: boolean;
  /** Where its storage keeps it. */
  uri?: string;
}

export interface StandInRun {
  /** A webhook's body or an answer of GET run. Its artifact URLs are minted anew each time it is shown. */
  payload: JsonObject;
  /** Added to the artifacts that the payload's URLs name, which need not be repeated. */
  artifacts?: StandInArtifact[];
  /** What GET run says the run was started with, when the payload does not say. */
  run_request?: JsonObject;
  /** The organization whose keys see it: the first key's unless told. */
  organization?: string;
  /** `api`, `scheduled`, … */
  trigger_type?: string;
  /** Child and debug runs are missing in the list of runs. */
  unlisted?: boolean;
}

/** What the next fitting request gets instead of an answer. The first that fits is used up first. */
export interface StandInFault {
  /** Tested against `/v1/runs/wr_1/artifacts`; every path when missing. */
  on?: RegExp;
  /** 1 unless told. */
  times?: number;
  status?: number;
  headers?: Record<string, string>;
  /** Skyvern's own body for the status unless given. */
  body?: string;
  /** `hang`: no answer. `reset`: the connection breaks. */
  instead?: "hang" | "reset";
}

/** A request that arrived. */
export interface StandInCall {
  method: string;
  path: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
}

export interface WebhookResult {
  delivered: boolean;
  /** In order; `status` is null when no answer came, `error` says why then. */
  attempts: { status: number | null; body: string; error: string | null }[];
  /** What Skyvern would store as the run's `webhook_failure_reason`. */
  failureReason: string | null;
}

export interface StandInSkyvern {
  readonly url: string;
  readonly runs: Map<string, StandInRun>;
  readonly calls: StandInCall[];
  readonly faults: StandInFault[];
  addRun(run: StandInRun): void;
  /**
   * POSTs as Skyvern does: a run by its id, an object, or the exact bytes. Up to 3 attempts with one body, signature and
   * timestamp; 403, 408, 425, 429, 5xx and network errors are tried again, redirects are not followed.
   */
  sendWebhook(what: string | JsonObject | Uint8Array, url: string, key: string): Promise<WebhookResult>;
  close(): Promise<void>;
}

export interface StandInSkyvernOptions {
  /** Every key that is let in. A bare text belongs to {@link DEFAULT_ORGANIZATION}. */
  keys: readonly (string | { key: string; organization: string })[];
  /** `local` is self-hosted without cloud storage: `file:` URLs, no signing. `cloud` unless told. */
  storage?: "cloud" | "local";
  /** `missing` answers 404 like a Skyvern before v1.0.47, `unconfigured` 503. By the storage unless told. */
  signedUrls?: "ok" | "missing" | "unconfigured";
  /** The artifact types it knows; others are refused with 422. */
  artifactTypes?: readonly string[];
  now?: Runtime["now"];
  random?: Runtime["random"];
  sleep?: Runtime["sleep"];
  /** Of webhooks: 1 000 in Skyvern, doubled before the third attempt. */
  backoffMs?: number;
  /** Of one webhook attempt: 30 000 in Skyvern. */
  webhookTimeoutMs?: number;
  /** Told of each request before it is answered: what it adds or changes is in the answer. */
  onCall?: (call: StandInCall) => void;
}

export const DEFAULT_ORGANIZATION = "o_512846093377601280";

/** 16×9 pixels of one blue. */
export const TINY_PNG: Uint8Array = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAABAAAAAJCAIAAAC0SDtlAAAAFElEQVR42mPQztlAEmIY1TAoNAAALmO38Z6fgBcAAAAASUVORK5CYII=",
  "base64",
);
/** The head of a webm file. */
export const TINY_WEBM: Uint8Array = Buffer.from(
  "1a45dfa39f4286810142f7810142f2810442f381084282847765626d42878104",
  "hex",
);

const HOUR = 3_600_000;
const SIGNED_URL_LIFE_MS = 5 * 60_000;
const MAX_RETRY_AFTER_MS = 30_000;
const RETRIED = new Set([403, 408, 425, 429]);

const ARTIFACT_TYPES = [
  "recording",
  "audio",
  "session_replay",
  "screenshot_llm",
  "screenshot_action",
  "screenshot_final",
  "screenshot_proxy",
  "download",
  "pdf",
  "har",
  "trace",
  "browser_console_log",
  "skyvern_log",
  "step_archive",
  "task_archive",
  "script_file",
  "llm_prompt",
  "llm_request",
  "llm_response",
  "llm_response_parsed",
  "html_scrape",
  "html_action",
  "visible_elements_tree",
];

const STATUSES = new Set([
  "created",
  "queued",
  "running",
  "paused",
  "timed_out",
  "failed",
  "terminated",
  "completed",
  "canceled",
]);

/** What task and workflow runs both answer; everything else of a webhook is missing in GET run. */
const RUN_KEYS = [
  "run_id",
  "status",
  "output",
  "downloaded_files",
  "recording_url",
  "recording_archived",
  "screenshot_urls",
  "failure_reason",
  "created_at",
  "modified_at",
  "queued_at",
  "started_at",
  "finished_at",
  "app_url",
  "browser_session_id",
  "browser_profile_id",
  "max_screenshot_scrolls",
  "script_run",
  "errors",
  "step_count",
  "run_type",
];

/** Listens on a free port of 127.0.0.1. */
export async function startSkyvern(options: StandInSkyvernOptions): Promise<StandInSkyvern> {
  const state = createState(options);
  const server = http.createServer((request, response) => {
    request.resume();
    serve(state, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  state.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: state.url,
    runs: state.runs,
    calls: state.calls,
    faults: state.faults,
    addRun: (run) => void state.runs.set(idOf(run), run),
    sendWebhook: async (what, url, key) => sendWebhook(state, toBody(state, what), url, key),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface SkyvernState {
  url: string;
  keys: { key: string; organization: string }[];
  storage: "cloud" | "local";
  signedUrls: "ok" | "missing" | "unconfigured";
  artifactTypes: readonly string[];
  runtime: Pick<Runtime, "now" | "random" | "sleep">;
  backoffMs: number;
  webhookTimeoutMs: number;
  onCall: (call: StandInCall) => void;
  runs: Map<string, StandInRun>;
  calls: StandInCall[];
  faults: StandInFault[];
}

function createState(options: StandInSkyvernOptions): SkyvernState {
  const storage = options.storage ?? "cloud";
  return {
    url: "",
    keys: options.keys.map((key) => (typeof key === "string" ? { key, organization: DEFAULT_ORGANIZATION } : key)),
    storage,
    signedUrls: options.signedUrls ?? (storage === "cloud" ? "ok" : "unconfigured"),
    artifactTypes: options.artifactTypes ?? ARTIFACT_TYPES,
    runtime: { ...systemRuntime(), ...options },
    backoffMs: options.backoffMs ?? 1000,
    webhookTimeoutMs: options.webhookTimeoutMs ?? 30_000,
    onCall: options.onCall ?? (() => {}),
    runs: new Map(),
    calls: [],
    faults: [],
  };
}

interface StandInAnswer {
  status: number;
  headers?: Record<string, string>;
  body: string | Uint8Array;
}

const json = (status: number, value: unknown): StandInAnswer => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify(value),
});
const detail = (status: number, text: string): StandInAnswer => json(status, { detail: text });
const EMPTY_404: StandInAnswer = { status: 404, body: "" };

function serve(state: SkyvernState, request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url ?? "/", state.url);
  const call = { method: request.method ?? "GET", path: pathname, query: searchParams, headers: request.headers };
  state.calls.push(call);
  state.onCall(call);
  const fault = takeFault(state.faults, pathname);
  if (fault?.instead === "hang") return;
  if (fault?.instead === "reset") return void request.socket.destroy();
  const { status, headers = {}, body } = fault ? answerOfFault(fault) : answer(state, call);
  response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(body) }).end(body);
}

function takeFault(faults: StandInFault[], path: string): StandInFault | undefined {
  const index = faults.findIndex(({ on }) => on === undefined || on.test(path));
  const fault = faults[index];
  if (!fault) return undefined;
  const left = (fault.times ?? 1) - 1;
  if (left > 0) faults[index] = { ...fault, times: left };
  else faults.splice(index, 1);
  return fault;
}

function answerOfFault({ status = 500, headers, body }: StandInFault): StandInAnswer {
  const own: Record<number, StandInAnswer> = {
    403: detail(403, "Invalid credentials"),
    404: EMPTY_404,
    429: detail(429, "Rate limit exceeded: 100 per 1 minute"),
    500: json(500, { error: "Unexpected error: OperationalError" }),
    503: detail(503, "Service Unavailable"),
  };
  const answer = own[status] ?? detail(status, "A fault on order");
  return { status, headers: { ...answer.headers, ...headers }, body: body ?? answer.body };
}

function answer(state: SkyvernState, call: StandInCall): StandInAnswer {
  const [version, kind, id, part, ...rest] = call.path.split("/").slice(1).map(decode);
  if (version !== "v1" || call.method !== "GET" || rest.length > 0) return detail(404, "Not Found");
  if (kind === "artifacts" && id !== undefined && part === "content") return content(state, call, id);
  const organization = authorize(state, call);
  if (typeof organization !== "string") return organization;
  const runs = [...state.runs.values()].filter(
    (run) => (run.organization ?? firstOrganization(state)) === organization,
  );
  if (kind === "runs" && id === undefined) return listRuns(runs, call.query);
  if (kind === "runs" && id !== undefined && part === undefined) return getRun(state, runs, id);
  if (kind === "runs" && id !== undefined && part === "artifacts") return listArtifacts(state, runs, id, call.query);
  if (kind === "artifacts" && id !== undefined && part === undefined) return getArtifact(state, runs, id);
  if (kind === "artifacts" && id !== undefined && part === "signed-url") return signedUrl(state, runs, id);
  return detail(404, "Not Found");
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

const firstOrganization = (state: SkyvernState): string => state.keys[0]?.organization ?? DEFAULT_ORGANIZATION;

/** The exact key or 403, never 401; what cannot be decoded as a token has its own words. */
function authorize(state: SkyvernState, { headers }: StandInCall): string | StandInAnswer {
  const given = headers["x-api-key"];
  const known = state.keys.find(({ key }) => key === given);
  if (known) return known.organization;
  const isToken = given === undefined || /^eyJ[\w-]*\.[\w-]+\.[\w-]+$/.test(String(given));
  return detail(403, isToken ? "Invalid credentials" : "Could not validate credentials");
}

const idOf = ({ payload }: StandInRun): string =>
  asText(payload["run_id"]) ?? asText(payload["task_id"]) ?? asText(payload["workflow_run_id"]) ?? "";

const asText = (value: Json | undefined): string | null => (typeof value === "string" && value !== "" ? value : null);

/** A workflow run's own id, or the `wr_…` that a v2 task runs in. */
const workflowRunIdOf = (run: StandInRun): string | null => {
  const own = idOf(run);
  if (own.startsWith("wr_")) return own;
  return (
    asText(run.payload["workflow_run_id"]) ?? /\/runs\/(wr_\w+)/.exec(asText(run.payload["app_url"]) ?? "")?.[1] ?? null
  );
};

const findRun = (runs: StandInRun[], id: string): StandInRun | undefined =>
  runs.find((run) => idOf(run) === id || workflowRunIdOf(run) === id);

function getRun(state: SkyvernState, runs: StandInRun[], id: string): StandInAnswer {
  const run = findRun(runs, id);
  if (!run) return id.startsWith("wr_") ? EMPTY_404 : detail(404, `Task run not found ${id}`);
  const shown = shownPayload(state, run);
  const common = Object.fromEntries(RUN_KEYS.map((key) => [key, shown[key] ?? null]));
  return json(200, { ...common, run_id: idOf(run), run_request: requestOf(run) });
}

function requestOf({ payload, run_request }: StandInRun): JsonObject {
  const own = payload["run_request"];
  if (isJsonObject(own)) return { ...own, ...run_request };
  const { prompt = null, url = null, title = null, webhook_callback_url = null } = payload;
  return { prompt, url, title, webhook_url: webhook_callback_url, ...run_request };
}

function listRuns(runs: StandInRun[], query: URLSearchParams): StandInAnswer {
  const page = Number(query.get("page") ?? 1);
  const pageSize = Number(query.get("page_size") ?? 10);
  for (const [name, value] of [["page", page] as const, ["page_size", pageSize] as const]) {
    if (!Number.isInteger(value))
      return invalid(name, "int_parsing", "Input should be a valid integer", query.get(name));
    if (value < 1) return invalid(name, "greater_than_equal", "Input should be greater than or equal to 1", value);
    if (value > 100) return invalid(name, "less_than_equal", "Input should be less than or equal to 100", value);
  }
  const bad = query.getAll("status").find((status) => !STATUSES.has(status));
  if (bad !== undefined) return invalid("status", "enum", "Input should be a known status", bad);
  const search = query.get("search_key");
  if (search !== null && search.length < 3) {
    return invalid("search_key", "string_too_short", "String should have at least 3 characters", search);
  }
  const rows = runs
    .filter(({ unlisted }) => unlisted !== true)
    .map(runRow)
    .filter((row) => fits(row.status, query.getAll("status")))
    .filter((row) => fits(row.task_run_type, query.getAll("run_type")))
    .filter((row) => fits(row.workflow_permanent_id, query.getAll("workflow_permanent_id")))
    .filter((row) => search === null || `${row.title ?? ""} ${row.run_id}`.toLowerCase().includes(search.toLowerCase()))
    .sort((a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? ""));
  return json(200, rows.slice((page - 1) * pageSize, page * pageSize));
}

const fits = (value: string | null, wanted: string[]): boolean =>
  wanted.length === 0 || (value !== null && wanted.includes(value));

function runRow(run: StandInRun) {
  const { payload } = run;
  const runId = idOf(run);
  return {
    task_run_id: `tr_${/\w+?_(\w+)$/.exec(runId)?.[1] ?? runId}`,
    run_id: runId,
    task_run_type: asText(payload["run_type"]),
    status: asText(payload["status"]),
    title: asText(payload["workflow_title"]) ?? asText(requestOf(run)["title"]),
    started_at: asText(payload["started_at"]),
    finished_at: asText(payload["finished_at"]),
    created_at: asText(payload["created_at"]),
    workflow_permanent_id: asText(payload["workflow_permanent_id"]),
    workflow_deleted: false,
    script_run: isJsonObject(payload["script_run"]),
    trigger_type: run.trigger_type ?? null,
  };
}

const invalid = (name: string, type: string, msg: string, input: unknown, index?: number): StandInAnswer =>
  json(422, { detail: [{ type, loc: ["query", name, ...(index === undefined ? [] : [index])], msg, input }] });

/**
 * Rows are matched on the task's id for `tsk_…`, which no v2 task and no download has, and on the workflow run's id for
 * `wr_…`. An unknown id is an empty list.
 */
function listArtifacts(state: SkyvernState, runs: StandInRun[], id: string, query: URLSearchParams): StandInAnswer {
  const types = query.getAll("artifact_type");
  const bad = types.findIndex((type) => !state.artifactTypes.includes(type));
  if (bad !== -1) {
    return invalid("artifact_type", "enum", `Input should be ${state.artifactTypes.join(", ")}`, types[bad], bad);
  }
  const run = runs.find((run) => (id.startsWith("wr_") ? workflowRunIdOf(run) === id : idOf(run) === id));
  if (!run || /^(tsk_v2_|oc_)/.test(id)) return json(200, []);
  const rows = collectArtifacts(run)
    .filter(({ artifact_type }) => id.startsWith("wr_") || artifact_type !== "download")
    .filter(({ artifact_type }) => types.length === 0 || types.includes(artifact_type))
    .map((artifact) => artifactRow(state, run, artifact))
    .sort((a, b) => a.created_at.localeCompare(b.created_at));
  return json(200, rows);
}

/** Those that the payload's URLs name, screenshots oldest first, then those given apart, which win. */
function collectArtifacts(run: StandInRun): StandInArtifact[] {
  const { payload, artifacts = [] } = run;
  const found = new Map<string, StandInArtifact>();
  const add = (url: Json | undefined, artifact_type: string, filename?: string) => {
    const artifact_id = ARTIFACT_URL.exec(asText(url) ?? "")?.[1];
    if (artifact_id !== undefined)
      found.set(artifact_id, { artifact_id, artifact_type, ...(filename ? { filename } : {}) });
  };
  add(payload["recording_url"], "recording");
  for (const url of asList(payload["screenshot_urls"]).toReversed()) add(url, "screenshot_action");
  add(payload["screenshot_url"], "screenshot_final");
  for (const file of asList(payload["downloaded_files"])) {
    if (isJsonObject(file)) add(file["url"], "download", asText(file["filename"]) ?? "download");
  }
  for (const artifact of artifacts) found.set(artifact.artifact_id, artifact);
  return [...found.values()];
}

const ARTIFACT_URL = /^https?:\/\/[^/]+\/v1\/artifacts\/([^/?]+)\/content/;
const asList = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : []);

function artifactRow(state: SkyvernState, run: StandInRun, artifact: StandInArtifact) {
  const runId = idOf(run);
  const created = artifact.created_at ?? asText(run.payload["finished_at"]) ?? "2026-08-21T06:00:00";
  const isTask = runId.startsWith("tsk_") && !runId.startsWith("tsk_v2_");
  return {
    created_at: created,
    modified_at: created,
    artifact_id: artifact.artifact_id,
    artifact_type: artifact.artifact_type,
    uri:
      artifact.uri ??
      (state.storage === "local" ? fileUrl(run, artifact) : `s3://skyvern-artifacts/${artifact.artifact_id}`),
    bundle_key: null,
    checksum: null,
    file_size: bytesOf(artifact).byteLength,
    task_id: isTask && artifact.artifact_type !== "download" ? runId : null,
    step_id: null,
    workflow_run_id: workflowRunIdOf(run),
    workflow_run_block_id: null,
    run_id: runId,
    browser_session_id: null,
    observer_cruise_id: null,
    observer_thought_id: null,
    ai_suggestion_id: null,
    signed_url: artifactUrl(state, run, artifact),
    archived: artifact.archived ?? false,
    organization_id: run.organization ?? firstOrganization(state),
  };
}

function findArtifact(runs: Iterable<StandInRun>, id: string) {
  for (const run of runs) {
    const artifact = collectArtifacts(run).find(({ artifact_id }) => artifact_id === id);
    if (artifact) return { run, artifact };
  }
  return null;
}

function getArtifact(state: SkyvernState, runs: StandInRun[], id: string): StandInAnswer {
  const found = findArtifact(runs, id);
  return found ? json(200, artifactRow(state, found.run, found.artifact)) : detail(404, `Artifact not found ${id}`);
}

function signedUrl(state: SkyvernState, runs: StandInRun[], id: string): StandInAnswer {
  if (state.signedUrls === "missing") return detail(404, "Not Found");
  if (state.signedUrls === "unconfigured") return detail(503, "Artifact URL signing is not configured");
  if (!findArtifact(runs, id)) return detail(404, `Artifact not found ${id}`);
  const expiry = Math.floor((state.runtime.now() + SIGNED_URL_LIFE_MS) / 1000);
  return json(200, { artifact_id: id, signed_url: contentUrl(state, id, expiry), expires_at: expiry });
}

/** Bytes for a key, or for a signature that is not past its time. */
function content(state: SkyvernState, call: StandInCall, id: string): StandInAnswer {
  const { query, headers } = call;
  if (headers["x-api-key"] === undefined && query.has("sig")) {
    if (state.storage === "local") return detail(503, "Artifact URL signing is not configured");
    if (!isSigned(state, id, query)) return detail(403, "Invalid or expired artifact URL");
  } else {
    const organization = authorize(state, call);
    if (typeof organization !== "string") return organization;
  }
  const artifact = findArtifact(state.runs.values(), id)?.artifact;
  if (!artifact || artifact.archived === true) return detail(404, `Artifact not found ${id}`);
  return ranged(bytesOf(artifact), contentHeaders(artifact), headers.range);
}

function isSigned(state: SkyvernState, id: string, query: URLSearchParams): boolean {
  const expiry = Number(query.get("expiry"));
  const given = Buffer.from(query.get("sig") ?? "");
  const right = Buffer.from(sign(id, expiry));
  return given.length === right.length && timingSafeEqual(given, right) && expiry * 1000 > state.runtime.now();
}

/** Only recordings and downloads have a content type of their own (contract §4). */
function contentHeaders(artifact: StandInArtifact): Record<string, string> {
  const name = artifact.filename ?? artifact.artifact_id;
  if (artifact.artifact_type === "download") {
    return {
      "content-type": "application/octet-stream",
      "content-disposition": `attachment; filename*=UTF-8''${encodeURIComponent(name)}`,
    };
  }
  if (artifact.artifact_type !== "recording") return { "content-type": "application/json" };
  const isWebm = Buffer.from(bytesOf(artifact)).subarray(0, 4).toString("hex") === "1a45dfa3";
  return { "content-type": isWebm ? "video/webm" : "video/mp4" };
}

function ranged(bytes: Uint8Array, headers: Record<string, string>, range: string | undefined): StandInAnswer {
  const all = { ...headers, "accept-ranges": "bytes" };
  const match = /^bytes=(\d*)-(\d*)$/.exec(range ?? "");
  if (!match || (match[1] === "" && match[2] === "")) return { status: 200, headers: all, body: bytes };
  const size = bytes.byteLength;
  const start = match[1] === "" ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const end = match[1] === "" || match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (start > end) return { status: 416, headers: { ...all, "content-range": `bytes */${size}` }, body: "" };
  const contentRange = { "content-range": `bytes ${start}-${end}/${size}` };
  return { status: 206, headers: { ...all, ...contentRange }, body: bytes.subarray(start, end + 1) };
}

function bytesOf({ artifact_type, bytes }: StandInArtifact): Uint8Array {
  if (bytes) return bytes;
  if (artifact_type.startsWith("screenshot")) return TINY_PNG;
  return artifact_type === "recording" ? TINY_WEBM : Buffer.from(`sample ${artifact_type}\n`);
}

const SIGNING_KEY = "stand-in signing key";
const sign = (id: string, expiry: number): string =>
  createHmac("sha256", SIGNING_KEY).update(`${id}:${expiry}`).digest("base64url");

const contentUrl = ({ url }: SkyvernState, id: string, expiry: number): string =>
  `${url}/v1/artifacts/${id}/content?expiry=${expiry}&kid=k2026-06&sig=${sign(id, expiry)}`;

/** Screenshots and recordings live one hour, the rest twelve (contract §5). */
function artifactUrl(state: SkyvernState, run: StandInRun, artifact: StandInArtifact): string {
  if (state.storage === "local") return artifact.uri ?? fileUrl(run, artifact);
  const life = /^(screenshot|recording|session_replay)/.test(artifact.artifact_type) ? HOUR : 12 * HOUR;
  return contentUrl(state, artifact.artifact_id, Math.floor((state.runtime.now() + life) / 1000));
}

function fileUrl(run: StandInRun, { artifact_id, artifact_type, filename }: StandInArtifact): string {
  if (artifact_type === "download") return `file:///data/downloads/${idOf(run)}/${encodeURIComponent(filename ?? "")}`;
  const extension = artifact_type === "recording" ? "webm" : artifact_type.startsWith("screenshot") ? "png" : "log";
  return `file:///data/artifacts/local/${DEFAULT_ORGANIZATION}/${idOf(run)}/${artifact_id}_${artifact_type}.${extension}`;
}

/** The payload with every artifact URL in it minted now, at any depth. On local storage files have no artifact id. */
function shownPayload(state: SkyvernState, run: StandInRun): JsonObject {
  const artifacts = new Map(collectArtifacts(run).map((artifact) => [artifact.artifact_id, artifact]));
  const show = (value: Json): Json => {
    if (typeof value === "string") {
      const artifact = artifacts.get(ARTIFACT_URL.exec(value)?.[1] ?? "");
      return artifact ? artifactUrl(state, run, artifact) : value;
    }
    if (Array.isArray(value)) return value.map(show);
    return isJsonObject(value) ? showObject(value) : value;
  };
  const showObject = (object: JsonObject): JsonObject => {
    const shown = Object.fromEntries(Object.entries(object).map(([key, value]) => [key, show(value)]));
    return state.storage === "local" && "artifact_id" in shown ? { ...shown, artifact_id: null } : shown;
  };
  return showObject(run.payload);
}

function toBody(state: SkyvernState, what: string | JsonObject | Uint8Array): Uint8Array {
  if (what instanceof Uint8Array) return what;
  if (typeof what !== "string") return Buffer.from(JSON.stringify(what));
  const run = state.runs.get(what);
  if (!run) throw new Error(`The stand-in Skyvern has no run ${what}.`);
  return Buffer.from(JSON.stringify(shownPayload(state, run)));
}

async function sendWebhook(state: SkyvernState, body: Uint8Array, url: string, key: string): Promise<WebhookResult> {
  const { now, random, sleep } = runtimeOf(state);
  const headers = {
    Accept: "*/*",
    "Accept-Encoding": "gzip, deflate",
    Connection: "keep-alive",
    "User-Agent": "python-httpx/0.28.1",
    "x-skyvern-timestamp": String(Math.floor(now() / 1000)),
    "x-skyvern-signature": createHmac("sha256", key).update(body).digest("hex"),
    "Content-Type": "application/json",
    "Content-Length": String(body.byteLength),
  };
  const attempts: WebhookResult["attempts"] = [];
  for (let attempt = 1; ; attempt++) {
    const came = await post(url, headers, body, state.webhookTimeoutMs);
    attempts.push({ status: came.status, body: came.body, error: came.error });
    if (came.status !== null && came.status >= 200 && came.status < 300) {
      return { delivered: true, attempts, failureReason: null };
    }
    const again = came.status === null || RETRIED.has(came.status) || came.status >= 500;
    if (!again || attempt === 3) {
      const reason = `Webhook failed with status code ${came.status}, error message: ${came.body}`;
      return { delivered: false, attempts, failureReason: came.status === null ? came.error : reason };
    }
    const backoff = state.backoffMs * (2 ** (attempt - 1) + random());
    await sleep(came.retryAfterMs === null ? backoff : Math.min(came.retryAfterMs, MAX_RETRY_AFTER_MS));
  }
}

const runtimeOf = ({ runtime }: SkyvernState) => ({
  now: () => runtime.now(),
  random: () => runtime.random(),
  sleep: (ms: number) => runtime.sleep(ms),
});

interface Came {
  status: number | null;
  body: string;
  error: string | null;
  retryAfterMs: number | null;
}

/** One POST on a new connection. */
function post(url: string, headers: Record<string, string>, body: Uint8Array, timeoutMs: number): Promise<Came> {
  return new Promise((resolve) => {
    const failed = (error: string) => resolve({ status: null, body: "", error, retryAfterMs: null });
    const send = url.startsWith("https:") ? https.request : http.request;
    const signal = AbortSignal.timeout(timeoutMs);
    const request = send(url, { method: "POST", headers, agent: false, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", (error) => failed(error.message));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks).toString("utf8"),
          error: null,
          retryAfterMs: parseRetryAfter(response.headers["retry-after"], response.headers.date),
        }),
      );
    });
    request.on("error", (error) => failed(signal.aborted ? "timed out" : error.message));
    request.end(body);
  });
}

/** Seconds, or an HTTP date against the receiver's own `Date`. */
function parseRetryAfter(value: string | undefined, date: string | undefined): number | null {
  if (value === undefined) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const ms = Date.parse(value) - Date.parse(date ?? "");
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
