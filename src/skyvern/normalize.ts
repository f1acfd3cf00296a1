import { isJsonObject, type Json, type JsonObject } from "../platform/json.ts";
import {
  isTerminal,
  type ArtifactKey,
  type Failure,
  type Run,
  type RunAttempt,
  type RunFile,
  type Source,
  type Workflow,
} from "../domain/run.ts";
import { parseArtifactId, parseFileName } from "./artifacts/artifact-url.ts";
import { readPayload, type Payload, type PayloadAttempt } from "./payload.ts";

/** What the payload itself does not say. */
export interface ReceiptOrigin {
  /** Epoch milliseconds. */
  receivedAt: number;
  source: Source;
  channel: string | null;
  labels?: Run["labels"];
  /**
   * The organization of the key that signed it. The payload's own claim counts only where the key's organization is
   * unknown.
   */
  organization: string | null;
}

/**
 * What Skyvern reports of a v2 task when its own webhook could not be delivered, although the run had ended before
 * (contract §2). Only the start of the text counts, and only for this type: elsewhere a reason quotes blocks and pages.
 */
const DELIVERY_FAILURE = /^(Failed to run task 2\.0: )?Failed to send webhook\b/;

export const isDeliveryFailure = (payload: Payload): boolean =>
  payload.status === "failed" &&
  (payload.run_type ?? inferRunType(payload.id)) === "task_v2" &&
  DELIVERY_FAILURE.test(payload.failure_reason ?? "");

/** Payload → Run, for every era and family of payload. Pure; cannot fail. `status` is as reported; settling decides. */
export function normalize(payload: Payload, origin: ReceiptOrigin): Run {
  const runType = cleanText(payload.run_type) ?? inferRunType(payload.id);
  const kind = runType.includes("workflow") || payload.id === payload.workflow_run_id ? "workflow" : "task";
  const request = payload.run_request;
  const attempts = readAttempts(payload);
  const startedAt = attempts.find(({ attempt }) => attempt === 1)?.started_at ?? parseTime(payload.started_at);
  const queuedAt = parseTime(payload.queued_at);
  return {
    run_id: clean(payload.id),
    run_type: runType,
    kind,
    status: clean(payload.status),
    reported_status: clean(payload.status),
    source: origin.source,
    organization_id: origin.organization ?? cleanText(payload.organization_id),
    channel: origin.channel,
    title: cleanText(payload.workflow_title) ?? cleanText(payload.title) ?? cleanText(request?.title),
    prompt: cleanText(payload.prompt) ?? cleanText(request?.prompt),
    url: cleanText(payload.url) ?? cleanText(request?.url),
    summary: cleanText(payload.summary),
    app_url: cleanText(payload.app_url),
    workflow: toWorkflow(payload, kind),
    output: pickOutput(payload),
    failure: toFailure(payload),
    parameters: payload.parameters ?? request?.parameters ?? null,
    files: toFiles(payload),
    recording: cleanText(payload.recording_url) === null ? null : toKey(payload.recording_url ?? "", "recording"),
    screenshots: toScreenshotKeys(payload),
    step_count: payload.step_count ?? payload.total_steps ?? null,
    parent: cleanText(payload.parent_workflow_run_id),
    trigger: cleanText(payload.trigger_type) ?? (payload.id.startsWith("wr_sched_") ? "scheduled" : null),
    schedule: cleanText(payload.workflow_schedule_id),
    tags: null,
    retried_from: cleanText(payload.retried_from_workflow_run_id),
    retried_by: cleanText(payload.retried_by_workflow_run_id),
    children: kind === "workflow" ? listChildren(pickOutput(payload)) : [],
    credits: payload.credits_used ?? null,
    ai_fallback: toFlag(payload.script_run?.["ai_fallback_triggered"]),
    labels: origin.labels ?? null,
    attempt: attemptNumber(payload),
    attempts,
    next_attempt_at: nextAttemptAt(
      { ...payload, next_attempt_at: parseTime(payload.next_attempt_at) },
      origin.receivedAt,
    ),
    created_at: parseTime(payload.created_at),
    // Skyvern has both times of the last attempt only.
    queued_at: queuedAt !== null && startedAt !== null && queuedAt > startedAt ? null : queuedAt,
    started_at: startedAt,
    finished_at: parseTime(payload.finished_at),
    modified_at: parseTime(payload.modified_at),
    received_at: origin.receivedAt,
  };
}

