import { z } from "zod";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "./time.ts";

const UNITS = { ms: 1, s: 1_000, m: MINUTE_MS, h: HOUR_MS, d: DAY_MS } as const;
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
  if (ms === 0) return "0s";
  const units = Object.entries(UNITS).toReversed();
  const [unit, size] = units.find(([, size]) => ms % size === 0) ?? ["ms", 1];
  return `${ms / size}${unit}`;
}

/**
 * A schema for durations as people write them, parsed to milliseconds; refused outside `min` to `max` (both included).
 */
export const durationBetween = (min: number, max: number) =>
  z
    .string({ error: ({ input }) => (input === undefined || input === null ? undefined : SHAPE) })
    .regex(DURATION, SHAPE)
    .transform((text, context) => {
      const ms = parseDuration(text);
      if (ms !== null && ms >= min && ms <= max) return ms;
      const message = `must lie between ${formatDuration(min)} and ${formatDuration(max)}`;
      context.issues.push({ code: "custom", message, input: text });
      return z.NEVER;
    });

const SHAPE = "must be a duration: a whole number and a unit (ms, s, m, h or d), such as 15s or 2h";

/** Any duration up to ten years. */
export const durationSchema = durationBetween(0, 3650 * UNITS.d);
