import { isIP } from "node:net";
import { bareHost, refusedRange } from "../net/networks.ts";

/** The relay's own addresses in the form that a run's `webhook_url` has. */
export interface Addresses {
  /** True when the relay's host is one that Skyvern blocks where it checks webhook addresses (contract §9). */
  mayBeBlocked(): boolean;
  /** True when a `webhook_url` leads to this relay. */
  pointsHere(webhookUrl: unknown): boolean;
  /** The channel in one of the relay's own `webhook_url`s. */
  channelOf(webhookUrl: unknown): string | null;
}

/**
 * Compares host and port only: Skyvern rewrites the rest (`https://host` → `https://host/`), and proxies may add a
 * path.
 */
export function createAddresses(publicUrl: () => string): Addresses {
  const pointsHere = (webhookUrl: unknown): boolean => {
    const url = parseUrl(webhookUrl);
    return url !== null && url.host === new URL(publicUrl()).host;
  };
  return {
    pointsHere,
    mayBeBlocked: () => isPrivateHost(new URL(publicUrl()).hostname),
    channelOf: (webhookUrl) =>
      pointsHere(webhookUrl)
        ? (/\/webhook\/([A-Za-z0-9_-]{1,64})\/?$/.exec(parseUrl(webhookUrl)?.pathname ?? "")?.[1] ?? null)
        : null,
  };
}

/** Looks at the name only: a public name may still have a private address. */
function isPrivateHost(hostname: string): boolean {
  const host = bareHost(hostname).replace(/\.$/, "").toLowerCase();
  if (isIP(host) !== 0) return refusedRange(host, []) !== null;
  return !host.includes(".") || PRIVATE_NAME.test(host);
}

/** Names that Skyvern refuses as private (contract §2), and those of a cloud's metadata hosts, which lead there too. */
export const PRIVATE_NAME = /\.(localhost|local|internal|svc|cluster\.local)$|^(metadata|instance-data)(\.|$)/;

const parseUrl = (value: unknown): URL | null => (typeof value === "string" ? URL.parse(value) : null);
