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
