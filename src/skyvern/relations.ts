/** Where a workflow run comes from, of two answers of Skyvern's API (contract §9). Pure. */
import { z } from "zod";
import type { Relations } from "../domain/run.ts";
import { isJsonObject, type Json } from "../platform/json.ts";
import { cleanText } from "./normalize.ts";
import type { Redact } from "./redact.ts";

const text = z
  .string()
  .nullish()
  .catch(null)
  .transform((value) => cleanText(value));

const RowSchema = z.object({
  workflow_run_id: z.string(),
  parent_workflow_run_id: text,
  workflow_schedule_id: text,
  trigger_type: text,
  retried_from_workflow_run_id: text,
});
/** A run in the list of its workflow's runs. */
export type WorkflowRunRow = z.output<typeof RowSchema>;

/** Undefined when the answer is no such list; null when the run is not in it. */
export function findRow(answer: Json, runId: string): WorkflowRunRow | null | undefined {
  if (!Array.isArray(answer)) return undefined;
  const row = answer.find((one) => isJsonObject(one) && one["workflow_run_id"] === runId);
  return row === undefined ? null : RowSchema.parse(row);
}

/** A label has no key. */
export interface Tag {
  key: string | null;
  value: string;
}

const MAX_TAGS = 50;
/** UTF-16 units. */
const MAX_TAG = 200;

/** Skyvern's own, such as `skyvern.status`: what they say stands in the run itself. */
const OWN = "skyvern.";

/** People's tags. Undefined when the answer holds no tags. */
export function readTags(answer: Json): Tag[] | undefined {
  const rows = isJsonObject(answer) ? answer["tags"] : null;
  if (!Array.isArray(rows)) return undefined;
  const tags = rows.flatMap((row): Tag[] => {
    if (!isJsonObject(row)) return [];
    const [key, value] = [shorten(row["key"] ?? null), shorten(row["value"] ?? null)];
    return value === null || key?.startsWith(OWN) === true ? [] : [{ key, value }];
  });
  return tags.slice(0, MAX_TAGS);
}

const shorten = (value: Json): string | null =>
  typeof value === "string" ? (cleanText(value)?.slice(0, MAX_TAG).toWellFormed() ?? null) : null;

/**
 * `tags`: null when Skyvern could not be asked for them. A tag is masked by the name of its key, as any other value.
 */
export function toRelations(row: WorkflowRunRow | null, tags: readonly Tag[] | null, redact: Redact): Relations {
  const pairs = (tags ?? []).map(({ key, value }) => (key === null ? value : { [key]: value }));
  const masked = JSON.parse(redact(JSON.stringify(pairs)).text) as (string | Record<string, string>)[];
  return {
    parent: row?.parent_workflow_run_id ?? null,
    trigger: row?.trigger_type ?? null,
    schedule: row?.workflow_schedule_id ?? null,
    retried_from: row?.retried_from_workflow_run_id ?? null,
    tags: tags && masked.map((one) => (typeof one === "string" ? one : Object.entries(one).map(toTag).join())),
  };
}

const toTag = ([key, value]: [string, string]): string => `${key}:${value}`;
