/**
 * Makes hostile text safe to read in a page. The template escapes; this handles characters that mislead the reader's
 * eye.
 */
import { escapeDeceiving, spellDeceiving } from "../platform/hostile-text.ts";
import { count } from "../platform/amounts.ts";
import { parseWebUrl } from "../skyvern/artifacts/artifact-url.ts";

/**
 * The text with deceiving characters spelled out (`[U+202E]`). Beyond `max` UTF-16 units a mark says how much is
 * missing.
 */
export function block(text: string, max = 4_000): string {
  const kept = text.length > max ? text.slice(0, max) : text;
  const clean = spellDeceiving(kept);
  return text.length > max ? `${clean}… [${count(text.length - max)} more characters]` : clean;
}

/** The same in one line, for a title, a name or a reason. The mark is only `…`. */
export function line(text: string, max = 200): string {
  const start = text
    .slice(0, max * 4)
    .replace(/\s+/g, " ")
    .trim();
  const isCut = start.length > max || text.length > max * 4;
  return block(isCut ? `${start.slice(0, max - 1)}…` : start, max);
}

/**
 * JSON for reading, with numbers digit for digit and deceiving characters as JSON escapes, so that it stays the same
 * JSON.
 */
export const jsonText = (value: unknown): string => escapeDeceiving(JSON.stringify(value, null, 2) ?? "null");

/** An http or https address that a link may hold, else null. */
export function webUrl(text: string | null): string | null {
  if (text === null || text.length > 4_000) return null;
  return parseWebUrl(text)?.href ?? null;
}
