/**
 * B4, B5, B6 and B9's peak: accepted and delivered, beside the peers. Every peer relays each webhook to the same receiver; delivered a
 * second counts from the first webhook sent to the last delivery that came, so what is left waiting costs whoever left it.
 */
import { setTimeout as pause } from "node:timers/promises";
import type { LoadResult } from "./load.ts";
import type { Receiver } from "./receiver.ts";

const LONGEST_SILENCE_MS = 15_000;
const LOOK_MS = 20;

/** Waits until so many different runs have come. Throws when none comes for a quarter of a minute. */
export async function untilDelivered(receiver: Receiver, runs: number): Promise<void> {
  let seen = -1;
  let seenAt = Date.now();
  for (;;) {
    const { ids } = await receiver.count();
    if (ids >= runs) return;
    if (ids > seen) {
      seen = ids;
      seenAt = Date.now();
    } else if (Date.now() - seenAt > LONGEST_SILENCE_MS)
      throw new Error(`${runs - ids} of ${runs} runs were never delivered`);
    await pause(LOOK_MS);
  }
}

export interface Delivered {
  /** A second, from the first webhook sent to the last delivery. */
  perSecond: number;
  /** From sending the webhook to the delivery, ms. */
  p50: number;
  p99: number;
}

/** Throws when a run that was accepted has not come. */
export function deliveriesOf(result: LoadResult, first: number, arrived: BigUint64Array): Delivered {
  const ms: number[] = [];
  let last = 0n;
  for (let n = 0; n < result.sent; n++) {
    const sentAt = result.times[2 * n] ?? 0n;
    const acceptedAt = result.times[2 * n + 1] ?? 0n;
    const arrivedAt = arrived[first + n] ?? 0n;
    if (acceptedAt === 0n) continue;
    if (arrivedAt === 0n) throw new Error(`run number ${first + n} was accepted and never delivered`);
    ms.push(Number(arrivedAt - sentAt) / 1e6);
    if (arrivedAt > last) last = arrivedAt;
  }
  const sorted = ms.toSorted((a, b) => a - b);
  const at = (p: number) => sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))] ?? 0;
  const seconds = Number(last - (result.times[0] ?? 0n)) / 1e9;
  return { perSecond: ms.length / seconds, p50: at(0.5), p99: at(0.99) };
}
