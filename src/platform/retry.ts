import type { Runtime } from "./runtime.ts";

export interface RetryInput<T> {
  act(): Promise<T>;
  /** The wait in milliseconds after try `n` (from 1) had this result; null when the result is final. */
  waitMs(result: T, tried: number): number | null;
  sleep: Runtime["sleep"];
  /** Ends the waiting; the last result is then returned. */
  signal?: AbortSignal | undefined;
}

/** Repeats `act` until a result is final, and returns it. A throw of `act` ends it. */
export async function retry<T>({ act, waitMs, sleep, signal }: RetryInput<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    const result = await act();
    const wait = signal?.aborted ? null : waitMs(result, tried);
    if (wait === null) return result;
    await sleep(wait, signal);
    if (signal?.aborted) return result;
  }
}
