/** Maintains the database in small steps with pauses, so that receiving never waits for it. */
import type { UpkeepStore } from "../store/contract/upkeep.ts";

export interface UpkeepDeps {
  store: Pick<UpkeepStore, "rebuildWords" | "shrink">;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Runs whose words are rebuilt, and pages that are returned to the file system, in one step. */
const RUNS = 32;
const PAGES = 64;
const PAUSE_MS = 50;

/** Does everything that is due. Resolves when nothing is left or the signal aborts. */
export async function upkeep({ store, sleep }: UpkeepDeps, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await store.rebuildWords(RUNS)) === RUNS) await sleep(PAUSE_MS, signal);
  while (!signal.aborted && (await store.shrink(PAGES)) === PAGES) await sleep(PAUSE_MS, signal);
}
