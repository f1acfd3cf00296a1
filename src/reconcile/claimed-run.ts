/**
 * Reads which run an unverified body claims to be about: only the ids are read, and every other value is skipped
 * unread.
 */
import { bareEnd, skipSpace, stringEnd } from "../platform/json.ts";
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

/** The raw values of the keys to read; null when the text is no JSON object. */
function readTopLevel(text: string): Map<string, string> | null {
  const values = new Map<string, string>();
  let at = skipSpace(text, 0);
  if (text[at] !== "{") return null;
  at = skipSpace(text, at + 1);
  while (text[at] === '"') {
    const keyEnd = stringEnd(text, at);
    const key = text.slice(at + 1, keyEnd - 1);
    const colon = skipSpace(text, keyEnd);
    if (text[colon] !== ":") return null;
    const start = skipSpace(text, colon + 1);
    const end = valueEnd(text, start);
    if (end === null) return null;
    if (READ_KEYS.has(key)) values.set(key, text.slice(start, Math.min(end, start + MAX_VALUE + 1)));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return text[at] === "}" ? values : null;
}

/** The index after a value; null when the value is nested deeper than payloads are read. */
function valueEnd(text: string, start: number): number | null {
  if (text[start] === '"') return stringEnd(text, start);
  if (text[start] !== "{" && text[start] !== "[") return bareEnd(text, start);
  let depth = 0;
  for (let i = start; i < text.length;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) {
      i = stringEnd(text, i);
      continue;
    }
    i += 1;
    if (c === 0x7b || c === 0x5b) depth += 1;
    else if (c === 0x7d || c === 0x5d) depth -= 1;
    if (depth > MAX_DEPTH) return null;
    if (depth === 0) return i;
  }
  return text.length;
}
