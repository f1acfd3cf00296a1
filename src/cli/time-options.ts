/** Times as they are given on a command line. */
import { parseDuration } from "../platform/duration.ts";
import { parseTime } from "../skyvern/normalize.ts";

/** Ends "--since must be …". */
export const MOMENT = "an ISO 8601 time, like 2026-01-20T12:00:00Z, or how long ago, like 7d";

/** Epoch ms of an ISO 8601 time or date (UTC unless it says otherwise), or of `7d` ago; null for anything else. */
export function parseMoment(text: string, now: number): number | null {
  const ago = parseDuration(text);
  return ago === null ? (parseTime(text) ?? parseTime(`${text}T00:00`)) : now - ago;
}

/** Epoch ms. */
export interface Span {
  since?: number;
  until?: number;
}

/** A span of time, or what is wrong with it. Without `since` it begins with everything, without `until` it ends now. */
export function parseSpan(
  { since, until }: { since?: string | undefined; until?: string | undefined },
  now: number,
): Span | string {
  const from = since === undefined ? undefined : parseMoment(since, now);
  if (from === null) return `--since must be ${MOMENT}, not ${JSON.stringify(since)}`;
  const to = until === undefined ? undefined : parseMoment(until, now);
  if (to === null) return `--until must be ${MOMENT}, not ${JSON.stringify(until)}`;
  if (from !== undefined && from >= (to ?? now)) {
    return to === undefined ? "--since must be in the past" : "--since must be before --until";
  }
  return { ...(from === undefined ? {} : { since: from }), ...(to === undefined ? {} : { until: to }) };
}
