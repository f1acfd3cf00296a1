/**
 * Reads every shape that Skyvern has ever POSTed. It is lenient: a payload needs only a run id and a status. A known
 * key with a value of an unexpected type counts as absent; unknown keys, values, run types and id prefixes pass (P5).
 * The raw body is stored, so nothing is lost.
 */
import { isJsonObject, toNumber, parseJson, type Json, type JsonObject } from "../platform/json.ts";
import { discard } from "../platform/memory/discard.ts";
import { boundOutput, MAX_VALUES_BESIDE } from "./large-output.ts";
import type { Redact } from "./redact.ts";

type Text = string | null;

/** A payload that names a run and its status. Unknown keys are in it too, untyped. */
export interface Payload {
  /** The first of `run_id`, `task_id`, `workflow_run_id` with a value. */
  id: string;
  run_id?: Text;
  task_id?: Text;
  workflow_run_id?: Text;
  run_type?: Text;
  status: string;
  output?: Json;
  outputs?: Json;
  extracted_information?: Json;
  failure_reason?: Text;
  failure_category?: ({ category: string } | null)[] | null;
  errors?: Json[] | null;
  downloaded_files?: (File | null)[] | null;
  downloaded_file_urls?: Text[] | null;
  recording_url?: Text;
  screenshot_url?: Text;
  screenshot_urls?: Text[] | null;
  action_screenshot_urls?: Text[] | null;
  app_url?: Text;
  created_at?: Text;
  modified_at?: Text;
  queued_at?: Text;
  started_at?: Text;
  finished_at?: Text;
  step_count?: number | null;
  total_steps?: number | null;
  parent_workflow_run_id?: Text;
  trigger_type?: Text;
  workflow_schedule_id?: Text;
  retried_from_workflow_run_id?: Text;
  retried_by_workflow_run_id?: Text;
  credits_used?: number | null;
  script_run?: JsonObject | null;
  attempt?: number | null;
  retry_pending?: boolean | null;
  next_attempt_at?: Text;
  attempts?: (PayloadAttempt | null)[] | null;
  organization_id?: Text;
  summary?: Text;
  prompt?: Text;
  url?: Text;
  title?: Text;
  workflow_id?: Text;
  workflow_permanent_id?: Text;
  workflow_title?: Text;
  parameters?: JsonObject | null;
  run_request?: RunRequest | null;
}

/** A run attempt. */
export interface PayloadAttempt {
  attempt_number?: number | null;
  status?: Text;
  failure_reason?: Text;
  error_codes?: Text[] | null;
  started_at?: Text;
  finished_at?: Text;
  retry_decision?: Text;
}

interface File {
  url?: Text;
  checksum?: Text;
  filename?: Text;
  file_size?: number | null;
  artifact_id?: Text;
}

/** How the run was started: prompt and URL of a task, title and parameters of a workflow. */
interface RunRequest {
  prompt?: Text;
  url?: Text;
  title?: Text;
  webhook_url?: Text;
  workflow_id?: Text;
  parameters?: JsonObject | null;
}

// --- types: how values of another type are read ---------------------------------------------------------------------

type ReadField = (value: Json) => Json;
type Fields<Known> = readonly (readonly [ReadField, readonly (keyof Known)[]])[];

const asText: ReadField = (value) => (typeof value === "string" ? value : null);
const asFlag: ReadField = (value) => (typeof value === "boolean" ? value : null);
const asObject: ReadField = (value) => (isJsonObject(value) ? value : null);
const asCount: ReadField = (value) => {
  const number = toNumber(value);
  return number !== null && number >= 0 && Number.isSafeInteger(number) ? number : null;
};
const listField =
  (asItem: ReadField): ReadField =>
  (value) =>
    Array.isArray(value) ? value.map(asItem) : null;
/** A value that says something, and is not in a list, is read as a list of one. */
const asList =
  (asItem: ReadField): ReadField =>
  (value) =>
    listField(asItem)(saysSomething(value) ? [value] : value);
const saysSomething = (value: Json): boolean =>
  typeof value === "string" ? value.trim() !== "" : isJsonObject(value) && Object.keys(value).length > 0;
/** Of an object or a list in the place of words, its JSON is read. */
const asWords: ReadField = (value) =>
  (Array.isArray(value) && value.length > 0) || (isJsonObject(value) && saysSomething(value))
    ? JSON.stringify(value)
    : asText(value);
const asCategory: ReadField = (value) => {
  if (typeof value === "string") return { category: value };
  return isJsonObject(value) && typeof value["category"] === "string" ? value : null;
};

const objectField =
  <Known>(fields: Fields<Known>): ReadField =>
  (value) => {
    if (!isJsonObject(value)) return null;
    const object = { ...value };
    for (const [read, keys] of fields) {
      for (const key of keys as readonly string[]) {
        const given = object[key];
        if (given !== undefined && given !== null) object[key] = read(given);
      }
    }
    return object;
  };

