/**
 * Deliveries that are claimed by the very transaction that makes them, and attempted right after it: for what comes while there is
 * room, no claim of its own. Who waits already goes first.
 */
import type { Log } from "../log.ts";
import type { Runtime } from "../runtime.ts";
import { toldStateOf } from "../store/states.ts";
import type { Claimed, ClaimedRow, Reserve, Store } from "../store/store.ts";
import { admits } from "./breaker.ts";
import type { Circuits } from "./circuits.ts";
import type { LaneState } from "./lane.ts";

export interface HandOverParts {
  store: Pick<Store, "giveBack">;
  lanes: readonly LaneState[];
  circuits: Circuits;
  leaseMs: number;
  runtime: Runtime;
  log: Log;
  /** Whether anything may be begun. */
  isRunning(): boolean;
  begin(lane: LaneState, claimed: Claimed): void;
  /** Called when there is more room than before. */
  look(): void;
  /** Called when something is due again. */
  nudge(): void;
}

export function createHandOver(parts: HandOverParts): Reserve {
  const { store, lanes, circuits, leaseMs, runtime, log } = parts;
  /** A circuit may have opened, and a sink asked for a pause, while it was being written. */
  const isOpen = ({ sink, pausedUntil }: LaneState, now: number): boolean =>
    pausedUntil <= now && admits(circuits.known(sink.name), now).limit === Infinity;
  const roomOf = (lane: LaneState, now: number): number => {
    const { sink, isStale, dueAt } = lane;
    const isFirst = !isStale && (dueAt === null || dueAt > now);
    if (sink.ordered || sink.pace || !isFirst || !isOpen(lane, now)) return 0;
    return lane.concurrency - lane.running.size - lane.reserved;
  };
  const giveBack = async (claimed: readonly ClaimedRow[]): Promise<void> => {
    const ids = claimed.map(({ delivery }) => delivery.id);
    try {
      await store.giveBack(ids, runtime.now());
    } catch (error) {
      // They are taken over when their leases end.
      log.warn("delivery.not_given_back", { deliveries: ids.length, error: String(error) });
    }
  };
  return (most) => {
    const now = runtime.now();
    const reserved = new Map<string, { lane: LaneState; count: number }>();
    for (const lane of parts.isRunning() ? lanes : []) {
      const count = Math.min(most, roomOf(lane, now));
      if (count > 0) reserved.set(lane.sink.name, { lane, count });
      lane.reserved += Math.max(count, 0);
    }
    const bySink = new Map([...reserved].map(([sink, { count }]) => [sink, count]));
    return {
      room: reserved.size === 0 ? null : { bySink, leaseMs },
      begin: async (claimed) => {
        for (const { lane, count } of reserved.values()) lane.reserved -= count;
        const late = claimed.filter((one) => {
          const lane = reserved.get(one.delivery.sink)?.lane;
          if (!lane || !parts.isRunning() || !isOpen(lane, runtime.now())) return true;
          parts.begin(lane, { ...one, state: toldStateOf(one.state) });
          return false;
        });
        // For the room that was not used others may have waited.
        if (claimed.length < [...bySink.values()].reduce((sum, count) => sum + count, 0)) parts.look();
        if (late.length === 0) return;
        await giveBack(late);
        parts.nudge();
      },
    };
  };
}
