/**
 * Fills a relay that follows every run with the runs of the last days at its first start, from Skyvern's list. They are
 * not delivered. `reconcile.ts` finds the runs that end later.
 */
import type { Log } from "../platform/log.ts";
import { DAY_MS } from "../platform/time.ts";
import { backfill, type BackfillDeps, type Tally } from "./backfill.ts";
import { byOrganization } from "./reconcile.ts";

export interface CompleteHistoryDeps extends Omit<BackfillDeps, "progress" | "scope" | "signal"> {
  /** How far back, ms. */
  historyMs: number;
  /** When the first start was, epoch ms. */
  newsSince: number;
  log: Log;
}

/** Runs read, of all organizations together: they fit into the half of the default budget that may be used at once. */
export const MAX_HISTORY = 1_500;

/**
 * Fills in unknown runs. An interrupted fill continues at the next start, until a day after the first one. Null: there
 * was nothing to do.
 */
export async function fillHistory(deps: CompleteHistoryDeps, signal: AbortSignal): Promise<Tally | null> {
  const { client, runtime, log, historyMs, newsSince } = deps;
  if (runtime.now() - newsSince > DAY_MS) return null;
  const organizations = byOrganization(client.perKey()).size;
  const tally = await backfill(
    { ...deps, scope: "all", signal, progress: () => {} },
    {
      since: newsSince - historyMs,
      until: newsSince,
      endedBefore: newsSince,
      workflow: [],
      limit: Math.floor(MAX_HISTORY / organizations),
    },
  );
  const { added, known, unreadable, faults } = tally;
  // What a stop interrupted continues at the next start.
  const level = signal.aborted ? "debug" : faults.length === 0 ? "info" : "warn";
  log[level]("history.backfilled", { added, known, unreadable, faults });
  return tally;
}
