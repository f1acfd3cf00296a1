/**
 * Every shape Skyvern has ever POSTed, read leniently: a payload needs only a run id and a status. A known key of an
 * unexpected type counts as absent, unknown keys, values, run types and id prefixes pass (P5); the raw body is kept, so
 * nothing is lost by it.
 */
import { z } from "zod";
import { isJsonObject, numberOf, parseJson, type Json, type JsonObject } from "../json.ts";
import type { Masked } from "./redact.ts";

const text = z.string().nullish().catch(null);
const count = z
  .unknown()
  .transform((value) => numberOf(value))
  .pipe(z.int().nonnegative().nullable().catch(null))
  .optional();
const strings = z.array(z.string().nullable().catch(null)).nullish().catch(null);
const anyJson = z.custom<Json>(() => true).optional();
const object = z.custom<JsonObject>(isJsonObject).nullish().catch(null);

const File = z.looseObject({
  url: text,
  checksum: text,
  filename: text,
  file_size: count,
  artifact_id: text,
});

/** Prompt and URL of a task, title and parameters of a workflow: what the run was started with. */
const RunRequest = z.looseObject({
  prompt: text,
  url: text,
  title: text,
  webhook_url: text,
  workflow_id: text,
  parameters: object,
});

const PayloadSchema = z.looseObject({
  run_id: text,
  task_id: text,
  workflow_run_id: text,
  run_type: text,
  status: z.string().min(1).max(100),
  output: anyJson,
  outputs: anyJson,
  extracted_information: anyJson,
  failure_reason: text,
  failure_category: z
    .array(z.looseObject({ category: z.string() }).nullable().catch(null))
    .nullish()
    .catch(null),
  errors: z.array(anyJson).nullish().catch(null),
  downloaded_files: z.array(File.nullable().catch(null)).nullish().catch(null),
  downloaded_file_urls: strings,
  recording_url: text,
  screenshot_url: text,
  screenshot_urls: strings,
  action_screenshot_urls: strings,
  app_url: text,
  created_at: text,
  modified_at: text,
  queued_at: text,
  started_at: text,
  finished_at: text,
  step_count: count,
  total_steps: count,
  organization_id: text,
  summary: text,
  prompt: text,
  url: text,
  title: text,
  workflow_id: text,
  workflow_permanent_id: text,
  workflow_title: text,
  parameters: object,
  run_request: RunRequest.nullish().catch(null),
});

/** A payload that names a run and its status. */
export type Payload = z.output<typeof PayloadSchema> & { id: string };

export type Parsed =
  | { kind: "run"; payload: Payload }
  /** Skyvern asks for a one-time code: `totp_url` points at the relay by mistake. */
  | { kind: "totp" }
  | { kind: "unknown"; reason: string };

/** Nesting beyond this is not walked: JSON.stringify and every reader after it would run out of stack. */
export const MAX_DEPTH = 1_000;
/** Skyvern's ids have about 25 characters. */
const MAX_ID_LENGTH = 200;

export function parsePayload(masked: Masked): Parsed {
  if (masked.depth > MAX_DEPTH) return { kind: "unknown", reason: `nested deeper than ${MAX_DEPTH} levels` };
  let json: Json;
  try {
    json = masked.unsafeNumbers ? parseJson(masked.text) : (JSON.parse(masked.text) as Json);
  } catch {
    return { kind: "unknown", reason: "the body is not JSON" };
  }
  return readPayload(json);
}

/** The same for JSON that is parsed already: an answer of Skyvern's API. */
export function readPayload(json: Json): Parsed {
  if (!isJsonObject(json)) return { kind: "unknown", reason: "the body is not a JSON object" };
  if (isTotpRequest(json)) return { kind: "totp" };
  const result = PayloadSchema.safeParse(json);
  if (!result.success) return { kind: "unknown", reason: "status is missing or not a text" };
  const id = firstId(result.data.run_id, result.data.task_id, result.data.workflow_run_id);
  if (id === null) return { kind: "unknown", reason: "none of run_id, task_id, workflow_run_id names the run" };
  if (id.length > MAX_ID_LENGTH) return { kind: "unknown", reason: `the run id is longer than ${MAX_ID_LENGTH}` };
  return { kind: "run", payload: { ...result.data, id } };
}

const firstId = (...ids: (string | null | undefined)[]): string | null =>
  ids.find((id) => id !== null && id !== undefined && id.trim() !== "") ?? null;

const TOTP_KEYS = new Set(["task_id", "workflow_run_id", "workflow_permanent_id"]);

/** Contract §3: same headers and signing as a webhook, but only ids inside. */
const isTotpRequest = (json: JsonObject): boolean => {
  const keys = Object.keys(json);
  return keys.length > 0 && keys.every((key) => TOTP_KEYS.has(key) || /^(totp|otp)/.test(key));
};
