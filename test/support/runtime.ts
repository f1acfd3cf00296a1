import { sleep, type Runtime } from "../../src/platform/runtime.ts";

/** After the last time in any fixture. */
export const NOW = Date.parse("2026-08-23T10:00:00.000Z");

export interface TestRuntime extends Runtime {
  /** Sets the clock forward, ms. */
  advance(ms: number): void;
}

/** A clock that stands still, chance that is always 0.5, ids that count. A sleep passes at once and moves the clock. */
export function aRuntime(start = NOW): TestRuntime {
  let now = start;
  let count = 0;
  return {
    now: () => now,
    random: () => 0.5,
    newId: (prefix) => `${prefix}_${String(++count).padStart(24, "0")}`,
    sleep: (ms, signal) => {
      if (signal?.aborted !== true) now += ms;
      return new Promise((resolve) => setImmediate(resolve));
    },
    advance: (ms) => {
      now += ms;
    },
  };
}

/**
 * The same for a relay that was started: a sleep takes a moment and moves nothing. Else its loops would let a year pass,
 * and retention come, while something else is waited for.
 */
export const whileLoopsRun = (runtime: TestRuntime): TestRuntime => ({
  ...runtime,
  sleep: (_ms, signal) => sleep(5, signal),
});
