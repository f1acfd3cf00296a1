import type { Circuit } from "../domain/run.ts";
import type { Claimed, OutboxStore } from "../store/contract/outbox.ts";
import { createCircuits, type Circuits } from "./circuits.ts";
import { Claims, STORAGE_RETRY_MS, type ClaimsDeps, type FleetMember } from "./claim.ts";
import { deliver, type DeliverDeps } from "./deliver.ts";
import { heldIds, createLane, type Lane, type LaneState } from "./lane.ts";

export interface WorkerDeps extends ClaimsDeps, DeliverDeps {
  store: ClaimsDeps["store"] & DeliverDeps["store"] & Pick<OutboxStore, "shiftDue" | "circuits" | "saveCircuit">;
  /** This relay among others on the same database; null for the only one. */
  fleet?: FleetMember | null;
  lanes: readonly Lane[];
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
export class Worker {
  readonly #deps: WorkerDeps;
  readonly #lanes: readonly LaneState[];
  readonly #circuits: Circuits;
  readonly #claims: Claims;
  /** Attempts that are not recorded yet. */
  readonly #pending = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  #loop: Promise<void> | null = null;
  #isStopping = false;
  /** True when something changed since the last look. */
  #isNudged = false;
  #wake = () => {};
  #lastTick: number;
  /** When every lane was last made to look, epoch ms. */
  #lookedAt: number;
  /** Monotonic clock. */
  #lastSign = performance.now();

  constructor(deps: WorkerDeps) {
    this.#deps = deps;
    this.#lanes = deps.lanes.map(createLane);
    this.#circuits = createCircuits(deps);
    this.#claims = new Claims(deps, this.#circuits);
    this.#lastTick = this.#lookedAt = deps.runtime.now();
  }

  start(): void {
    this.#lastTick = this.#deps.runtime.now();
    this.#lastSign = performance.now();
    this.#loop ??= this.#run();
  }

  /** Tells the worker that something may be due now. */
  nudge(): void {
    this.#lookEverywhere();
    this.#look();
  }

