/** What a lane may attempt now: as far as its circuit, its pace, its room and other relays allow. */
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime.ts";
import type { Claimed, SharedClaim, Store } from "../store/store.ts";
import { admits } from "./breaker.ts";
import type { Circuits } from "./circuits.ts";
import { destinationOf, type LaneState } from "./lane.ts";
import { intervalOf, nextSlot } from "./pace.ts";

/** This relay among others on the same database. */
export interface Fleet {
  name: string;
  isPresent(): boolean;
}

export interface ClaimsParts {
  store: Pick<Store, "claimDue" | "dueTimes" | "slotAt" | "unclaim">;
  /** Null where it is the only relay on the database. */
  fleet?: Fleet | null;
  /** Longer than any attempt can take, ms. */
  leaseMs: number;
  runtime: Runtime;
  log: Log;
}

/** `claimed`: to be attempted now. `at`: when to look again, epoch ms; null when an attempt's end or a nudge will tell. */
export interface Step {
  claimed: readonly Claimed[];
  at: number | null;
}

export interface Claims {
  /** Claims what a lane may attempt now. `paced`: at its pace. */
  next(lane: LaneState, paced: boolean): Promise<Step>;
  /** Gives back what was claimed without the answer coming: all of this relay's but what is under way. */
  giveBackLost(running: () => string[]): Promise<void>;
  /** Forgets when paced destinations got their last messages. */
  forgetPaces(): void;
}

export const STORAGE_RETRY_MS = 1_000;

export function createClaims({ store, fleet, leaseMs, runtime, log }: ClaimsParts, circuits: Circuits): Claims {
  /** When each paced destination got its last message. */
  const lastSent = new Map<string, number>();
  /** A claim is under way, or its answer never came: it may have been written all the same. */
  let claiming = false;
  const nothing = (at: number | null): Step => ({ claimed: [], at });
  /** How many of the lane's deliveries are due; what is known of it is asked of the store if it may have changed. */
  const countDue = async (lane: LaneState, now: number, most: number): Promise<number> => {
    if (!lane.isStale) return lane.dueAt !== null && lane.dueAt <= now ? most : 0;
    lane.isStale = false;
    // As long as it is not known nobody goes before who may wait.
    lane.dueAt = now;
    try {
      const slot = fleet ? await store.slotAt(destinationOf(lane.sink)) : 0;
      const times = await store.dueTimes(lane.queue, now, most + 1);
      const due = slot > now ? 0 : Math.min(times.filter((at) => at <= now).length, most);
      const next = times[due];
      lane.dueAt = next === undefined ? null : Math.max(next, slot);
      return due;
    } catch (error) {
      lane.isStale = true;
      throw error;
    }
  };
  /** Of `most` that are due. Room is kept for them meanwhile. */
  const claim = async (lane: LaneState, most: number, now: number, shared: SharedClaim | null) => {
    claiming = true;
    lane.reserved += most;
    try {
      const more = { leaseMs, limit: most, except: [...lane.running], ...(shared ? { shared } : {}) };
      const claimed = await store.claimDue(lane.queue, { now, ...more });
      claiming = false;
      if (claimed.length < most) lane.isStale = true;
      return claimed;
    } catch (error) {
      lane.isStale = true;
      throw error;
    } finally {
      lane.reserved -= most;
    }
  };
  return {
    next: async (lane, paced) => {
      const now = runtime.now();
      const gate = admits(await circuits.of(lane.sink.name), now);
      const free = () => Math.min(gate.limit, lane.concurrency - lane.reserved) - lane.running.size;
      if (free() <= 0) return nothing(gate.limit === 0 ? gate.at : null);
      const { pace } = lane.sink;
      const slot = paced ? Math.max(lane.pausedUntil, nextSlot(pace, lastSent.get(pace?.key ?? "") ?? null)) : 0;
      if (slot > now) return nothing(slot);
      // The others would take over what it begins.
      if (fleet && !fleet.isPresent()) return nothing(now + STORAGE_RETRY_MS);
      const due = await countDue(lane, now, pace && paced ? 1 : free());
      // Some of the room may have been kept for others meanwhile.
      const most = Math.min(due, free());
      if (due === 0) {
        const soon = now + STORAGE_RETRY_MS;
        if (!fleet || !lane.sink.ordered || lane.dueAt === null || lane.dueAt <= soon) return nothing(lane.dueAt);
        // Another relay may have the one whose turn it is, and nobody tells when it is done with it.
        lane.isStale = true;
        return nothing(soon);
      }
      if (most <= 0) {
        lane.isStale = true;
        return nothing(null);
      }
      const shared = fleet
        ? {
            holder: fleet.name,
            alone: gate.limit !== Infinity,
            destination: destinationOf(lane.sink),
            everyMs: paced && pace ? intervalOf(pace) : 0,
          }
        : null;
      const claimed = await claim(lane, most, now, shared);
      if (most < due) lane.isStale = true;
      if (pace && claimed.length > 0) lastSent.set(pace.key, now);
      // Due but not to be had: another process has it. It is looked for again, but not in a circle.
      return { claimed, at: claimed.length > 0 ? now : now + STORAGE_RETRY_MS / 4 };
    },
    giveBackLost: async (running) => {
      if (claiming && fleet) {
        const lost = await store.unclaim(fleet.name, running(), runtime.now());
        if (lost > 0) log.warn("delivery.unclaimed", { deliveries: lost });
      }
      claiming = false;
    },
    forgetPaces: () => lastSent.clear(),
  };
}
