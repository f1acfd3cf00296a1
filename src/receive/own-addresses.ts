/** The relay's own addresses in the form that a run's `webhook_url` has. */
export interface Addresses {
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
    channelOf: (webhookUrl) =>
      pointsHere(webhookUrl)
        ? (/\/webhook\/([A-Za-z0-9_-]{1,64})\/?$/.exec(parseUrl(webhookUrl)?.pathname ?? "")?.[1] ?? null)
        : null,
  };
}

const parseUrl = (value: unknown): URL | null => (typeof value === "string" ? URL.parse(value) : null);
