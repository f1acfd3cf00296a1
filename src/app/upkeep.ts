/** What is done to the database from time to time, in small steps with pauses, so that receiving never waits for it. */
import type { UpkeepStore } from "../store/contract/upkeep.ts";

export interface UpkeepDeps {
  store: Pick<UpkeepStore, "rebuildWords" | "shrink">;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Runs whose words are made anew in one step, and pages that are given back to the file system. */
const RUNS = 32;
const PAGES = 64;
const PAUSE_MS = 50;

/** All that is due now. Resolves when nothing is left, or the signal aborts. */
export async function upkeep({ store, sleep }: UpkeepDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await store.rebuildWords(RUNS)) === RUNS) await sleep(PAUSE_MS, signal);
  while (!signal.aborted && (await store.shrink(PAGES)) === PAGES) await sleep(PAUSE_MS, signal);
}
