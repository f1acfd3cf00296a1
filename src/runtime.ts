import { randomBytes } from "node:crypto";

/** The part of `fetch` the relay uses; `systemRuntime` and `egress` make the real ones. */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** The outside world as one object. Tests hand in a fake clock, chance and ids; nothing else reads them. */
export interface Runtime {
  /** Epoch milliseconds. */
  now(): number;
  /** 0 <= n < 1 */
  random(): number;
  /** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /** A new id that sorts by time: `<prefix>_` and 24 characters. */
  newId(prefix: string): string;
}

/** Resolves after `ms` of wall clock, or at once when the signal aborts. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, Math.min(ms, 2 ** 31 - 1));
    signal?.addEventListener("abort", done);
  });
}

export const systemRuntime: Runtime = {
  now: Date.now,
  random: Math.random,
  sleep,
  newId: (prefix) => `${prefix}_${Date.now().toString(16).padStart(12, "0")}${randomBytes(6).toString("hex")}`,
};
