/** What a lane may attempt now: as far as its circuit, its pace, its room and other relays allow. */
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime.ts";
import type { Claimed, Store } from "../store/store.ts";
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
  store: Pick<Store, "claimDue" | "nextDueAt" | "slotAt" | "unclaim">;
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
  /** When the lane's next delivery is due, from the store if that may have changed. */
  const dueAt = async (lane: LaneState, now: number): Promise<number | null> => {
    if (!lane.isStale) return lane.dueAt;
    lane.isStale = false;
    try {
      const next = await store.nextDueAt(lane.queue, now);
      lane.dueAt = next === null || !fleet ? next : Math.max(next, await store.slotAt(destinationOf(lane.sink)));
    } catch (error) {
      lane.isStale = true;
      throw error;
    }
    return lane.dueAt;
  };
  return {
    next: async (lane, paced) => {
      const now = runtime.now();
      const gate = admits(await circuits.of(lane.sink.name), now);
      const limit = Math.min(gate.limit, lane.concurrency) - lane.running.size;
      if (limit <= 0) return nothing(gate.limit === 0 ? gate.at : null);
      const { pace } = lane.sink;
      const slot = paced ? Math.max(lane.pausedUntil, nextSlot(pace, lastSent.get(pace?.key ?? "") ?? null)) : 0;
      if (slot > now) return nothing(slot);
      // The others would take over what it begins.
      if (fleet && !fleet.isPresent()) return nothing(now + STORAGE_RETRY_MS);
      const due = await dueAt(lane, now);
      if (due === null || due > now) return nothing(due);
      const shared = fleet
        ? {
            holder: fleet.name,
            alone: gate.limit !== Infinity,
            destination: destinationOf(lane.sink),
            everyMs: paced && pace ? intervalOf(pace) : 0,
          }
        : null;
      claiming = true;
      lane.isStale = true;
      const claimed = await store.claimDue(lane.queue, {
        now,
        leaseMs,
        limit: pace && paced ? 1 : limit,
        except: [...lane.running],
        ...(shared ? { shared } : {}),
      });
      claiming = false;
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
