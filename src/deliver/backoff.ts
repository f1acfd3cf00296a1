/**
 * How long to wait after attempt `n` (from 1), in milliseconds; null when the schedule is used up. Each wait is the
 * schedule's, up to a tenth shorter or longer, so that what failed together does not come back together. A sink that
 * said when to come is believed instead, and never met early.
 *
 * @param random 0 <= random < 1
 */
export function nextDelay(
  scheduleMs: readonly number[],
  n: number,
  random: number,
  retryAfterMs: number | undefined,
): number | null {
  const planned = scheduleMs[n - 1];
  if (planned === undefined) return null;
  if (retryAfterMs !== undefined) return Math.round(retryAfterMs * (1 + random * 0.1));
  return Math.round(planned * (0.9 + random * 0.2));
}

/** So many attempts of one delivery may end with their process; what kills the process each time must not go on for ever. */
export const MAX_CUT_SHORT = 100;

/**
 * How long a delivery waits after the process died in its attempt, the first such, the second and so on, the last for all that come after, in
 * milliseconds: what was on its way must have arrived before a sink looks for it, and what kills the process must leave it time for
 * everything else.
 */
export const WAITS_AFTER_CUT_MS: readonly number[] = [1_000, 2_000, 4_000, 8_000, 10_000];
