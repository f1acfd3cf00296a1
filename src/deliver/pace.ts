import type { Sink } from "../sinks/sink.ts";

/**
 * When the next message may go, epoch ms, given when the last one went (null: none did). Messages are evenly spaced,
 * without bursts: a vendor's "about one a second" promises no more.
 */
export const nextSlot = (pace: Sink["pace"], lastAt: number | null): number =>
  pace === undefined || lastAt === null ? 0 : lastAt + intervalOf(pace);

/** The time between two messages, ms. */
export const intervalOf = ({ perSecond }: NonNullable<Sink["pace"]>): number => Math.ceil(1_000 / perSecond);
