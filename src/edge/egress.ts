/**
 * The guarded fetch where the platform resolves names and connects. It looks at what can be seen from inside: the
 * scheme, an address in the URL, and names that are never public. It cannot look at the addresses of a name, nor pin
 * one; what keeps a name from leading inside is the platform's network, from which no private address can be reached.
 */
import { isIP } from "node:net";
import {
  bareHost,
  cidrOrThrow,
  EgressRefused,
  isInsideName,
  refusal,
  refusedRange,
  type Cidr,
} from "../net/networks.ts";
import type { Permit } from "../net/http-client.ts";
import type { Fetch } from "../platform/runtime.ts";

export interface EdgeEgressOptions {
  /** Networks reachable besides the public internet, as CIDRs. */
  allow: readonly string[];
  /** URLs whose origins the operator named as infrastructure. */
  trusted: readonly string[];
  /** Longest wait for an answer's headers, ms. Default 30,000. */
  timeoutMs?: number;
}

/** Rejects with {@link EgressRefused} when the address is not one the relay may reach. */
export function edgePermit({ allow, trusted }: Pick<EdgeEgressOptions, "allow" | "trusted">): Permit {
  const networks = allow.map(cidrOrThrow);
  const origins = new Set(trusted.map((url) => new URL(url).origin));
  return async (input) => {
    const url = new URL(input);
    if (url.protocol !== "http:" && url.protocol !== "https:") {
      throw new EgressRefused(`the relay fetches http and https addresses only, not ${url.protocol}`);
    }
    if (!origins.has(url.origin)) refuseInside(bareHost(url.hostname), networks);
  };
}

/** A `fetch` that follows no redirect and goes only where {@link edgePermit} lets it. */
export function edgeFetch({ timeoutMs = 30_000, ...options }: EdgeEgressOptions): Fetch {
  const permit = edgePermit(options);
  return async (input, init = {}) => {
    await permit(input);
    const waiting = new AbortController();
    const timer = setTimeout(() => waiting.abort(new DOMException("no answer in time", "TimeoutError")), timeoutMs);
    const signal = init.signal ? AbortSignal.any([init.signal, waiting.signal]) : waiting.signal;
    try {
      return await fetch(new URL(input), { ...init, signal, redirect: "manual" });
    } finally {
      clearTimeout(timer);
    }
  };
}

function refuseInside(host: string, networks: readonly Cidr[]): void {
  if (isIP(host) !== 0) {
    const range = refusedRange(host, networks);
    if (range !== null) throw new EgressRefused(refusal(host, host, range));
    return;
  }
  if (isInsideName(host)) {
    throw new EgressRefused(`${host} is not a name of the public internet`);
  }
}
