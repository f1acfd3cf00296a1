import type { Secret } from "../platform/secret.ts";

/** The database to open. `url` is a secret because it holds the password. */
export type DatabaseSettings = { kind: "sqlite"; path: string } | { kind: "postgres"; url: Secret };

/** The database's name in messages, without user and password. */
export function describeDatabase(settings: DatabaseSettings): string {
  if (settings.kind === "sqlite") return settings.path;
  const { host, pathname } = new URL(settings.url.reveal());
  return `postgres://${host}${pathname}`;
}

export const isInMemory = (settings: DatabaseSettings): boolean =>
  settings.kind === "sqlite" && settings.path === ":memory:";

export const IN_MEMORY = "DATABASE_URL is in memory, which no other process can reach";
