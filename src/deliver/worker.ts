import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import type { Circuit, Outcome } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import type { Sink } from "../sinks/sink.ts";
import type { Claimed, FinishedAttempt, Store } from "../store/store.ts";
import { attemptSpanOf, revisionSpanOf, traceIdOf, type Trace } from "../trace.ts";
import type { Attempt } from "./attempt.ts";
import { MAX_CUT_SHORT, nextDelay } from "./backoff.ts";
import { admits, afterOutcome, CLOSED } from "./breaker.ts";
import { intervalOf, nextSlot } from "./pace.ts";

export interface Lane {
  sink: Sink;
  /** Attempts at one time; an ordered sink has one. */
  concurrency: number;
}

export interface WorkerParts {
  store: Pick<
    Store,
    | "claimDue"
    | "nextDueAt"
    | "record"
    | "expire"
    | "shiftDue"
    | "circuits"
    | "saveCircuit"
    | "unclaim"
    | "slotAt"
    | "pause"
  >;
  /** This relay among others on the same database; null where it is the only one. */
  fleet?: { name: string; isPresent(): boolean } | null;
  lanes: readonly Lane[];
  attempt: Attempt;
  /** Waits after the first try, ms. One try more than it has entries, then dead. */
  scheduleMs: readonly number[];
  /** Longer than any attempt can take, ms. */
  leaseMs: number;
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
  /** Null or left out: nobody collects traces. */
  trace?: Trace;
}

export interface Worker {
  start(): void;
  /** Something may be due now: look at once. */
  nudge(): void;
  /**
   * For a host that sleeps between: does what the loop does until nothing can be done for some seconds and no attempt is under
   * way, claiming nothing more once `enough` says so. Resolves with when to call again, epoch ms; null when only a nudge will
   * tell. Rejects when the store does. Not beside `start`.
   */
  work(enough: () => boolean): Promise<number | null>;
  /** Attempts all that is due, at full speed, and ends when that is done. For tests; not beside `start`. */
  runOnce(): Promise<void>;
  /** Claims no more, lets attempts end within `graceMs`, then aborts them. Resolves when all are recorded. */
  stop(graceMs: number): Promise<void>;
  /** Turns a sink on again: closes its circuit, whatever its state. */
  resume(sink: string): Promise<void>;
  circuit(sink: string): Promise<Circuit>;
  /** How long the loop has not shown a sign of life, ms. Beyond a minute something is badly wrong. */
  silentMs(): number;
}

/** What is due is looked for at least this often, should a nudge or a clock ever fail. */
const LONGEST_SLEEP_MS = 30_000;
const STORAGE_RETRY_MS = 1_000;
/** In an ordered sink, a delivery to be tried again within this time holds up those behind it. */
const HOLD_MS = 60_000;
/** A sink that asks for a pause is believed for at most this long before it is asked again. */
const LONGEST_PAUSE_MS = 300_000;
/** A host that sleeps between is not worth sending to sleep for less. */
const AWAKE_MS = 3_000;
/** A clock that went back by more than this was set back. */
const CLOCK_TOLERANCE_MS = 5_000;

/** What a lane knows between its claims. */
interface LaneState extends Lane {
  queue: { sink: string; holdMs: number | null };
  /** Ids of the deliveries under way. */
  running: Set<string>;
  /** The sink asked for a pause until then, epoch ms. */
  pausedUntil: number;
}

/**
 * The delivery loop. One lane a sink, so that a slow or dead sink holds up nobody else. A lane claims what is due, as far
 * as its circuit, its pace and its room allow, attempts it, records what came of it, and looks again. Between, the worker
 * sleeps until some lane can act or a nudge comes.
 */
