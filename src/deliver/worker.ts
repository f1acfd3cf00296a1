import type { Circuit } from "../domain/run.ts";
import type { Claimed, OutboxStore } from "../store/contract/outbox.ts";
import { createCircuits } from "./circuits.ts";
import { Claims, STORAGE_RETRY_MS, type ClaimsDeps, type FleetMember } from "./claim.ts";
import { deliver, type DeliverDeps } from "./deliver.ts";
import { heldIds, createLane, type Lane, type LaneState } from "./lane.ts";

export interface WorkerDeps extends ClaimsDeps, DeliverDeps {
  store: ClaimsDeps["store"] & DeliverDeps["store"] & Pick<OutboxStore, "shiftDue" | "circuits" | "saveCircuit">;
  /** This relay among others on the same database; null for the only one. */
  fleet?: FleetMember | null;
  lanes: readonly Lane[];
}

export interface Worker {
  start(): void;
  /** Tells the worker that something may be due now. */
  nudge(): void;
  /**
   * For a host that sleeps in between: delivers until nothing can be done for some seconds and no attempt is in flight,
   * and claims nothing more once `enough` returns true. Resolves with when to call again, epoch ms; null when only a
   * nudge will trigger it. Rejects when the store does. Not to be combined with `start`.
   */
  work(enough: () => boolean): Promise<number | null>;
  /** Attempts everything that is due, at full speed, then ends. For tests; not to be combined with `start`. */
  runOnce(): Promise<void>;
  /** Stops claiming, lets attempts end within `graceMs`, then aborts them. Resolves when all are recorded. */
  stop(graceMs: number): Promise<void>;
  /** Resumes a sink: closes its circuit, whatever its state. */
  resume(sink: string): Promise<void>;
  circuit(sink: string): Promise<Circuit>;
  /** How long the loop has shown no sign of life, ms. More than a minute means that it hangs. */
  silentMs(): number;
}

/** The longest time between two looks for due deliveries, in case a nudge or a clock fails. */
const LONGEST_SLEEP_MS = 30_000;
/** The shortest wait for which a sleeping host goes to sleep. */
const AWAKE_MS = 3_000;
/** A clock that moved back by more than this was set back. */
const CLOCK_TOLERANCE_MS = 5_000;

/**
 * The delivery loop. Each sink has a lane, so that a slow or dead sink holds up no other. A lane claims what is due,
 * within its circuit, its pace and its slots, and attempts it. A slot is free again when the sink has answered; the
 * result is recorded beside. In between the worker sleeps until some lane can act or a nudge comes.
 *
 * States: idle → running (`start`) → stopping (`stop`: no more claims; unstarted claims are released) → stopped.
 */
export function createWorker(deps: WorkerDeps): Worker {
  const { store, runtime, log } = deps;
  const lanes = deps.lanes.map(createLane);
  const abort = new AbortController();
  /** Attempts that are not recorded yet. */
  const pending = new Set<Promise<void>>();
  const circuits = createCircuits(deps);
  const claims = new Claims(deps, circuits);
  let stopping = false;
  let loop: Promise<void> | null = null;
  let lastTick = runtime.now();
  /** Monotonic clock. */
  let lastSign = performance.now();
  let nudged = false;
  let wake = () => {};

  const look = () => {
    nudged = true;
    wake();
  };
  let lookedAt = runtime.now();
  const lookEverywhere = () => {
    lookedAt = runtime.now();
    for (const lane of lanes) lane.isStale = true;
  };
  const nudge = () => {
    lookEverywhere();
    look();
  };

  const begin = (lane: LaneState, claimed: Claimed): void => {
    const { id } = claimed.delivery;
    lane.running.add(id);
    const { attempted, recorded } = deliver(deps, claimed, lane, circuits, abort.signal);
    void attempted.then(() => {
      lane.running.delete(id);
      lane.unrecorded.add(id);
      look();
    });
    const work = recorded.finally(() => {
      lane.unrecorded.delete(id);
      pending.delete(work);
      lane.isStale = true;
      look();
    });
    pending.add(work);
  };

  /**
   * Starts what a lane may attempt now. Returns when to look again, epoch ms; null when its own attempts or a nudge
   * will trigger it.
   */
  const step = async (lane: LaneState, paced: boolean): Promise<number | null> => {
    const { claimed, at } = await claims.next(lane, paced);
    for (const one of claimed) begin(lane, one);
    return at;
  };

  const held = (): string[] => lanes.flatMap(heldIds);

  const tick = async (): Promise<number> => {
    const now = runtime.now();
    if (now < lastTick - CLOCK_TOLERANCE_MS) await onClockSetBack(lastTick - now);
    if (now >= lookedAt + LONGEST_SLEEP_MS) lookEverywhere();
    lastTick = now;
    lastSign = performance.now();
    await claims.releaseUnconfirmed(held);
    let next = Number.POSITIVE_INFINITY;
    for (const lane of lanes) next = Math.min(next, (await step(lane, true)) ?? next);
    return next;
  };

  const onClockSetBack = async (byMs: number): Promise<void> => {
    log.warn("clock.set_back", { ms: byMs });
    // With several relays each of them would shift the times.
    if (!deps.fleet) await store.shiftDue(byMs);
    circuits.shift(byMs);
    claims.forgetPaces();
    lookEverywhere();
    for (const lane of lanes) lane.pausedUntil = 0;
  };

  const sleepUntil = async (at: number): Promise<void> => {
    const ms = at - runtime.now();
    if (ms <= 0) return;
    if (nudged || stopping) return;
    const sleeping = new AbortController();
    // A given reason saves creating an AbortError each time.
    wake = () => sleeping.abort("awake");
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

  /** Claims that cannot be released now become due when their lease ends, or are reclaimed at the next start. */
  const releaseAhead = async (): Promise<void> => {
    for (const lane of lanes)
      await claims
        .releaseAhead(lane)
        .catch((error: unknown) => log.error("delivery.loop_failed", { error: String(error) }));
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
      lookEverywhere();
      for (;;) {
        nudged = false;
        const next = enough() ? runtime.now() : await tick();
        if (pending.size > 0) await (enough() ? Promise.all(pending) : sleepUntil(next));
        else if (enough()) {
          await releaseAhead();
          return next;
        } else if (nudged || next - runtime.now() <= AWAKE_MS) await sleepUntil(next);
        else return next === Number.POSITIVE_INFINITY ? null : next;
      }
    },
    runOnce: async () => {
      for (;;) {
        lookEverywhere();
        const now = runtime.now();
        const next = await Promise.all(lanes.map((lane) => step(lane, false)));
        if (pending.size > 0) await Promise.all(pending);
        else if (!next.some((at) => at !== null && at <= now)) return;
      }
    },
    stop: async (graceMs) => {
      stopping = true;
      wake();
      const timer = new AbortController();
      void runtime.sleep(graceMs, timer.signal).then(() => abort.abort());
      await loop;
      await releaseAhead();
      while (pending.size > 0) await Promise.all(pending);
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
