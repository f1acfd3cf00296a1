import type { Runtime } from "./runtime.ts";

export interface RetryInput<T> {
  act(): Promise<T>;
  /** Milliseconds to wait after the try of this number (from 1) came to this result; null: the result is final. */
  waitMs(result: T, tried: number): number | null;
  sleep: Runtime["sleep"];
  /** Ends the waiting; the last result counts. */
  signal?: AbortSignal | undefined;
}

/** Acts again and again until a result is final, and answers that. A throw of `act` ends it. */
export async function retry<T>({ act, waitMs, sleep, signal }: RetryInput<T>): Promise<T> {
  for (let tried = 1; ; tried += 1) {
    const result = await act();
    const wait = signal?.aborted ? null : waitMs(result, tried);
    if (wait === null) return result;
    await sleep(wait, signal);
    if (signal?.aborted) return result;
  }
}
