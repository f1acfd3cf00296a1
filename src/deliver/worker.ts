import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Outcome } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import type { Sink } from "../sinks/sink.ts";
import type { Claimed, FinishedAttempt, Store } from "../store/store.ts";
import type { Attempt } from "./attempt.ts";
import { nextDelay } from "./backoff.ts";

export interface Lane {
  sink: Sink;
  /** Attempts at one time. */
  concurrency: number;
}

export interface WorkerParts {
  store: Pick<Store, "claimDue" | "nextDueAt" | "record">;
  lanes: readonly Lane[];
  attempt: Attempt;
  /** Waits after the first try, ms. One try more than it has entries, then dead. */
  scheduleMs: readonly number[];
  /** Longer than any attempt can take, ms. */
  leaseMs: number;
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
}

export interface Worker {
  start(): void;
  /** Something may be due now: look at once. */
  nudge(): void;
  /** Attempts all that is due, and ends when that is done. For tests and one-shot commands; not beside `start`. */
  runOnce(): Promise<void>;
  /** Claims no more, lets attempts end within `graceMs`, then aborts them. Resolves when all are recorded. */
  stop(graceMs: number): Promise<void>;
}

/** What is due is looked for at least this often, should a nudge or a clock ever fail. */
const LONGEST_SLEEP_MS = 30_000;
const STORAGE_RETRY_MS = 1_000;

/**
 * The delivery loop. One lane a sink, so that a slow sink holds up nobody else. A lane claims as many due deliveries as
 * it has room for, attempts each, records what came of it, and looks again. Between, the worker sleeps until the next
 * delivery is due or a nudge comes.
 */
export function createWorker(parts: WorkerParts): Worker {
  const { store, lanes, runtime, log } = parts;
  const abort = new AbortController();
  const running = new Set<Promise<void>>();
  const room = new Map(lanes.map((lane) => [lane, lane.concurrency]));
  const sinkNames = lanes.map(({ sink }) => sink.name);
  let stopping = false;
  let wake = () => {};
  let loop: Promise<void> | null = null;

  let pending = false;
  const nudge = () => {
    pending = true;
    wake();
  };

  const track = (work: Promise<void>) => {
    running.add(work);
    void work.finally(() => running.delete(work));
  };

  /** Claims what a lane has room for. True when it may have left something due behind. */
  const fill = async (lane: Lane): Promise<boolean> => {
    const limit = room.get(lane) ?? 0;
    if (limit === 0 || stopping) return false;
    const now = runtime.now();
    const claimed = await store.claimDue({ sink: lane.sink.name, now, leaseMs: parts.leaseMs, limit });
    room.set(lane, limit - claimed.length);
    for (const claim of claimed) {
      track(
        deliver(parts, claim, lane, abort.signal).finally(() => {
          room.set(lane, (room.get(lane) ?? 0) + 1);
          nudge();
        }),
      );
    }
    return claimed.length > 0;
  };

  const fillAll = async (): Promise<boolean> => {
    let claimed = false;
    for (const lane of lanes) claimed = (await fill(lane)) || claimed;
    return claimed;
  };

  const sleepUntilDue = async (): Promise<void> => {
    // A full lane wakes the loop itself when it has room again.
    const open = sinkNames.filter((_name, i) => (room.get(lanes[i] as Lane) ?? 0) > 0);
    const next = await store.nextDueAt(open);
    const ms = next === null ? LONGEST_SLEEP_MS : Math.min(LONGEST_SLEEP_MS, next - runtime.now());
    if (ms <= 0) return;
    const sleeping = new AbortController();
    wake = () => sleeping.abort();
    if (pending || stopping) sleeping.abort();
    await runtime.sleep(ms, sleeping.signal);
  };

  const run = async (): Promise<void> => {
    for (;;) {
      if (stopping) return;
      try {
        pending = false;
        while (await fillAll());
        await sleepUntilDue();
      } catch (error) {
        log.error("delivery.loop_failed", { error: String(error) });
        await runtime.sleep(STORAGE_RETRY_MS, abort.signal);
      }
    }
  };

  return {
    start: () => {
      loop ??= run();
    },
    nudge,
    runOnce: async () => {
      while ((await fillAll()) || running.size > 0) await Promise.all(running);
    },
    stop: async (graceMs) => {
      stopping = true;
      wake();
      const ended = async () => {
        await loop;
        while (running.size > 0) await Promise.all(running);
      };
      const timer = new AbortController();
      void runtime.sleep(graceMs, timer.signal).then(() => abort.abort());
      await ended();
      timer.abort();
    },
  };
}

async function deliver(parts: WorkerParts, claimed: Claimed, lane: Lane, signal: AbortSignal): Promise<void> {
  const { runtime, metrics } = parts;
  const { delivery } = claimed;
  const startedAt = runtime.now();
  const tries = parts.scheduleMs.length + 1;
  const outcome: Outcome =
    delivery.attempts > tries
      ? { kind: "dead", reason: `given up: the process ended in the middle of attempt ${tries}` }
      : await parts.attempt(claimed, lane.sink, signal);
  const finishedAt = runtime.now();
  const delay =
    outcome.kind === "retry"
      ? nextDelay(parts.scheduleMs, delivery.attempts, runtime.random(), outcome.retryAfterMs)
      : null;
  const final = outcome.kind === "retry" && delay === null ? lastOf(outcome, delivery.attempts) : outcome;
  const attempt = {
    deliveryId: delivery.id,
    n: delivery.attempts,
    startedAt,
    finishedAt,
    outcome: final,
    nextAttemptAt: delay === null ? null : finishedAt + delay,
  };
  metrics.attempts.inc({ sink: lane.sink.name, outcome: final.kind });
  metrics.attemptSeconds.observe({ sink: lane.sink.name }, (finishedAt - startedAt) / 1000);
  if (final.kind === "delivered") {
    metrics.deliverySeconds.observe({ sink: lane.sink.name }, (finishedAt - delivery.created_at) / 1000);
  }
  logAttempt(parts.log, claimed, attempt);
  await recordSurely(parts, attempt, signal);
}

const lastOf = (outcome: Outcome & { kind: "retry" }, attempts: number): Outcome => ({
  kind: "dead",
  reason: `given up after ${attempts} attempts; the last one: ${outcome.reason}`,
});

/** A result must not be lost to a moment's trouble with the disk: it is written as soon as that is over. */
async function recordSurely(
  { store, runtime, log }: WorkerParts,
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

function logAttempt(
  log: Log,
  { delivery, state }: Claimed,
  { outcome, n, startedAt, finishedAt, nextAttemptAt }: FinishedAttempt,
) {
  const fields = {
    delivery_id: delivery.id,
    run_id: delivery.run_id,
    revision: state.revision,
    sink: delivery.sink,
    kind: delivery.kind,
    cause: delivery.cause,
    attempt: n,
    outcome: outcome.kind,
    reason: outcome.kind === "delivered" ? null : outcome.reason,
    ms: finishedAt - startedAt,
    next_attempt_at: nextAttemptAt === null ? null : new Date(nextAttemptAt).toISOString(),
  };
  if (outcome.kind === "delivered") log.info("delivery.attempted", fields);
  else log.warn("delivery.attempted", fields);
  if (outcome.kind === "dead") log.error("delivery.died", { ...fields, attempts: n });
}
