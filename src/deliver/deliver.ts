/** Delivers one claimed delivery: attempts it, decides what comes next, and records that. */
import type { Log } from "../platform/log.ts";
import type { Outcome } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Claimed, FinishedAttempt, OutboxStore } from "../store/contract/outbox.ts";
import type { Attempt, Attempted } from "./attempt.ts";
import { MAX_CUT_SHORT, nextDelay } from "./backoff.ts";
import type { Circuits } from "./circuits.ts";
import { STORAGE_RETRY_MS } from "./claim.ts";
import { destinationOf, type LaneState } from "./lane.ts";
import { logAttempt, traceAttempt, type ReportAttemptDeps } from "./report-attempt.ts";

export interface DeliverDeps extends ReportAttemptDeps {
  store: Pick<OutboxStore, "record" | "expire" | "pause">;
  fleet?: object | null;
  attempt: Attempt;
  /** Waits after the first try, ms. A delivery is tried once more than there are entries, then it is dead. */
  scheduleMs: readonly number[];
  runtime: Runtime;
  log: Log;
}

/** However long a sink asks the relay to wait, the next delivery tries it after this. */
const LONGEST_PAUSE_MS = 300_000;

/**
 * `attempted` resolves when the sink has answered and its slot is free. `recorded` resolves when the result is durable,
 * which happens in the next shared transaction; a crash between the two repeats the attempt.
 */
export interface DeliveryInProgress {
  attempted: Promise<void>;
  recorded: Promise<void>;
}

export function deliver(
  deps: DeliverDeps,
  claimed: Claimed,
  lane: LaneState,
  circuits: Circuits,
  signal: AbortSignal,
): DeliveryInProgress {
  const finished = attemptAndPlan(deps, claimed, lane, circuits, signal);
  const recorded = finished.then(async (attempt) => {
    await recordWithRetries(deps, attempt, signal);
    if (attempt.outcome.kind !== "delivered" && attempt.circuit.state === "open") await expireStale(deps, attempt);
  });
  return { attempted: finished.then(() => {}), recorded };
}

async function attemptAndPlan(
  deps: DeliverDeps,
  claimed: Claimed,
  lane: LaneState,
  circuits: Circuits,
  signal: AbortSignal,
): Promise<FinishedAttempt> {
  const { runtime } = deps;
  const { delivery } = claimed;
  const startedAt = runtime.now();
  const { outcome, revision, ...more }: Attempted =
    claimed.cutShort > MAX_CUT_SHORT
      ? { outcome: givenUp(claimed.cutShort) }
      : await deps.attempt(claimed, lane.sink, signal);
  const finishedAt = runtime.now();
  await circuits.refresh();
  const delay = delayAfter(deps, claimed, outcome, finishedAt);
  const attempt: FinishedAttempt = {
    deliveryId: delivery.id,
    sink: lane.sink.name,
    n: delivery.attempts,
    revision: shownRevision(outcome, claimed, revision),
    startedAt,
    finishedAt,
    outcome: outcome.kind === "retry" && delay === null ? asLastAttempt(outcome, delivery.attempts) : outcome,
    nextAttemptAt: delay === null ? null : finishedAt + delay,
    circuit: circuits.after(lane.sink.name, outcome, finishedAt),
    ...more,
  };
  if (outcome.kind === "retry" && outcome.retryAfterMs !== undefined) {
    lane.pausedUntil = finishedAt + Math.min(outcome.retryAfterMs, LONGEST_PAUSE_MS);
    if (deps.fleet) await sharePause(deps, lane);
  }
  logAttempt(deps, claimed, attempt);
  traceAttempt(deps.trace ?? null, claimed, attempt);
  return attempt;
}

const givenUp = (cutShort: number): Outcome => ({
  kind: "dead",
  reason: `the process ended in the middle of ${cutShort} attempts`,
});

/**
 * Only the revision that an earlier attempt may have shown has surely arrived: receivers drop a second message with the
 * same id, so later changes must not count as shown by it.
 */
const shownRevision = (outcome: Outcome, { maybeSent, delivery, state }: Claimed, rendered?: number): number =>
  (outcome.kind === "delivered" ? outcome.revision : undefined) ??
  (maybeSent ? delivery.revision : (rendered ?? state.revision));

/** The wait until the next attempt, ms; null when there is none. */
function delayAfter(
  { scheduleMs, runtime }: DeliverDeps,
  { delivery, throttled, cutShort, firstTriedAt }: Claimed,
  outcome: Outcome,
  now: number,
) {
  if (outcome.kind !== "retry") return null;
  const { retryAfterMs } = outcome;
  if (outcome.throttled === true) {
    // Waiting behind other messages must not kill a delivery.
    const waited = now - (firstTriedAt ?? now) > longestLife(scheduleMs);
    // A throttled attempt uses up no schedule, but its waits grow like the schedule's.
    const n = Math.min(throttled + 1, scheduleMs.length);
    return waited ? null : nextDelay(scheduleMs, n, runtime.random(), retryAfterMs);
  }
  // An attempt that died with its process uses up no schedule either.
  return nextDelay(scheduleMs, delivery.attempts - throttled - cutShort, runtime.random(), retryAfterMs);
}

/** No delivery is tried for longer than its schedule could last, whatever the state of its sink. */
const longestLife = (scheduleMs: readonly number[]): number =>
  Math.round(scheduleMs.reduce((sum, ms) => sum + ms, 0) * 1.1) + 60_000;

/**
 * An open circuit keeps deliveries from using up their schedules. Once the sink has accepted nothing for as long as a
 * schedule lasts, they expire visibly all the same, except those that were never attempted: these wait for their probe.
 */
async function expireStale({ store, scheduleMs, log }: DeliverDeps, attempt: FinishedAttempt): Promise<void> {
  const { sink, circuit, finishedAt } = attempt;
  const diesBefore = finishedAt - longestLife(scheduleMs);
  if ((circuit.last_success_at ?? 0) >= diesBefore) return;
  const reason = "the sink could not be reached for as long as the schedule lasts";
  try {
    const ids = await store.expire(sink, diesBefore, reason);
    for (const id of ids) log.error("delivery.died", { delivery_id: id, sink, reason });
  } catch (error) {
    log.error("delivery.loop_failed", { error: String(error) });
  }
}

const asLastAttempt = (outcome: Outcome & { kind: "retry" }, attempts: number): Outcome => ({
  kind: "dead",
  reason: `none of ${attempts} attempts succeeded; the last one: ${outcome.reason}`,
});

/** A result must not be lost to a short failure of the disk, so recording is retried. */
async function recordWithRetries(
  { store, runtime, log }: DeliverDeps,
  attempt: FinishedAttempt,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      const written = await store.record(attempt);
      if (!written) log.warn("delivery.lease_lost", { delivery_id: attempt.deliveryId, attempt: attempt.n });
      return;
    } catch (error) {
      log.error("delivery.not_recorded", { delivery_id: attempt.deliveryId, attempt: attempt.n, error: String(error) });
      if (signal.aborted) return;
      await runtime.sleep(STORAGE_RETRY_MS, signal);
    }
  }
}

/** Other relays should keep the pause as well. If that fails, the sink will ask each of them. */
async function sharePause({ store, log }: DeliverDeps, { sink, pausedUntil }: LaneState): Promise<void> {
  await store.pause(destinationOf(sink), pausedUntil).catch((error: unknown) => {
    log.warn("delivery.pause_not_shared", { sink: sink.name, error: String(error) });
  });
}
