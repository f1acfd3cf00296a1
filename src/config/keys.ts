import type { Secret } from "../platform/secret.ts";

/** A key of Skyvern's API. Each verifies webhooks, the first calls the API. */
export interface ApiKey {
  /** Given in the file, or `SKYVERN_API_KEY[1]`, counted from 1. */
  name: string;
  key: Secret;
  /** The organization it belongs to, when the key says so. */
  organization: string | null;
}

/**
 * The organization id in a Skyvern API key, or null. Skyvern's keys are JWTs whose `sub` is the organization
 * (skyvern/forge/sdk/core/security.py); the signature is not checked: this is a label, not a proof.
 */
export function parseOrganization(key: string): string | null {
  const sub = parseClaims(key)?.["sub"];
  return typeof sub === "string" && sub !== "" ? sub : null;
}

/** What a JWT says, unchecked; null when the text is none. */
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