const toFlag = (value: Json | undefined): boolean | null => (typeof value === "boolean" ? value : null);

/** Blocks that start a run have its ids and status as their value, in each round of a loop too (contract §9). */
function listChildren(output: Json): string[] {
  if (!isJsonObject(output)) return [];
  return [...new Set(Object.values(output).flatMap((value) => childrenIn(value, 0)))].slice(0, MAX_CHILDREN);
}

const MAX_CHILDREN = 100;
/** Loops in loops, two lists for each. */
const MAX_LOOP_DEPTH = 10;

function childrenIn(value: Json, depth: number): string[] {
  if (Array.isArray(value)) return depth < MAX_LOOP_DEPTH ? value.flatMap((one) => childrenIn(one, depth + 1)) : [];
  if (!isJsonObject(value)) return [];
  if ("output_value" in value) return childrenIn(value["output_value"] ?? null, depth);
  if (!("workflow_permanent_id" in value) || !("outputs" in value)) return [];
  const id = value["workflow_run_id"];
  return typeof id === "string" && id.startsWith("wr_") ? [clean(id)] : [];
}

interface Announced {
  status: string;
  retry_pending?: boolean | null | undefined;
  /** Epoch ms. */
  next_attempt_at: number | null;
}

/**
 * When the next run attempt begins, epoch ms, or null when none is to come (contract §9), for any report of a run: a
 * webhook, an answer of GET run, or a row of the list. `otherwise` is the time for an attempt announced without one.
 */
export function nextAttemptAt({ status, retry_pending, next_attempt_at }: Announced, otherwise: number): number | null {
  if (!isTerminal(status) || retry_pending === false) return null;
  return next_attempt_at ?? (retry_pending === true ? otherwise : null);
}

const attemptNumber = ({ attempt, attempts }: Payload): number =>
  Math.max(1, attempt ?? attempts?.at(-1)?.attempt_number ?? 1);

/** A policy of Skyvern has at most 6 attempts. The newest are read. */
const MAX_ATTEMPTS = 50;

/** Empty where there was one attempt and nothing was decided about another: every run has that one. */
function readAttempts({ attempts }: Payload): RunAttempt[] {
  const read = new Map<number, RunAttempt>();
  for (const row of (attempts ?? []).slice(-MAX_ATTEMPTS)) {
    const number = row?.attempt_number ?? 0;
    if (row && number >= 1) read.set(number, toAttempt(number, row));
  }
  const rows = [...read.values()].toSorted((a, b) => a.attempt - b.attempt);
  return rows.every(({ attempt, decision }) => attempt === 1 && decision === null) ? [] : rows;
}

const toAttempt = (number: number, row: PayloadAttempt): RunAttempt => ({
  attempt: number,
  status: cleanText(row.status) ?? "",
  reason: cleanText(row.failure_reason),
  codes: [...new Set((row.error_codes ?? []).map(cleanText).filter((code) => code !== null))],
  started_at: parseTime(row.started_at),
  finished_at: parseTime(row.finished_at),
  decision: cleanText(row.retry_decision),
});

/**
 * A run as GET run answers it; null when the answer is not understood. It is only to be looked at: its secrets are not
 * masked.
 */
export function reportedRun(answer: JsonObject, receivedAt: number): Run | null {
  const parsed = readPayload(answer);
  if (parsed.kind !== "run") return null;
  return normalize(parsed.payload, { receivedAt, source: "reconciled", channel: null, organization: null });
}

/** Before v0.2.1 payloads had no `run_type`; the id's prefix tells it (contract §6). */
function inferRunType(id: string): string {
  if (id.startsWith("wr_")) return "workflow_run";
  return id.startsWith("tsk_v2_") || id.startsWith("oc_") ? "task_v2" : "task_v1";
}

