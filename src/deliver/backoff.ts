/**
 * How long to wait after attempt `n` (from 1), in milliseconds; null when the schedule is used up. Each wait is the
 * schedule's with a jitter of a tenth, so that deliveries that failed together do not retry together. When the sink
 * said when to come back, that time is used instead, and never undercut.
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

/**
 * How many attempts of one delivery may die with their process. A delivery that kills the process each time must end.
 */
export const MAX_CUT_SHORT = 100;

/**
 * How long a delivery waits after the process died in its attempt: by the number of such deaths, the last for all
 * further ones, in milliseconds. A message on its way must have arrived before the sink searches for it, and a delivery
 * that kills the process must leave it time for everything else.
 */
export const WAITS_AFTER_CUT_MS: readonly number[] = [1_000, 2_000, 4_000, 8_000, 10_000];
