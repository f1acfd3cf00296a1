/** Follows changes. */
import type { ChangesPage } from "../contract/changes.ts";
import type { RunStore } from "../contract/runs.ts";

export interface FollowDeps {
  store: Pick<RunStore, "changes">;
  runtime: { sleep(ms: number, signal?: AbortSignal): Promise<void> };
}

/**
 * Checks for changes every `lookMs` and yields them; yields null after `heartbeatMs` without any. Ends when the signal
 * aborts.
 */
export async function* followChanges(
  { store, runtime }: FollowDeps,
  { after, lookMs, heartbeatMs, limit }: { after: string; lookMs: number; heartbeatMs: number; limit: number },
  signal: AbortSignal,
): AsyncGenerator<ChangesPage | null, void> {
  let last = after;
  let silentMs = 0;
  while (!signal.aborted) {
    const page = store.changes({ after: last, limit });
    last = page.last;
    if (page.changes.length > 0 || !page.isKnown) {
      silentMs = 0;
      yield page;
      if (page.changes.length > 0) continue;
    } else if (silentMs >= heartbeatMs) {
      silentMs = 0;
      yield null;
    }
    await runtime.sleep(lookMs, signal);
    silentMs += lookMs;
  }
}
