import { randomBytes } from "node:crypto";

/** The part of `fetch` that the relay uses; `systemRuntime` and `egress` create the real ones. */
export type Fetch = (url: string | URL, init?: RequestInit) => Promise<Response>;

/** The outside world as one object. Tests pass a fake clock, chance and ids; nothing else reads them. */
export interface Runtime {
  /** Epoch milliseconds. */
  now(): number;
  /** 0 <= n < 1 */
  random(): number;
  /** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  /**
   * Creates an id that sorts by time: `<prefix>_` and 24 characters. It sorts after the id `after`, which may come from
   * another machine.
   */
  newId(prefix: string, after?: string): string;
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

/** Creates ids that sort in the order they were made, also within one millisecond and when the clock is set back. */
export function idMaker(now: () => number): Runtime["newId"] {
  let last = 0;
  let count = 0;
  // Random bytes are drawn in bulk, because a draw costs more than the rest of an id.
  let chance = "";
  return (prefix, after = "") => {
    if (chance.length < 7) chance = randomBytes(3_500).toString("hex");
    const [, beforeIt = "0"] = /^[a-z]+_([0-9a-f]{12})[0-9a-f]{12}$/.exec(after) ?? [];
    const ms = Math.max(last, now(), Number.parseInt(beforeIt, 16) + 1);
    count = ms === last ? count + 1 : 0;
    last = ms;
    const time = ms.toString(16).padStart(12, "0") + count.toString(16).padStart(5, "0");
    const drawn = chance.slice(-7);
    chance = chance.slice(0, -7);
    return `${prefix}_${time}${drawn}`;
  };
}

export const systemRuntime = (): Runtime => ({
  now: Date.now,
  random: Math.random,
  sleep,
  newId: idMaker(Date.now),
});
