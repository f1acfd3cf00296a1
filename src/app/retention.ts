/** Removes what retention says is due, in small steps with pauses, so that receiving never waits for it. */
import type { Config } from "../config/config.ts";
import type { PruneStep, Pruned, RetentionStore } from "../store/contract/retention.ts";
import type { UpkeepStore } from "../store/contract/upkeep.ts";

/** How many of each kind were removed. */
export interface Removed {
  runs: number;
  /** Received bytes whose receipts stay. */
  raw: number;
  /** Receipts that were never recognized. */
  unrecognized: number;
  /** Test deliveries. */
  tests: number;
  listed_runs: number;
}

export interface RetentionDeps {
  store: RetentionStore & Pick<UpkeepStore, "shrink" | "emptyLog">;
  settings: Config["retention"];
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** The rows examined in one step. A step of runs took 13 ms at the median, on two cores with other work. */
const LIMITS = {
  pruneRuns: 20,
  pruneBodies: 200,
  pruneUnrecognized: 100,
  pruneTests: 200,
  pruneListedRuns: 200,
};
/**
 * The pause after a step: a multiple of the step's duration, with a minimum. Pruning thereby takes at most a fifth of
 * the time.
 */
const PAUSE_FACTOR = 4;
const MIN_PAUSE_MS = 10;
const MAX_PAUSE_MS = 2_000;

/** Removes everything that is due now. When the signal aborts, the rest waits for the next time. */
export async function prune(
  deps: RetentionDeps,
  { dryRun = false, signal }: { dryRun?: boolean; signal?: AbortSignal } = {},
): Promise<Removed> {
  const { settings, now, sleep } = deps;
  const sweep = async (name: keyof typeof LIMITS, keepMs: number | null): Promise<number> => {
    if (keepMs === null) return 0;
    const given: Omit<PruneStep, "after"> = {
      before: now() - keepMs,
      limit: LIMITS[name],
      hold: settings.hold,
      dryRun,
    };
    let removed = 0;
    for (let after: string | null = null; ;) {
      if (signal?.aborted === true) break;
      const from = now();
      const done: Pruned = await deps.store[name]({ ...given, after });
      removed += done.removed;
      if (done.next === null) break;
      after = done.next;
      const pauseMs = Math.min(MAX_PAUSE_MS, Math.max(MIN_PAUSE_MS, PAUSE_FACTOR * (now() - from)));
      if (!dryRun) await sleep(pauseMs, signal);
    }
    return removed;
  };
  const { runsMs, rawMs } = settings;
  // Listed runs go before the runs themselves, or a run would seem to be missing.
  const raw = await sweep("pruneBodies", rawMs);
  const listed_runs = await sweep("pruneListedRuns", runsMs);
  const runs = await sweep("pruneRuns", runsMs);
  const unrecognized = await sweep("pruneUnrecognized", runsMs);
  const tests = await sweep("pruneTests", runsMs);
  if (!dryRun) await erase(deps, signal);
  return { runs, raw, unrecognized, tests, listed_runs };
}

/** Unused pages that are returned to the file system in one step. */
const PAGES = 64;
const TRIES = 10;

/**
 * Takes what was removed out of the files as well: out of pages that are no longer used, and out of the write-ahead
 * log. A backup that runs for long holds the log; the next round empties it then.
 */
async function erase({ store, sleep }: RetentionDeps, signal: AbortSignal | undefined): Promise<void> {
  const goesOn = (): boolean => signal?.aborted !== true;
  while (goesOn() && (await store.shrink(PAGES)) === PAGES) await sleep(MIN_PAUSE_MS, signal);
  for (let n = 0; n < TRIES && goesOn() && !(await store.emptyLog()); n += 1) await sleep(MAX_PAUSE_MS, signal);
}