export function createWorker(parts: WorkerParts): Worker {
  const { store, runtime, log } = parts;
  const lanes = parts.lanes.map(laneOf);
  const abort = new AbortController();
  const attempts = new Set<Promise<void>>();
  const circuits = createCircuits(parts);
  /** When each paced destination got its last message. */
  const lastSent = new Map<string, number>();
  /** A claim is under way, or its answer never came: it may have been written all the same. */
  let claiming = false;
  let stopping = false;
  let loop: Promise<void> | null = null;
  let lastTick = runtime.now();
  /** By a clock that nobody sets. */
  let lastSign = performance.now();
  let nudged = false;
  let wake = () => {};

  const nudge = () => {
    nudged = true;
    wake();
  };

  const begin = (lane: LaneState, claimed: Claimed): void => {
    lane.running.add(claimed.delivery.id);
    const work = deliver(parts, claimed, lane, circuits, abort.signal).finally(() => {
      lane.running.delete(claimed.delivery.id);
      attempts.delete(work);
      nudge();
    });
    attempts.add(work);
  };

  /** Claims what a lane may attempt now. When to look again, epoch ms; null when its own attempts or a nudge will tell. */
  const step = async (lane: LaneState, paced: boolean): Promise<number | null> => {
    const now = runtime.now();
    const gate = admits(await circuits.of(lane.sink.name), now);
    const limit = Math.min(gate.limit, lane.concurrency) - lane.running.size;
    if (limit <= 0) return gate.limit === 0 ? gate.at : null;
    const { pace } = lane.sink;
    const slot = paced ? Math.max(lane.pausedUntil, nextSlot(pace, lastSent.get(pace?.key ?? "") ?? null)) : 0;
    if (slot > now) return slot;
    const { fleet } = parts;
    // The others would take over what it begins.
    if (fleet && !fleet.isPresent()) return now + STORAGE_RETRY_MS;
    const shared = fleet
      ? {
          holder: fleet.name,
          alone: gate.limit !== Infinity,
          destination: destinationOf(lane.sink),
          everyMs: paced && pace ? intervalOf(pace) : 0,
        }
      : null;
    claiming = true;
    const claimed = await store.claimDue(lane.queue, {
      now,
      leaseMs: parts.leaseMs,
      limit: pace && paced ? 1 : limit,
      except: [...lane.running],
      ...(shared ? { shared } : {}),
    });
    claiming = false;
    if (pace && claimed.length > 0) lastSent.set(pace.key, now);
    for (const one of claimed) begin(lane, one);
    if (claimed.length > 0) return now;
    const next = await store.nextDueAt(lane.queue, now);
    const due = next === null || !shared ? next : Math.max(next, await store.slotAt(shared.destination));
    // Due but not to be had: another process has it. It is looked for again, but not in a circle.
    return due === null ? null : Math.max(due, now + STORAGE_RETRY_MS / 4);
  };

  const running = (): string[] => lanes.flatMap((lane) => [...lane.running]);

  const tick = async (): Promise<number> => {
    const now = runtime.now();
    if (now < lastTick - CLOCK_TOLERANCE_MS) await onClockSetBack(lastTick - now);
    lastTick = now;
    lastSign = performance.now();
    if (claiming && parts.fleet) {
      const lost = await store.unclaim(parts.fleet.name, running(), now);
      if (lost > 0) log.warn("delivery.unclaimed", { deliveries: lost });
    }
    claiming = false;
    let next = Number.POSITIVE_INFINITY;
    for (const lane of lanes) next = Math.min(next, (await step(lane, true)) ?? next);
    return next;
  };

  const onClockSetBack = async (byMs: number): Promise<void> => {
    log.warn("clock.set_back", { ms: byMs });
    // Of several relays each would do it.
    if (!parts.fleet) await store.shiftDue(byMs);
    circuits.shift(byMs);
    lastSent.clear();
    for (const lane of lanes) lane.pausedUntil = 0;
  };

  const sleepUntil = async (at: number): Promise<void> => {
    const ms = at - runtime.now();
    if (ms <= 0) return;
    const sleeping = new AbortController();
    wake = () => sleeping.abort();
    if (nudged || stopping) sleeping.abort();
    await runtime.sleep(Math.min(ms, LONGEST_SLEEP_MS), sleeping.signal);
  };

  const run = async (): Promise<void> => {
    for (;;) {
      if (stopping) return;
      try {
        nudged = false;
        await sleepUntil(await tick());
      } catch (error) {
        log.error("delivery.loop_failed", { error: String(error) });
        await runtime.sleep(STORAGE_RETRY_MS, abort.signal);
      }
    }
  };

  return {
    start: () => {
      lastTick = runtime.now();
      lastSign = performance.now();
      loop ??= run();
    },
    nudge,
    work: async (enough) => {
      lastTick = runtime.now();
      for (;;) {
        nudged = false;
        const next = enough() ? runtime.now() : await tick();
        if (attempts.size > 0) await (enough() ? Promise.all(attempts) : sleepUntil(next));
        else if (enough()) return next;
        else if (nudged || next - runtime.now() <= AWAKE_MS) await sleepUntil(next);
        else return next === Number.POSITIVE_INFINITY ? null : next;
      }
    },
    runOnce: async () => {
      for (;;) {
        const now = runtime.now();
        const next = await Promise.all(lanes.map((lane) => step(lane, false)));
        if (attempts.size > 0) await Promise.all(attempts);
        else if (!next.some((at) => at !== null && at <= now)) return;
      }
    },
    stop: async (graceMs) => {
      stopping = true;
      wake();
      const timer = new AbortController();
      void runtime.sleep(graceMs, timer.signal).then(() => abort.abort());
      await loop;
      while (attempts.size > 0) await Promise.all(attempts);
      timer.abort();
    },
    resume: async (sink) => {
      await circuits.close(sink);
      nudge();
    },
    circuit: circuits.of,
    silentMs: () => (loop === null || stopping ? 0 : performance.now() - lastSign),
  };
}