function toWorkflow(payload: Payload, kind: Run["kind"]): Workflow | null {
  const ids = [payload.workflow_permanent_id, payload.workflow_id, payload.run_request?.workflow_id].map(cleanText);
  const workflow: Workflow = {
    run_id: cleanText(payload.workflow_run_id) ?? (kind === "workflow" ? clean(payload.id) : null),
    // A workflow run's `workflow_id` is the permanent id, a task's is the id of one version (contract §3).
    permanent_id: ids.find((id) => id?.startsWith("wpid_")) ?? cleanText(payload.workflow_permanent_id),
    id: ids.find((id) => id?.startsWith("w_")) ?? null,
    title: cleanText(payload.workflow_title),
  };
  return Object.values(workflow).every((value) => value === null) ? null : workflow;
}

const pickOutput = (payload: Payload): Json =>
  payload.output ?? payload.extracted_information ?? payload.outputs ?? null;

function toFailure(payload: Payload): Failure | null {
  const errors = (payload.errors ?? []).filter((error) => error !== undefined && error !== null);
  const codes = errors.flatMap((error) => {
    const code = isJsonObject(error) ? error["error_code"] : null;
    return typeof code === "string" && code !== "" ? [clean(code)] : [];
  });
  const failure: Failure = {
    reason: cleanText(payload.failure_reason),
    codes: [...new Set(codes)],
    categories: (payload.failure_category ?? []).flatMap((row) => cleanText(row?.category) ?? []),
    errors,
  };
  const silent = failure.reason === null && errors.length === 0 && failure.categories.length === 0;
  return silent ? null : failure;
}

function toFiles(payload: Payload): RunFile[] {
  const listed = (payload.downloaded_files ?? []).filter((file) => file !== null);
  const bare = (payload.downloaded_file_urls ?? []).flatMap((url): typeof listed => (url === null ? [] : [{ url }]));
  return (listed.length > 0 ? listed : bare).map((file, index) => {
    const url = cleanText(file.url);
    const artifactId = cleanText(file.artifact_id) ?? (url === null ? null : parseArtifactId(url));
    return {
      key: artifactId ?? `file-${index + 1}`,
      name: cleanText(file.filename) ?? (url === null ? null : parseFileName(url)) ?? `file-${index + 1}`,
      size: file.file_size ?? null,
      checksum: cleanText(file.checksum),
      artifact_id: artifactId,
    };
  });
}

function toScreenshotKeys(payload: Payload): ArtifactKey[] {
  const listed = payload.screenshot_urls ?? payload.action_screenshot_urls ?? [];
  const keys = listed.flatMap((url, index) =>
    cleanText(url) === null ? [] : [toKey(url ?? "", `screenshot-${index + 1}`)],
  );
  // v1 and CUA name the final screenshot separately; Skyvern's own list of artifacts has it as `screenshot_final`.
  const final = keys.length === 0 ? cleanText(payload.screenshot_url) : null;
  return final === null ? [...new Set(keys)] : [toKey(final, "screenshot-1")];
}

const toKey = (url: string, place: string): ArtifactKey => parseArtifactId(url) ?? place;

/** Null for nothing but blanks. */
export const cleanText = (value: string | null | undefined): string | null =>
  value === null || value === undefined || value.trim() === "" ? null : clean(value);

/** Text that every store and sink can hold: no NUL and no half of a surrogate pair. */
const clean = (value: string): string =>
  value.isWellFormed() && !value.includes("\0") ? value : value.toWellFormed().replaceAll("\0", "\uFFFD");

const TIME = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?$/;

/**
 * Epoch milliseconds of Skyvern's timestamps: naive ones are UTC, and the fraction may be missing or in microseconds.
 */
export function parseTime(value: string | null | undefined): number | null {
  const match = TIME.exec(value ?? "");
  if (!match || !value) return null;
  const ms = Date.parse(match[3] === undefined ? `${value.replace(" ", "T")}Z` : value.replace(" ", "T"));
  return Number.isNaN(ms) ? null : ms;
}