  /**
   * For a host that sleeps in between: delivers until nothing can be done for some seconds and no attempt is in flight,
   * and claims nothing more once `enough` returns true. Resolves with when to call again, epoch ms; null when only a
   * nudge will trigger it. Rejects when the store does. Not to be combined with `start`.
   */
  async work(enough: () => boolean): Promise<number | null> {
    const { runtime } = this.#deps;
    this.#lastTick = runtime.now();
    this.#lookEverywhere();
    for (;;) {
      this.#isNudged = false;
      const next = enough() ? runtime.now() : await this.#tick();
      if (this.#pending.size > 0) await (enough() ? Promise.all(this.#pending) : this.#sleepUntil(next));
      else if (enough()) {
        await this.#releaseAhead();
        return next;
      } else if (this.#isNudged || next - runtime.now() <= AWAKE_MS) await this.#sleepUntil(next);
      else return next === Number.POSITIVE_INFINITY ? null : next;
    }
  }

  /** Attempts everything that is due, at full speed, then ends. For tests; not to be combined with `start`. */
  async runOnce(): Promise<void> {
    for (;;) {
      this.#lookEverywhere();
      const now = this.#deps.runtime.now();
      const next = await Promise.all(this.#lanes.map((lane) => this.#step(lane, false)));
      if (this.#pending.size > 0) await Promise.all(this.#pending);
      else if (!next.some((at) => at !== null && at <= now)) return;
    }
  }

  /** Stops claiming, lets attempts end within `graceMs`, then aborts them. Resolves when all are recorded. */
  async stop(graceMs: number): Promise<void> {
    this.#isStopping = true;
    this.#wake();
    const timer = new AbortController();
    void this.#deps.runtime.sleep(graceMs, timer.signal).then(() => this.#abort.abort());
    await this.#loop;
    await this.#releaseAhead();
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    timer.abort();
  }

  /** Resumes a sink: closes its circuit, whatever its state. */
  async resume(sink: string): Promise<void> {
    await this.#circuits.close(sink);
    this.nudge();
  }

  circuit(sink: string): Promise<Circuit> {
    return this.#circuits.of(sink);
  }

  /** How long the loop has shown no sign of life, ms. More than a minute means that it hangs. */
  silentMs(): number {
    return this.#loop === null || this.#isStopping ? 0 : performance.now() - this.#lastSign;
  }

  async #run(): Promise<void> {
    const { runtime, log } = this.#deps;
    while (!this.#isStopping) {
      try {
        this.#isNudged = false;
        await this.#sleepUntil(await this.#tick());
      } catch (error) {
        log.error("delivery.loop_failed", { error: String(error) });
        await runtime.sleep(STORAGE_RETRY_MS, this.#abort.signal);
      }
    }
  }

  /** Lets every lane start what it may. Returns when to do so again, epoch ms. */
  async #tick(): Promise<number> {
    const now = this.#deps.runtime.now();
    if (now < this.#lastTick - CLOCK_TOLERANCE_MS) await this.#onClockSetBack(this.#lastTick - now);
    if (now >= this.#lookedAt + LONGEST_SLEEP_MS) this.#lookEverywhere();
    this.#lastTick = now;
    this.#lastSign = performance.now();
    await this.#claims.releaseUnconfirmed(() => this.#lanes.flatMap(heldIds));
    let next = Number.POSITIVE_INFINITY;
    for (const lane of this.#lanes) next = Math.min(next, (await this.#step(lane, true)) ?? next);
    return next;
  }

  /**
   * Starts what a lane may attempt now. Returns when to look again, epoch ms; null when its own attempts or a nudge
   * will trigger it.
   */
  async #step(lane: LaneState, paced: boolean): Promise<number | null> {
    const { claimed, at } = await this.#claims.next(lane, paced);
    for (const one of claimed) this.#begin(lane, one);
    return at;
  }

  #begin(lane: LaneState, claimed: Claimed): void {
    const { id } = claimed.delivery;
    lane.running.add(id);
    const { attempted, recorded } = deliver(this.#deps, claimed, lane, this.#circuits, this.#abort.signal);
    void attempted.then(() => {
      lane.running.delete(id);
      lane.unrecorded.add(id);
      this.#look();
    });
    const work = recorded.finally(() => {
      lane.unrecorded.delete(id);
      this.#pending.delete(work);
      lane.isStale = true;
      this.#look();
    });
    this.#pending.add(work);
  }

  /** Wakes the loop to look at the lanes that changed. */
  #look(): void {
    this.#isNudged = true;
    this.#wake();
  }

  #lookEverywhere(): void {
    this.#lookedAt = this.#deps.runtime.now();
    for (const lane of this.#lanes) lane.isStale = true;
  }

  async #sleepUntil(at: number): Promise<void> {
    const { runtime } = this.#deps;
    const ms = at - runtime.now();
    if (ms <= 0 || this.#isNudged || this.#isStopping) return;
    const sleeping = new AbortController();
    // A given reason saves creating an AbortError each time.
    this.#wake = () => sleeping.abort("awake");
    await runtime.sleep(Math.min(ms, LONGEST_SLEEP_MS), sleeping.signal);
  }

  async #onClockSetBack(byMs: number): Promise<void> {
    const { store, fleet, log } = this.#deps;
    log.warn("clock.set_back", { ms: byMs });
    // With several relays each of them would shift the times.
    if (!fleet) await store.shiftDue(byMs);
    this.#circuits.shift(byMs);
    this.#claims.forgetPaces();
    this.#lookEverywhere();
    for (const lane of this.#lanes) lane.pausedUntil = 0;
  }

  /** Claims that cannot be released now become due when their lease ends, or are reclaimed at the next start. */
  async #releaseAhead(): Promise<void> {
    for (const lane of this.#lanes)
      await this.#claims
        .releaseAhead(lane)
        .catch((error: unknown) => this.#deps.log.error("delivery.loop_failed", { error: String(error) }));
  }
}
