/**
 * A workflow run's timeline as Skyvern's API answers it, read leniently (contract §9): the answer may be anything.
 * Pure.
 */
import type { Block, Timeline } from "../domain/block.ts";
import { isJsonObject, toNumber, type Json, type JsonObject } from "../platform/json.ts";
import { isArtifactId } from "./artifacts/artifact-url.ts";
import { cleanText, parseTime } from "./normalize.ts";
import type { Redact } from "./redact.ts";

/** The most blocks that are stored: the latest, since a run breaks at its end. */
export const MAX_BLOCKS = 300;
const MAX_DEPTH = 50;
const MAX_LABEL = 200;
const MAX_REASON = 2_000;
const MAX_CODES = 10;

/** A block, and what its artifacts are known by in Skyvern's list. */
interface ReadBlock extends Block {
  ids: string[];
}

export interface ReadTimeline extends Timeline {
  /** The label of the block that made an artifact, by the id of the block or of its task. */
  labels: ReadonlyMap<string, string>;
}

/** Null when the answer is no timeline. */
export function readTimeline(json: Json, redact: Redact): ReadTimeline | null {
  if (!Array.isArray(json)) return null;
  const found: ReadBlock[] = [];
  collect(json, 1, 0, found);
  found.sort((a, b) => (a.started_at ?? 0) - (b.started_at ?? 0));
  const kept = found.slice(-MAX_BLOCKS);
  const labels = new Map(
    kept.flatMap(({ label, ids }) => (label === null ? [] : ids.map((id) => [id, label] as const))),
  );
  const blocks = kept.map(({ ids: _ids, ...block }) => block);
  // Labels and reasons quote pages.
  const masked = JSON.parse(redact(JSON.stringify(blocks)).text) as Block[];
  return { blocks: masked, omitted: found.length - kept.length, labels };
}

function collect(rows: readonly Json[], attempt: number, depth: number, found: ReadBlock[]): void {
  // The newest comes first; of two that began in one moment the inner one comes behind its loop.
  for (const row of rows.toReversed()) {
    if (!isJsonObject(row)) continue;
    const { block = null, children = null } = row;
    const own = toNumber(row["attempt"]) ?? attempt;
    if (isJsonObject(block)) found.push(blockOf(block, row, own, depth));
    if (Array.isArray(children) && depth < MAX_DEPTH) collect(children, own, depth + 1, found);
  }
}

function blockOf(block: JsonObject, row: JsonObject, attempt: number, depth: number): ReadBlock {
  const startedAt = parseTime(textIn(block, "created_at") ?? textIn(row, "created_at"));
  const endedAt = parseTime(textIn(block, "modified_at") ?? textIn(row, "modified_at"));
  const seconds = toNumber(block["duration"]);
  const between = startedAt !== null && endedAt !== null ? Math.max(0, endedAt - startedAt) : null;
  return {
    label: textIn(block, "label", MAX_LABEL),
    type: textIn(block, "block_type", MAX_LABEL) ?? "block",
    status: textIn(block, "status", MAX_LABEL),
    attempt,
    depth,
    started_at: startedAt,
    duration_ms: seconds !== null && seconds >= 0 ? Math.round(seconds * 1000) : between,
    reason: textIn(block, "failure_reason", MAX_REASON),
    codes: codesIn(block["error_codes"] ?? null),
    screenshot: pictureIn(block),
    ids: [textIn(block, "workflow_run_block_id"), textIn(block, "task_id")].filter((id) => id !== null),
  };
}

/** The newest of those that its task made; else of its last action. */
function pictureIn(block: JsonObject): string | null {
  const output = block["output"] ?? null;
  const made = isJsonObject(output) ? output["task_screenshot_artifact_ids"] : null;
  const actions = Array.isArray(block["actions"]) ? block["actions"] : [];
  const ofActions = actions.map((action) => (isJsonObject(action) ? action["screenshot_artifact_id"] : null));
  const ids = [...(Array.isArray(made) ? made : []), ...ofActions];
  return (ids.find((id) => typeof id === "string" && isArtifactId(id)) as string | undefined) ?? null;
}

const codesIn = (codes: Json): string[] =>
  (Array.isArray(codes) ? codes : [])
    .flatMap((code) => (typeof code === "string" && code !== "" ? [code.slice(0, MAX_LABEL).toWellFormed()] : []))
    .slice(0, MAX_CODES);

/** Cut to `max` UTF-16 units, no character in half. */
const textIn = (object: JsonObject, key: string, max = Infinity): string | null => {
  const value = object[key];
  return typeof value === "string" ? (cleanText(value)?.slice(0, max).toWellFormed() ?? null) : null;
};
