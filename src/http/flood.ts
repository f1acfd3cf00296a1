/** Counts refusals per address, so that who only sends rubbish gets short answers and no log lines. */
export interface Flood {
  /** Counts one refusal. True when the address has had more than its share. */
  refused(address: string): boolean;
}

/** A wrong key makes hundreds of these in an hour, an attack thousands in a minute. */
const BURST = 300;
const PER_SECOND = 5;
/** Addresses remembered; the one longest silent goes first. */
const MAX_ADDRESSES = 10_000;

/** A token bucket an address. Genuine webhooks are never counted and never refused by it. */
export function createFlood(now: () => number): Flood {
  const buckets = new Map<string, { left: number; at: number }>();
  return {
    refused: (address) => {
      const bucket = buckets.get(address) ?? { left: BURST, at: now() };
      const refill = (Math.max(0, now() - bucket.at) / 1_000) * PER_SECOND;
      const left = Math.max(0, Math.min(BURST, bucket.left + refill) - 1);
      // Deleted first, so that the order of the map is the order of last use.
      buckets.delete(address);
      buckets.set(address, { left, at: now() });
      const oldest = buckets.size > MAX_ADDRESSES ? buckets.keys().next().value : undefined;
      if (oldest !== undefined) buckets.delete(oldest);
      return left < 1;
    },
  };
}
