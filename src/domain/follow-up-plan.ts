/** Plans when a run is asked about again after its webhook. Pure. */
import { DAY_MS } from "../platform/time.ts";
import type { Run } from "./run.ts";

/** Skyvern finishes a v2 recording some seconds after its webhook. */
export const ARTIFACTS_DELAY_MS = 60_000;
export const DETAILS_DELAY_MS = 3_000;

/** Between two run attempts: after the next one is to begin, so much time for it to end and for its webhook to come. */
export const ATTEMPT_GRACE_MS = 30_000;

/**
 * When the next run attempt of a run is taken to begin, epoch ms: at the time that Skyvern announced, but no later than
 * a day after the last one ended. A policy waits for an hour at most.
 */
export const nextAttemptBy = ({ next_attempt_at: next, finished_at: ended, received_at: received }: Run): number =>
  Math.min(next ?? received, (ended ?? received) + DAY_MS);

/** When a run is to be asked about whose next run attempt is to come. */
export const attemptDueAt = (run: Run, now: number): number => Math.max(nextAttemptBy(run), now) + ATTEMPT_GRACE_MS;

/** When to ask again about a run that was just accepted, or undefined. */
export function followUpAt(run: Run, now: number): number | undefined {
  const byWebhook = run.source === "webhook";
  // The API has already said all it knows of the run, and artifacts are final soon after a run's end.
  if (!byWebhook && now - (run.finished_at ?? now) >= ARTIFACTS_DELAY_MS) return undefined;
  if (byWebhook && lacksGoal(run)) return now + DETAILS_DELAY_MS;
  return run.run_type === "task_v2" ? now + ARTIFACTS_DELAY_MS : undefined;
}

/** True when only the API knows what the run was to do. */
export const lacksGoal = (run: Run): boolean => run.kind === "task" && run.prompt === null && run.url === null;

/** True when Skyvern was not asked where the run comes from. */
export const lacksRelations = (run: Run): boolean => run.kind === "workflow" && (run.tags ?? null) === null;
