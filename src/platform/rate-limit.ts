import ipaddr from "ipaddr.js";

/** Counts what each client does: so much at once, then so much in a time. */
export interface RateLimit {
  /** Milliseconds until this client may do it again; 0: now. */
  waitMs(client: string): number;
  /** Counts one. Who goes on all the same waits no longer than who stopped. */
  count(client: string): void;
  /** Counts one if the client may do it now, and says whether it may. */
  take(client: string): boolean;
}

export interface RateLimitOptions {
  /** Epoch milliseconds. */
  now(): number;
  /** So many at once. */
  burst: number;
  /** One more may be done after each of these. */
  everyMs: number;
  /** Clients that are kept in memory; beyond them the one that did nothing for longest is forgotten. Default 10,000. */
  clients?: number;
}

/** A bucket for each client, which an act fills a little and time empties. A client is an address, or any other name. */
export function createRateLimit({ now, burst, everyMs, clients = 10_000 }: RateLimitOptions): RateLimit {
  /** When the bucket of a client will be empty. */
  const emptyAt = new Map<string, number>();
  const waitMs = (client: string): number =>
    Math.max(0, (emptyAt.get(toNetwork(client)) ?? 0) - now() - (burst - 1) * everyMs);
  const count = (client: string): void => {
    const network = toNetwork(client);
    const until = Math.min(Math.max(emptyAt.get(network) ?? 0, now()) + everyMs, now() + burst * everyMs);
    // Set anew at the end: the map's order is that of the last acts.
    emptyAt.delete(network);
    emptyAt.set(network, until);
    const oldest = emptyAt.size > clients ? emptyAt.keys().next().value : undefined;
    if (oldest !== undefined) emptyAt.delete(oldest);
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

/** Whom an address counts as: one customer has a whole /64 of IPv6. */
export function toNetwork(client: string): string {
  if (!ipaddr.isValid(client)) return client;
  const address = ipaddr.process(client);
  return address instanceof ipaddr.IPv6 ? `${address.parts.slice(0, 4).join(":")}::/64` : address.toString();
}
