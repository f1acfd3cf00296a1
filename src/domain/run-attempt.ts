/** A run as it was between two of its run attempts. Pure. */
import { isTerminal, RETRYING, type Run } from "./run.ts";

/** The numbers of the run attempts that failed with another one to come, whether that has begun or not. */
export function listRetriedAttempts({ status, reported_status: reported, attempt, attempts }: Run): number[] {
  const numbers = attempts
    .filter((one) => one.attempt < attempt && isTerminal(one.status) && one.status !== "completed")
    .map((one) => one.attempt);
  return status === RETRYING && reported !== "completed" ? [...numbers, attempt] : numbers;
}

/**
 * The run when that attempt of it had ended and the next one was to come. Of an attempt that is not the run's last,
 * only what stands in its row is known: its output, files and pictures have been replaced.
 */
export function runAtAttempt(run: Run, number: number): Run {
  const attempts = run.attempts.filter(({ attempt }) => attempt <= number);
  const row = attempts.findLast(({ attempt }) => attempt === number);
  const ended = { status: RETRYING, attempt: number, attempts, reported_status: row?.status ?? run.reported_status };
  if (number === run.attempt) return { ...run, ...ended };
  const next = run.attempts.find(({ attempt }) => attempt === number + 1);
  const { reason = null, codes = [] } = row ?? {};
  return {
    ...run,
    ...ended,
    summary: null,
    output: null,
    failure: reason === null && codes.length === 0 ? null : { reason, codes, categories: [], errors: [] },
    files: [],
    recording: null,
    screenshots: [],
    step_count: null,
    children: [],
    credits: null,
    ai_fallback: null,
    next_attempt_at: next?.started_at ?? null,
    queued_at: null,
    finished_at: row?.finished_at ?? null,
    modified_at: null,
  };
}

/** Names the event of a run attempt: the same whenever it is sent, also on request. Printable ASCII. */
export const attemptEventId = (runId: string, number: number): string =>
  `${encodeURIComponent(runId)}_attempt_${number}`;
