import type { Runtime } from "../runtime.ts";

/** Slows down whoever tries tokens: a client's failures fill a bucket that empties with time. */
export interface Throttle {
  /** Milliseconds until this client may try again; 0: now. */
  waitMs(client: string): number;
  failed(client: string): void;
}

export interface ThrottleOptions {
  now: Runtime["now"];
  /** Failures that cost nothing. Default 10. */
  burst?: number;
  /** One more try is given back after each of these. Default 30,000. */
  everyMs?: number;
  /** Clients remembered; beyond them the one that failed longest ago is forgotten. Default 10,000. */
  clients?: number;
}

export function createThrottle({ now, burst = 10, everyMs = 30_000, clients = 10_000 }: ThrottleOptions): Throttle {
  /** When the bucket of a client will be empty. */
  const emptyAt = new Map<string, number>();
  return {
    waitMs: (client) => Math.max(0, (emptyAt.get(networkOf(client)) ?? 0) - now() - (burst - 1) * everyMs),
    failed: (client) => {
      const network = networkOf(client);
      const until = Math.max(emptyAt.get(network) ?? 0, now()) + everyMs;
      // Set anew at the end: the map's order is that of the last failures.
      emptyAt.delete(network);
      emptyAt.set(network, until);
      const oldest = emptyAt.keys().next().value;
      if (emptyAt.size > clients && oldest !== undefined) emptyAt.delete(oldest);
    },
  };
}

/** One IPv6 customer has a whole /64. */
const networkOf = (address: string): string =>
  address.includes(":") && !address.includes(".") ? address.split(":").slice(0, 4).join(":") : address;