const laneOf = ({ sink, concurrency }: Lane): LaneState => ({
  sink,
  concurrency: sink.ordered ? 1 : concurrency,
  queue: { sink: sink.name, holdMs: sink.ordered ? HOLD_MS : null },
  running: new Set(),
  pausedUntil: 0,
});

type Circuits = ReturnType<typeof createCircuits>;

/** The other relays are to keep the pause as well. If they cannot be told, each will be by the sink. */
async function tellPause({ store, log }: WorkerParts, { sink, pausedUntil }: LaneState): Promise<void> {
  await store.pause(destinationOf(sink), pausedUntil).catch((error: unknown) => {
    log.warn("delivery.pause_not_told", { sink: sink.name, error: String(error) });
  });
}

const destinationOf = ({ name, pace }: Sink): string => pace?.key ?? `sink ${name}`;

/** What other relays did to a circuit is known after so long. */
const CIRCUITS_FRESH_MS = 500;

/** The sinks' circuits: in memory for deciding, in the store with each attempt; read again where other relays write them too. */
function createCircuits({ store, log, fleet }: WorkerParts) {
  let loaded: Promise<Map<string, Circuit>> | null = null;
  /** By a clock that nobody sets. */
  let loadedAt = 0;
  const all = async () => {
    if (fleet && performance.now() - loadedAt > CIRCUITS_FRESH_MS) loaded = null;
    if (loaded === null) loadedAt = performance.now();
    loaded ??= store.circuits();
    try {
      return await loaded;
    } catch (error) {
      loaded = null;
      throw error;
    }
  };
  let known = new Map<string, Circuit>();
  const of = async (sink: string): Promise<Circuit> => {
    known = await all();
    return known.get(sink) ?? CLOSED;
  };
  return {
    of,
    /** Reads again what other relays may have changed, if it can. */
    refresh: async (): Promise<void> => {
      if (!fleet) return;
      try {
        known = await all();
      } catch {
        // What was known before has to do.
      }
    },
    /** The circuit after an outcome; it is saved with the attempt. */
    after: (sink: string, outcome: Outcome, now: number): Circuit => {
      const was = known.get(sink) ?? CLOSED;
      const is = afterOutcome(was, outcome, now);
      known.set(sink, is);
      if (is.state !== was.state) log.warn(`circuit.${CHANGES[is.state]}`, { sink, reason: is.reason });
      return is;
    },
    close: async (sink: string): Promise<void> => {
      const was = await of(sink);
      const is = { ...CLOSED, last_success_at: was.last_success_at, last_failure_at: was.last_failure_at };
      await store.saveCircuit(sink, is);
      known.set(sink, is);
      log.info("circuit.closed", { sink, reason: "turned on again" });
    },
    shift: (byMs: number) => {
      for (const [sink, circuit] of known) {
        if (circuit.until !== null) known.set(sink, { ...circuit, until: circuit.until - byMs });
      }
    },
  };
}

const CHANGES = { closed: "closed", open: "opened", stopped: "stopped" } as const;

async function deliver(
  parts: WorkerParts,
  claimed: Claimed,
  lane: LaneState,
  circuits: Circuits,
  signal: AbortSignal,
): Promise<void> {
  const { runtime } = parts;
  const { delivery } = claimed;
  const startedAt = runtime.now();
  const outcome: Outcome =
    claimed.cutShort > MAX_CUT_SHORT
      ? { kind: "dead", reason: `given up: the process ended in the middle of ${claimed.cutShort} attempts` }
      : await parts.attempt(claimed, lane.sink, signal);
  const finishedAt = runtime.now();
  await circuits.refresh();
  const delay = delayAfter(parts, claimed, outcome, finishedAt);
  const attempt: FinishedAttempt = {
    deliveryId: delivery.id,
    sink: lane.sink.name,
    n: delivery.attempts,
    revision: toldBy(outcome, claimed),
    startedAt,
    finishedAt,
    outcome: outcome.kind === "retry" && delay === null ? lastOf(outcome, delivery.attempts) : outcome,
    nextAttemptAt: delay === null ? null : finishedAt + delay,
    circuit: circuits.after(lane.sink.name, outcome, finishedAt),
  };
  if (outcome.kind === "retry" && outcome.retryAfterMs !== undefined) {
    lane.pausedUntil = finishedAt + Math.min(outcome.retryAfterMs, LONGEST_PAUSE_MS);
    if (parts.fleet) await tellPause(parts, lane);
  }
  tell(parts, claimed, attempt);
  traceAttempt(parts.trace ?? null, claimed, attempt);
  await recordSurely(parts, attempt, signal);
  if (outcome.kind === "retry" && attempt.circuit.state === "open") await buryOld(parts, attempt);
}

