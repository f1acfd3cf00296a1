import type { Sink } from "../sinks/sink.ts";

/**
 * When the next message may go, epoch ms, given when the last one went (null: none did). Evenly spaced, without bursts: a
 * vendor's "about one a second" promises nothing beyond.
 */
export const nextSlot = (pace: Sink["pace"], lastAt: number | null): number =>
  pace === undefined || lastAt === null ? 0 : lastAt + intervalOf(pace);

/** From one message to the next, ms. */
export const intervalOf = ({ perSecond }: NonNullable<Sink["pace"]>): number => Math.ceil(1_000 / perSecond);