const asFile = objectField<File>([
  [asText, ["url", "checksum", "filename", "artifact_id"]],
  [asCount, ["file_size"]],
]);
const asAttempt = objectField<PayloadAttempt>([
  [asText, ["status", "failure_reason", "started_at", "finished_at", "retry_decision"]],
  [asCount, ["attempt_number"]],
  [listField(asText), ["error_codes"]],
]);
const asRunRequest = objectField<RunRequest>([
  [asText, ["prompt", "url", "title", "webhook_url", "workflow_id"]],
  [asObject, ["parameters"]],
]);
const asPayload = objectField<Payload>([
  [asText, ["run_id", "task_id", "workflow_run_id", "run_type"]],
  [asWords, ["failure_reason"]],
  [asText, ["recording_url", "screenshot_url", "app_url", "organization_id", "summary", "prompt", "url", "title"]],
  [asText, ["workflow_id", "workflow_permanent_id", "workflow_title"]],
  [asText, ["created_at", "modified_at", "queued_at", "started_at", "finished_at"]],
  [asText, ["next_attempt_at", "retried_from_workflow_run_id", "retried_by_workflow_run_id"]],
  [asText, ["parent_workflow_run_id", "trigger_type", "workflow_schedule_id"]],
  [asCount, ["step_count", "total_steps", "attempt", "credits_used"]],
  [asFlag, ["retry_pending"]],
  [listField(asAttempt), ["attempts"]],
  [asObject, ["parameters", "script_run"]],
  [asRunRequest, ["run_request"]],
  [asList((value) => value), ["errors"]],
  [asList(asCategory), ["failure_category"]],
  [listField(asFile), ["downloaded_files"]],
  [listField(asText), ["downloaded_file_urls", "screenshot_urls", "action_screenshot_urls"]],
]);

// --- reading --------------------------------------------------------------------------------------------------------

export type Parsed =
  | { kind: "run"; payload: Payload }
  /** Skyvern asks for a one-time code: `totp_url` points at the relay by mistake. */
  | { kind: "totp" }
  /** What Skyvern's test button sends: a sample of a run that never was. */
  | { kind: "sample"; payload: Payload }
  | { kind: "unknown"; reason: string };

/** Deeper nesting is not walked: JSON.stringify and every later reader would run out of stack. */
export const MAX_DEPTH = 1_000;
const MAX_STATUS_LENGTH = 100;
/** Skyvern's ids have about 25 characters. */
const MAX_ID_LENGTH = 200;

/** A URL parser takes these for ways up, also when they are percent-encoded: no page could be opened. */
const DOTS = /^\.\.?$/;

/** A body without its secrets: no later step sees the one that came. */
export interface MaskedBody {
  /** The masked bytes. Those that are not UTF-8 are masked byte by byte. */
  stored: Buffer;
  /** The text to parse; a description stands in place of an output with too many values. */
  text: string;
  /** Why the text is not parsed; null when it is. */
  fault: string | null;
}

const NOT_JSON = "the body is not JSON";

/** Masks a body. The bytes are consumed. */
export function maskBody(bytes: Buffer, redact: Redact): MaskedBody {
  const came = bytes.toString("utf8");
  if (came.includes("\uFFFD") && !bytes.equals(Buffer.from(came, "utf8"))) {
    // It must not be parsed: RFC 8259 requires UTF-8.
    const stored = Buffer.from(redact(bytes.toString("latin1")).text, "latin1");
    return { stored, text: "", fault: NOT_JSON };
  }
  discard(bytes);
  const masked = redact(came);
  const stored = Buffer.from(masked.text, "utf8");
  if (masked.depth > MAX_DEPTH) return { stored, text: "", fault: `nested deeper than ${MAX_DEPTH} levels` };
  const text = boundOutput(masked.text);
  if (text === null) return { stored, text: "", fault: `more than ${MAX_VALUES_BESIDE} values besides the output` };
  return { stored, text, fault: null };
}

export function parsePayload({ text, fault }: MaskedBody): Parsed {
  if (fault !== null) return { kind: "unknown", reason: fault };
  let json: Json;
  try {
    json = parseJson(text);
  } catch {
    return { kind: "unknown", reason: NOT_JSON };
  }
  return readPayload(json);
}

/** The same for parsed JSON: an answer of Skyvern's API. */
export function readPayload(json: Json): Parsed {
  if (!isJsonObject(json)) return { kind: "unknown", reason: "the body is not a JSON object" };
  if (isTotpRequest(json)) return { kind: "totp" };
  const { status } = json;
  if (typeof status !== "string" || status === "" || status.length > MAX_STATUS_LENGTH)
    return { kind: "unknown", reason: "status is missing or not a text" };
  const payload = asPayload(json) as JsonObject & Payload;
  const id = firstId(payload.run_id, payload.task_id, payload.workflow_run_id);
  if (id === null) return { kind: "unknown", reason: "none of run_id, task_id, workflow_run_id names the run" };
  if (id.length > MAX_ID_LENGTH) return { kind: "unknown", reason: `the run id is longer than ${MAX_ID_LENGTH}` };
  if (DOTS.test(id)) return { kind: "unknown", reason: `the run id ${id} cannot stand in an address` };
  payload.id = id;
  return { kind: SAMPLE_IDS.has(id) ? "sample" : "run", payload };
}

/** Contract §3. No run has them: the id of a run ends in 18 digits, or in hex (contract §6). */
const SAMPLE_IDS = new Set(["tsk_sample_123456789", "wr_sample_123456789"]);

const firstId = (...ids: (string | null | undefined)[]): string | null =>
  ids.find((id) => id !== null && id !== undefined && id.trim() !== "") ?? null;

const TOTP_KEYS = new Set(["task_id", "workflow_run_id", "workflow_permanent_id"]);

/** Contract §3: the same headers and signing as a webhook, but only ids inside. */
const isTotpRequest = (json: JsonObject): boolean => {
  const keys = Object.keys(json);
  return keys.length > 0 && keys.every((key) => TOTP_KEYS.has(key) || /^(totp|otp)/.test(key));
};
