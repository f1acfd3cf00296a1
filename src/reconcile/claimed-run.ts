/**
 * Reads which run an unverified body claims to be about: only the ids are read, and every other value is skipped
 * unread.
 */
import { measureFields, type MeasuredValue } from "../platform/json.ts";
import { MAX_DEPTH } from "../skyvern/payload.ts";

/** The first of these that is not null names the run. */
const ID_KEYS = ["run_id", "task_id", "workflow_run_id"] as const;
const READ_KEYS = new Set<string>(["status", ...ID_KEYS]);
/** Includes the quotes; a longer value is no id. */
const MAX_VALUE = 102;
const ID = /^"([A-Za-z0-9_-]{1,100})"$/;

/**
 * The claimed id, of letters, digits, `_` and `-`; null when the body names none or is no payload. The time is
 * proportional to the body's length.
 */
export function readClaimedRunId(bytes: Buffer): string | null {
  const values = readTopLevel(bytes.toString("latin1"));
  if (values?.get("status")?.startsWith('"') !== true) return null;
  const id = ID_KEYS.map((key) => values.get(key) ?? "null").find((value) => value !== "null");
  return ID.exec(id ?? "")?.[1] ?? null;
}

/** The raw values of the keys to read; null when the text is no JSON object that the relay would read. */
function readTopLevel(text: string): Map<string, string> | null {
  const fields = measureFields(text);
  if (fields === null || fields.some(({ value }) => value.depth >= MAX_DEPTH)) return null;
  const cut = ({ start, end }: MeasuredValue): string => text.slice(start, Math.min(end, start + MAX_VALUE + 1));
  return new Map(fields.filter(({ key }) => READ_KEYS.has(key)).map(({ key, value }) => [key, cut(value)]));
}
