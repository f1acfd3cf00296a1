import type { Claimed } from "../store/contract/outbox.ts";
import type { Sink } from "../sinks/sink.ts";

export interface Lane {
  sink: Sink;
  /** Attempts at one time; an ordered sink has one. */
  concurrency: number;
}

/** In an ordered sink, a delivery to be tried again within this time holds up those behind it. */
const HOLD_MS = 60_000;
/** Deliveries that are claimed ahead for each slot of a sink that drops repetitions, so that a slot never waits for a claim. */
export const AHEAD_PER_SLOT = 4;
/** Attempts whose end may wait to be recorded, as while a disk is full; a lane with more begins nothing. */
const MAX_UNRECORDED = 256;

/** What a lane knows between its claims. */
export interface LaneState extends Lane {
  queue: { sink: string; holdMs: number | null };
  /** Deliveries that are claimed ahead of a free slot. */
  ahead: Claimed[];
  /** How many may be. */
  maxAhead: number;
  /** Ids of the deliveries that are being attempted. */
  running: Set<string>;
  /** Ids of the deliveries whose attempt has ended and is not recorded yet. */
  unrecorded: Set<string>;
  /** The sink asked for a pause until then, epoch ms. */
  pausedUntil: number;
  /** When the next delivery is due, as of the last look, epoch ms; null: none waits. */
  dueAt: number | null;
  /** Whether that may have changed: something came, or an attempt ended for which something waited. */
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

/** Attempts that may be begun, as far as the lane itself goes. */
export function freeSlots({ sink, concurrency, running, unrecorded }: LaneState): number {
  // The order of an ordered sink is read from what is recorded.
  if (sink.ordered && unrecorded.size > 0) return 0;
  return unrecorded.size > MAX_UNRECORDED ? 0 : concurrency - running.size;
}

/** Ids of all that this process has claimed for the lane and not recorded. */
export const heldIds = ({ ahead, running, unrecorded }: LaneState): string[] => [
  ...ahead.map(({ delivery }) => delivery.id),
  ...running,
  ...unrecorded,
];

/** What other relays know a sink's pace by. */
export const destinationOf = ({ name, pace }: Sink): string => pace?.key ?? `sink ${name}`;
