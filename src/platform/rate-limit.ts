import ipaddr from "ipaddr.js";

/** Limits what each client does: a burst, then a rate. */
export interface RateLimit {
  /** Milliseconds until this client may act again; 0 means now. */
  waitMs(client: string): number;
  /** Counts one act. A client that goes on regardless waits no longer than one that stopped. */
  count(client: string): void;
  /** Counts one act if the client may do it now, and returns whether it may. */
  take(client: string): boolean;
}

export interface RateLimitOptions {
  /** Epoch milliseconds. */
  now(): number;
  /** The burst: acts allowed at once. */
  burst: number;
  /** The time after which one more act is allowed. */
  everyMs: number;
  /** The most clients in memory; beyond them the least recent one is forgotten. Default 10,000. */
  clients?: number;
}

/**
 * A leaky bucket for each client: an act fills it a little, and time drains it. A client is an address, or any other
 * name.
 */
export function createRateLimit({ now, burst, everyMs, clients = 10_000 }: RateLimitOptions): RateLimit {
  /** When the bucket of each client will be empty. */
  const emptyAt = new Map<string, number>();
  const waitMs = (client: string): number =>
    Math.max(0, (emptyAt.get(toNetwork(client)) ?? 0) - now() - (burst - 1) * everyMs);
  const count = (client: string): void => {
    const network = toNetwork(client);
    const until = Math.min(Math.max(emptyAt.get(network) ?? 0, now()) + everyMs, now() + burst * everyMs);
    remember(emptyAt, network, until, clients);
  };
  return {
    waitMs,
    count,
    take: (client) => {
      if (waitMs(client) > 0) return false;
      count(client);
      return true;
    },
  };
}

/** Sets an entry as the newest one; beyond `most` of them the oldest is forgotten. */
export function remember<Value>(memory: Map<string, Value>, key: string, value: Value, most: number): void {
  memory.delete(key);
  memory.set(key, value);
  const oldest = memory.size > most ? memory.keys().next().value : undefined;
  if (oldest !== undefined) memory.delete(oldest);
}

/** The client that an address stands for: one customer has a whole /64 of IPv6. */
export function toNetwork(client: string): string {
  if (!/[.:]/.test(client) || !ipaddr.isValid(client)) return client;
  const address = ipaddr.process(client);
  return address instanceof ipaddr.IPv6 ? `${address.parts.slice(0, 4).join(":")}::/64` : address.toString();
}
