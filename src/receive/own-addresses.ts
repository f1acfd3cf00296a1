/** The relay's own addresses, as they stand in a run's `webhook_url`. */
export interface Addresses {
  /** Whether a `webhook_url` leads here. */
  pointsHere(webhookUrl: unknown): boolean;
  /** The channel in a `webhook_url` of ours. */
  channelOf(webhookUrl: unknown): string | null;
}

/** By host and port: Skyvern rewrites the rest (`https://host` → `https://host/`), and proxies may add a path. */
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
