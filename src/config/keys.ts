import type { Secret } from "../platform/secret.ts";

/** A key of Skyvern's API. Each key verifies webhooks, the first one calls the API. */
export interface ApiKey {
  /** The name from the file, or `SKYVERN_API_KEY[1]`, counted from 1. */
  name: string;
  key: Secret;
  /** The key's organization, when the key says so. */
  organization: string | null;
}

/**
 * Parses the organization id from a Skyvern API key, or null. Skyvern's keys are JWTs whose `sub` is the organization
 * (skyvern/forge/sdk/core/security.py). The signature is not checked: this is a label, not a proof.
 */
export function parseOrganization(key: string): string | null {
  const sub = parseClaims(key)?.["sub"];
  return typeof sub === "string" && sub !== "" ? sub : null;
}

/** The claims of a JWT, unchecked; null when the text is no JWT. */
export function parseClaims(key: string): Record<string, unknown> | null {
  const parts = key.split(".");
  if (parts.length !== 3) return null;
  try {
    const payload: unknown = JSON.parse(Buffer.from(parts[1] ?? "", "base64url").toString());
    return typeof payload === "object" && payload !== null ? { ...payload } : null;
  } catch {
    return null;
  }
}
