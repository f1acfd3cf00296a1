import type { Claimed } from "../store/contract/outbox.ts";
import type { Sink } from "../sinks/sink.ts";

export interface Lane {
  sink: Sink;
  /** Parallel attempts; an ordered sink has one. */
  concurrency: number;
}

/** In an ordered sink, a delivery that will be retried within this time holds up those behind it. */
const HOLD_MS = 60_000;
/**
 * How many deliveries are claimed ahead for each slot of a sink that drops duplicates, so that no slot waits for a
 * claim.
 */
export const AHEAD_PER_SLOT = 4;
/** How many ended attempts may wait to be recorded, as while a disk is full; with more the lane starts nothing. */
const MAX_UNRECORDED = 256;

/** The state of a lane between its claims. */
export interface LaneState extends Lane {
  queue: { sink: string; holdMs: number | null };
  /** Deliveries claimed ahead of a free slot. */
  ahead: Claimed[];
  /** The most deliveries that may be claimed ahead. */
  maxAhead: number;
  /** Ids of deliveries in flight. */
  running: Set<string>;
  /** Ids of deliveries whose attempt has ended but is not recorded yet. */
  unrecorded: Set<string>;
  /** Until when the sink asked for a pause, epoch ms. */
  pausedUntil: number;
  /** When the next delivery is due according to the last look, epoch ms; null when none waits. */
  dueAt: number | null;
  /** True when that may have changed: something came, or an attempt ended. */
  isStale: boolean;
}

export function createLane({ sink, concurrency }: Lane): LaneState {
  const slots = sink.ordered ? 1 : concurrency;
  const isFree = !sink.ordered && !sink.pace && sink.dropsRepeats === true;
  return {
    sink,
    concurrency: slots,
    queue: { sink: sink.name, holdMs: sink.ordered ? HOLD_MS : null },
    ahead: [],
    maxAhead: isFree ? slots * AHEAD_PER_SLOT : 0,
    running: new Set(),
    unrecorded: new Set(),
    pausedUntil: 0,
    dueAt: null,
    isStale: true,
  };
}

/** How many attempts the lane itself allows to start. */
export function freeSlots({ sink, concurrency, running, unrecorded }: LaneState): number {
  // An ordered sink's order is read from what is recorded.
  if (sink.ordered && unrecorded.size > 0) return 0;
  return unrecorded.size > MAX_UNRECORDED ? 0 : concurrency - running.size;
}

/** Ids of everything this process has claimed for the lane and not recorded. */
export const heldIds = ({ ahead, running, unrecorded }: LaneState): string[] => [
  ...ahead.map(({ delivery }) => delivery.id),
  ...running,
  ...unrecorded,
];

/** The name under which relays share a sink's pace. */
export const destinationOf = ({ name, pace }: Sink): string => pace?.key ?? `sink ${name}`;
