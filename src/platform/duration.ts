import { z } from "zod";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "./time.ts";

const UNITS = { ms: 1, s: 1_000, m: MINUTE_MS, h: HOUR_MS, d: DAY_MS } as const;
const UNIT_NAMES = Object.keys(UNITS) as (keyof typeof UNITS)[];
const DURATION = /^(\d{1,15})(ms|s|m|h|d)$/;

/**
 * Parses milliseconds from `500ms`, `5s`, `2m`, `1h` or `90d`: one whole number and one unit. Null for anything else.
 */
export function parseDuration(text: string): number | null {
  const [, count, unit] = DURATION.exec(text) ?? [];
  if (count === undefined || unit === undefined) return null;
  const ms = Number(count) * UNITS[unit as keyof typeof UNITS];
  return Number.isSafeInteger(ms) ? ms : null;
}

/** The shortest text that {@link parseDuration} reads back to the same number: `90s`, `2m`, `1d`. For whole ms >= 0. */
export function formatDuration(ms: number): string {
  const unit = unitOf(ms);
  return `${ms / UNITS[unit]}${unit}`;
}

/** The largest unit that divides `ms`; seconds for none. */
const unitOf = (ms: number): keyof typeof UNITS =>
  ms === 0 ? "s" : (UNIT_NAMES.findLast((unit) => ms % UNITS[unit] === 0) ?? "ms");

/**
 * A schema for durations as people write them, parsed to milliseconds; refused outside `min` to `max` (both included).
 */
export const durationBetween = (min: number, max: number) =>
  z
    .string({ error: ({ input }) => (input === undefined || input === null ? undefined : shape(input, min, max)) })
    .regex(DURATION, { error: ({ input }) => shape(input, min, max) })
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== null && ms >= min && ms <= max) return ms;
      const message = `must lie between ${formatDuration(min)} and ${formatDuration(max)}`;
      context.issues.push({ code: "custom", message, input: text });
      return z.NEVER;
    });

/** Like {@link durationBetween}, or `false`. */
export const durationOrFalse = (min: number, max: number) =>
  z.union([durationBetween(min, max), z.literal(false)], {
    error: ({ input }) => (typeof input === "number" ? shape(input, min, max) : undefined),
  });

/**
 * What is wrong with a value that is no duration. A number without its unit gets back what may have been meant; a text,
 * which a variable may have filled in, is not repeated.
 */
function shape(input: unknown, min: number, max: number): string {
  const isText = typeof input === "string";
  const count = (isText || typeof input === "number") && /^ *(\d{1,9}) *$/.exec(String(input))?.[1];
  if (!count) return "must be a duration: a whole number and a unit (ms, s, m, h or d), such as 15s or 2h";
  const fitting = UNIT_NAMES.filter((unit) => {
    const meant = Number(count) * UNITS[unit];
    // Where the least is days, hours are not meant.
    return unit !== "ms" && meant >= min && meant <= max && UNITS[unit] >= UNITS[unitOf(min)];
  });
  if (fitting.length === 0)
    return `has no unit, and must lie between ${formatDuration(min)} and ${formatDuration(max)}`;
  const options = isText ? fitting : fitting.map((unit) => `${count}${unit}`);
  return `has no unit: write ${options.join(", ").replace(/, ([^,]*)$/, " or $1")}${isText ? " behind the number" : ""}`;
}
