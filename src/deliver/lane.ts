import type { Sink } from "../sinks/sink.ts";

export interface Lane {
  sink: Sink;
  /** Attempts at one time; an ordered sink has one. */
  concurrency: number;
}

/** In an ordered sink, a delivery to be tried again within this time holds up those behind it. */
const HOLD_MS = 60_000;

/** What a lane knows between its claims. */
export interface LaneState extends Lane {
  queue: { sink: string; holdMs: number | null };
  /** Ids of the deliveries under way. */
  running: Set<string>;
  /** Room that is kept for deliveries that are being written, or claimed. */
  reserved: number;
  /** The sink asked for a pause until then, epoch ms. */
  pausedUntil: number;
  /** When the first delivery is due that nobody is claiming, as far as is known, epoch ms; null: none waits. */
  dueAt: number | null;
  /** Whether that may have changed: something came, or an attempt ended for which something waited. */
  isStale: boolean;
}

export const laneOf = ({ sink, concurrency }: Lane): LaneState => ({
  sink,
  concurrency: sink.ordered ? 1 : concurrency,
  queue: { sink: sink.name, holdMs: sink.ordered ? HOLD_MS : null },
  running: new Set(),
  reserved: 0,
  pausedUntil: 0,
  dueAt: null,
  isStale: true,
});

/** What other relays know a sink's pace by. */
export const destinationOf = ({ name, pace }: Sink): string => pace?.key ?? `sink ${name}`;
