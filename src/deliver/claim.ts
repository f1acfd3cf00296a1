/** Claims what a lane may attempt now, within its circuit, its pace, its slots, and what other relays do. */
import type { Log } from "../platform/log.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Claimed, OutboxStore, SharedClaim } from "../store/contract/outbox.ts";
import { admits } from "./circuit-breaker.ts";
import type { Circuits } from "./circuits.ts";
import { destinationOf, freeSlots, heldIds, type LaneState } from "./lane.ts";
import { intervalOf, nextSlot } from "./pace.ts";

/** This relay among others on the same database. */
export interface FleetMember {
  name: string;
  isPresent(): boolean;
}

export interface ClaimsDeps {
  store: Pick<OutboxStore, "claimDue" | "nextDue" | "slotAt" | "release" | "releaseUnconfirmed">;
  /** Null for the only relay on the database. */
  fleet?: FleetMember | null;
  /** Longer than a delivery can wait claimed and be attempted, ms. */
  leaseMs: number;
  runtime: Runtime;
  log: Log;
}

/**
 * `claimed` is to be attempted now. `at` is when to look again, epoch ms; null when the end of an attempt or a nudge
 * will trigger it.
 */
export interface Step {
  claimed: readonly Claimed[];
  at: number | null;
}

export const STORAGE_RETRY_MS = 1_000;

export class Claims {
  readonly #deps: ClaimsDeps;
  readonly #circuits: Circuits;
  /** When each paced destination got its last message. */
  readonly #lastSent = new Map<string, number>();
  /** True while a claim is in flight, or after its answer never came, since it may have been written. */
  #isClaiming = false;

  constructor(deps: ClaimsDeps, circuits: Circuits) {
    this.#deps = deps;
    this.#circuits = circuits;
  }

  /**
   * Claims what a lane may attempt now. With `paced` it keeps the lane's pace, and claims ahead where the lane allows
   * it.
   */
  async next(lane: LaneState, paced: boolean): Promise<Step> {
    const { fleet, runtime } = this.#deps;
    const now = runtime.now();
    const gate = admits(await this.#circuits.of(lane.sink.name), now);
    const slots = Math.min(gate.limit - lane.running.size, freeSlots(lane));
    const isProbe = gate.limit !== Infinity;
    const resumesAt = paced ? Math.max(lane.pausedUntil, this.#slotOf(lane)) : 0;
    if (isProbe || resumesAt > now) await this.releaseAhead(lane);
    if (slots <= 0) return noClaim(gate.limit === 0 ? gate.at : null);
    if (resumesAt > now) return noClaim(resumesAt);
    // Other relays would reclaim what an absent relay begins.
    if (fleet && !fleet.isPresent()) return noClaim(now + STORAGE_RETRY_MS);
    const ready = lane.ahead.splice(0, slots);
    const isEnough = ready.length === slots && lane.ahead.length >= lane.maxAhead / 2;
    if (isEnough) return { claimed: ready, at: null };
    const ahead = paced && !isProbe ? lane.maxAhead - lane.ahead.length : 0;
    const limit = lane.sink.pace && paced ? 1 : slots - ready.length + ahead;
    const { claimed, at } = await this.#claim(lane, limit, paced, isProbe, now);
    lane.ahead.push(...claimed.slice(slots - ready.length));
    return { claimed: [...ready, ...claimed.slice(0, slots - ready.length)], at };
  }

  async #claim(lane: LaneState, limit: number, paced: boolean, alone: boolean, now: number): Promise<Step> {
    const { store, fleet, leaseMs } = this.#deps;
    const dueAt = await this.#look(lane, now);
    if (dueAt === null || dueAt > now) {
      const soon = now + STORAGE_RETRY_MS;
      if (!fleet || !lane.sink.ordered || dueAt === null || dueAt <= soon) return noClaim(dueAt);
      // Another relay may be delivering what is due, and sends no signal at its end.
      lane.isStale = true;
      return noClaim(soon);
    }
    const { pace } = lane.sink;
    const everyMs = paced && pace ? intervalOf(pace) : 0;
    const shared: SharedClaim | null = fleet
      ? { holder: fleet.name, alone, destination: destinationOf(lane.sink), everyMs }
      : null;
    this.#isClaiming = true;
    lane.isStale = true;
    const claimed = await store.claimDue(lane.queue, {
      now,
      leaseMs,
      limit,
      except: heldIds(lane),
      ...(shared ? { shared } : {}),
    });
    this.#isClaiming = false;
    if (pace && claimed.length > 0) this.#lastSent.set(pace.key, now);
    // Another process has what is due. The next look comes soon, but not at once.
    return { claimed, at: claimed.length > 0 ? now : now + STORAGE_RETRY_MS / 4 };
  }

  /** When the lane's next delivery is due; the store is asked only if that may have changed. */
  async #look(lane: LaneState, now: number): Promise<number | null> {
    const { store, fleet } = this.#deps;
    if (!lane.isStale) return lane.dueAt;
    lane.isStale = false;
    try {
      const dueAt = await store.nextDue(lane.queue, now);
      const slot = fleet && dueAt !== null ? await store.slotAt(destinationOf(lane.sink)) : 0;
      lane.dueAt = dueAt === null ? null : Math.max(dueAt, slot);
      return lane.dueAt;
    } catch (error) {
      lane.isStale = true;
      throw error;
    }
  }

  #slotOf({ sink: { pace } }: LaneState): number {
    return nextSlot(pace, this.#lastSent.get(pace?.key ?? "") ?? null);
  }

  /** Releases deliveries that were claimed ahead and not started. */
  async releaseAhead(lane: LaneState): Promise<void> {
    if (lane.ahead.length === 0) return;
    const ids = lane.ahead.map(({ delivery }) => delivery.id);
    await this.#deps.store.release(ids, this.#deps.runtime.now());
    lane.ahead = lane.ahead.filter(({ delivery }) => !ids.includes(delivery.id));
    lane.isStale = true;
  }

  /** Releases claims whose answer never came: all claims of this relay except those it holds. */
  async releaseUnconfirmed(held: () => string[]): Promise<void> {
    const { store, fleet, runtime, log } = this.#deps;
    if (this.#isClaiming && fleet) {
      const lost = await store.releaseUnconfirmed(fleet.name, held(), runtime.now());
      if (lost > 0) log.warn("delivery.released", { deliveries: lost });
    }
    this.#isClaiming = false;
  }

  /** Forgets when paced destinations got their last messages. */
  forgetPaces(): void {
    this.#lastSent.clear();
  }
}

const noClaim = (at: number | null): Step => ({ claimed: [], at });
