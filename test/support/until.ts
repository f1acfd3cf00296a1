import { setTimeout as pause } from "node:timers/promises";

/**
 * Asks again every few milliseconds until the answer is neither null, undefined nor false. Rejects after `withinMs`.
 */
export async function until<T>(
  what: string,
  ask: () => T | Promise<T>,
  withinMs = 30_000,
): Promise<Exclude<T, null | undefined | false>> {
  const giveUpAt = Date.now() + withinMs;
  for (;;) {
    const answer = await ask();
    if (answer !== null && answer !== undefined && answer !== false) {
      return answer as Exclude<T, null | undefined | false>;
    }
    if (Date.now() > giveUpAt) throw new Error(`waited ${withinMs} ms in vain: ${what}`);
    await pause(10);
  }
}
