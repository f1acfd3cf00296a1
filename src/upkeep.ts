/** What can wait until there is room, in small steps: words for the search, packing what is at rest, and giving back the room that leaves. */
import type { Store } from "./store/store.ts";

export interface UpkeepParts {
  store: Pick<Store, "indexWords" | "packRuns" | "shrink">;
  /** The share of time, 0 to 1, that the process had no rest since it was last asked. */
  busyShare(): number;
  now(): number;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** Runs in one step: some milliseconds, and in FTS5 each costs less the more there are. */
const INDEXED = 64;
const PACKED = 16;
const PAGES = 64;
/** By then nearly every run has been told of, and read by whoever waited for it. */
const REST_MS = 60_000;
/** Below it there is room. */
const ROOM = 0.5;
const LOOK_MS = 250;
/** Under load that lasts longer it begins all the same… */
const MAX_WAIT_MS = 30_000;
/** …and takes at most a fifth of the time: the pause after a step, in its own lengths. */
const PAUSE_FACTOR = 4;

/** All that is due now, once there is room for it. Resolves when nothing is left, or the signal aborts. */
export async function upkeep({ store, busyShare, now, sleep }: UpkeepParts, signal: AbortSignal): Promise<void> {
  for (const waitUntil = now() + MAX_WAIT_MS; ;) {
    while (busyShare() > ROOM && now() < waitUntil && !signal.aborted) await sleep(LOOK_MS, signal);
    if (signal.aborted) return;
    const from = now();
    const indexed = await store.indexWords(INDEXED);
    const packed = await store.packRuns(now() - REST_MS, PACKED);
    // What was packed left its pages behind.
    const given = indexed < INDEXED && packed < PACKED ? await store.shrink(PAGES) : PAGES;
    if (given < PAGES) return;
    await sleep(PAUSE_FACTOR * (now() - from), signal);
  }
}