/**
 * What an earlier attempt may have shown is all that surely arrived: receivers drop a second message with the same id, so
 * what became news since must not count as told by it.
 */
const toldBy = (outcome: Outcome, { maybeSent, delivery, state }: Claimed): number =>
  (outcome.kind === "delivered" ? outcome.revision : undefined) ?? (maybeSent ? delivery.revision : state.revision);

/** Until the next attempt, ms; null when there is none. */
function delayAfter(
  { scheduleMs, runtime }: WorkerParts,
  { delivery, throttled, cutShort, firstTriedAt }: Claimed,
  outcome: Outcome,
  now: number,
) {
  if (outcome.kind !== "retry") return null;
  const { retryAfterMs } = outcome;
  if (outcome.throttled === true) {
    // Waiting for its turn behind others is no reason to die.
    const waited = now - (firstTriedAt ?? now) > longestLife(scheduleMs);
    // It uses up no schedule, but it slows down as the schedule does.
    const n = Math.min(throttled + 1, scheduleMs.length);
    return waited ? null : nextDelay(scheduleMs, n, runtime.random(), retryAfterMs);
  }
  // Neither does an attempt that died with its process.
  return nextDelay(scheduleMs, delivery.attempts - throttled - cutShort, runtime.random(), retryAfterMs);
}

/** No delivery is tried for longer than its schedule could last, however its sink is. */
const longestLife = (scheduleMs: readonly number[]): number =>
  Math.round(scheduleMs.reduce((sum, ms) => sum + ms, 0) * 1.1) + 60_000;

/**
 * An open circuit keeps deliveries from using up their schedules; here they die of age all the same, and visibly, once the
 * sink has taken nothing for as long as a schedule lasts.
 */
async function buryOld({ store, scheduleMs, log }: WorkerParts, attempt: FinishedAttempt): Promise<void> {
  const { sink, circuit, finishedAt } = attempt;
  const diesBefore = finishedAt - longestLife(scheduleMs);
  if ((circuit.last_success_at ?? 0) >= diesBefore) return;
  const reason = "given up: the sink could not be reached for as long as the schedule lasts";
  try {
    const ids = await store.expire(sink, diesBefore, reason);
    for (const id of ids) log.error("delivery.died", { delivery_id: id, sink, reason });
  } catch (error) {
    log.error("delivery.loop_failed", { error: String(error) });
  }
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

function tell({ metrics, log }: WorkerParts, { delivery, state }: Claimed, attempt: FinishedAttempt): void {
  const { outcome, sink, n, startedAt, finishedAt, nextAttemptAt } = attempt;
  metrics.attempts.inc({ sink, outcome: outcome.kind });
  metrics.attemptSeconds.observe({ sink }, (finishedAt - startedAt) / 1000);
  const fields = {
    delivery_id: delivery.id,
    run_id: delivery.run_id,
    trace_id: traceIdOf(delivery.run_id),
    revision: state.revision,
    sink,
    kind: delivery.kind,
    cause: delivery.cause,
    attempt: n,
    outcome: outcome.kind,
    reason: outcome.kind === "delivered" ? null : outcome.reason,
    ms: finishedAt - startedAt,
    next_attempt_at: nextAttemptAt === null ? null : new Date(nextAttemptAt).toISOString(),
  };
  if (outcome.kind === "delivered") {
    metrics.deliverySeconds.observe({ sink }, (finishedAt - delivery.created_at) / 1000);
    log.info("delivery.attempted", fields);
  } else log.warn("delivery.attempted", fields);
  if (outcome.kind === "dead") log.error("delivery.died", fields);
}

function traceAttempt(trace: Trace, { delivery }: Claimed, attempt: FinishedAttempt): void {
  if (trace === null) return;
  const { outcome, sink, n, startedAt, finishedAt } = attempt;
  trace({
    traceId: traceIdOf(delivery.run_id),
    spanId: attemptSpanOf(delivery.id, n),
    parentSpanId: revisionSpanOf(delivery.run_id, delivery.revision),
    link: n > 1 ? attemptSpanOf(delivery.id, n - 1) : null,
    name: "delivery.attempted",
    kind: "client",
    startedAt,
    finishedAt,
    attributes: {
      "skyvern.run_id": delivery.run_id,
      "skyvern_relay.delivery_id": delivery.id,
      "skyvern_relay.sink": sink,
      "skyvern_relay.sink_kind": delivery.kind,
      "skyvern_relay.cause": delivery.cause,
      "skyvern_relay.attempt": n,
      "skyvern_relay.outcome": outcome.kind,
    },
    error: outcome.kind === "delivered" ? null : outcome.reason,
  });
}
