/** The longest `Retry-After` that is honoured: a wrong clock or a hostile answer must not hold anything up for days. */
export const MAX_RETRY_AFTER_MS = 3_600_000;

/**
 * Parses `Retry-After` to milliseconds from `now` (seconds or an HTTP date, RFC 9110 §10.2.3), at most an hour; null
 * when it cannot be read.
 */
export function readRetryAfter(headers: Pick<Headers, "get">, now: number): number | null {
  const value = headers.get("retry-after")?.trim() ?? "";
  const wait = /^\d+$/.test(value)
    ? Number(value) * 1000
    : /^[A-Z][a-z]+, .* GMT$/.test(value)
      ? Date.parse(value) - now
      : NaN;
  return Number.isNaN(wait) ? null : Math.min(Math.max(wait, 0), MAX_RETRY_AFTER_MS);
}
