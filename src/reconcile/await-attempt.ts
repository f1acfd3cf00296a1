/**
 * Asks about a run between two run attempts once the next attempt should have begun. Where Skyvern sends a webhook only
 * at the end, or loses it, nothing else reports the progress. The pauses grow; a run whose retry never started is
 * delivered a day later.
 */
import type { DetailsDeps } from "./details.ts";
import { attemptDueAt, ATTEMPT_GRACE_MS, nextAttemptBy } from "../domain/follow-up-plan.ts";
import { isFinal, RETRYING, type Organization, type Run } from "../domain/run.ts";
import type { Log } from "../platform/log.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import type { Intake } from "../receive/intake.ts";
import { reportedRun } from "../skyvern/normalize.ts";

export interface AwaitAttemptDeps extends Omit<DetailsDeps, "intake"> {
  intake: Pick<Intake, "giveUpOnRetry">;
  log: Log;
}

interface Awaited {
  run: Run;
  /** The organization whose key asks. */
  organization: Organization;
  /** How often it was asked in vain. */
  failures: number;
}

/** When to ask again, epoch ms; null: no more. `failures`: how often it was asked in vain. */
export interface Next {
  at: number | null;
  failures: number;
}

/** Between questions about one run attempt; the last one for all further questions. */
const PAUSES_MS = [MINUTE_MS, 2 * MINUTE_MS, 5 * MINUTE_MS, 10 * MINUTE_MS, 30 * MINUTE_MS, HOUR_MS] as const;
/** After the time when a run attempt was to begin, or began. */
const GIVE_UP_AFTER_MS = DAY_MS;

/** Asks Skyvern about a run that is not final. */
export async function awaitAttempt(
  deps: AwaitAttemptDeps,
  { run, organization, failures }: Awaited,
  signal: AbortSignal,
): Promise<Next> {
  const { client, runtime, log } = deps;
  const answer = await client.with({ organization }).getRun(run.run_id, signal);
  const now = runtime.now();
  const said = answer.ok ? reportedRun(answer.value, now) : null;
  if (answer.ok && said !== null) {
    const endedAt = said.finished_at ?? 0;
    // Its webhook may be on the way, which says more than the API: that one goes first.
    if (isFinal(said) && now - endedAt < ATTEMPT_GRACE_MS) return { at: endedAt + ATTEMPT_GRACE_MS, failures };
    await deps.ingest(answer.value, { source: "reconciled", organization, channel: run.channel });
    if (isFinal(said)) return { at: null, failures: 0 };
    if (said.attempt > run.attempt && said.next_attempt_at !== null)
      return { at: attemptDueAt(said, now), failures: 0 };
  }
  const isWaiting = said === null ? run.status === RETRYING : said.next_attempt_at !== null;
  const began = run.attempts.at(-1)?.started_at ?? run.received_at;
  const since = run.next_attempt_at === null ? began : nextAttemptBy(run);
  const pauseMs = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)] ?? HOUR_MS;
  if (now - since < GIVE_UP_AFTER_MS) return { at: now + pauseMs, failures: failures + 1 };
  if (isWaiting && (await deps.intake.giveUpOnRetry(run.run_id, run.attempt, now))) {
    log.warn("run.retry_never_started", { run_id: run.run_id, attempt: run.attempt });
    deps.nudge();
  }
  return { at: null, failures: 0 };
}
