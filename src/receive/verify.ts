import { createHmac, timingSafeEqual } from "node:crypto";
import type { Secret } from "../platform/secret.ts";

/** A key that verifies webhooks. `organization` is the `sub` of its JWT, when it is one. */
export interface VerifyKey {
  name: string;
  key: Secret;
  organization: string | null;
}

/** A webhook as it came. */
export interface Incoming {
  bytes: Buffer;
  /** `x-skyvern-signature` */
  signature: string | null;
  /** `x-skyvern-timestamp`: stored, never trusted. */
  sentAt: string | null;
  channel: string | null;
  /** The query of the address it came to; null: none. */
  query: string | null;
  /** The address of the sender. */
  from: string;
}

/** A webhook with a correct signature. Only {@link verify} creates one. */
export interface VerifiedWebhook extends Incoming {
  /** Name of the key that signed it. */
  readonly key: string;
  readonly organization: string | null;
  readonly [verified]: true;
}
declare const verified: unique symbol;

export type SignatureFault = "missing_signature" | "malformed_signature" | "wrong_signature";

const SIGNATURE = /^[0-9a-f]{64}$/;

/** Why no body can have this signature, or null when one might. */
export function precheck(signature: string | null | undefined): SignatureFault | null {
  if (signature === null || signature === undefined || signature === "") return "missing_signature";
  return SIGNATURE.test(signature) ? null : "malformed_signature";
}

/**
 * Skyvern may confirm a webhook that no key signed (`skyvern.confirm`). Larger ones are refused unread, because nobody
 * vouches for them.
 */
export const MAX_UNSIGNED_BYTES = 1024 * 1024;

/** What the signature decides before the body is read: how many bytes it may have, or why it is refused. */
export function precheckBody(signature: string | null, confirms: boolean): number | SignatureFault {
  const fault = precheck(signature);
  if (fault === null) return Infinity;
  return confirms ? MAX_UNSIGNED_BYTES : fault;
}

/**
 * Checks `x-skyvern-signature` (lowercase hex HMAC-SHA256 of the raw bytes, contract §1) against every key in constant
 * time, without stopping at the first that fits. The timestamp header is not signed and is ignored.
 */
export function verify(incoming: Incoming, keys: readonly VerifyKey[]): VerifiedWebhook | SignatureFault {
  const { bytes, signature } = incoming;
  const impossible = precheck(signature);
  if (impossible !== null) return impossible;
  const given = Buffer.from(signature ?? "", "hex");
  let match: VerifyKey | null = null;
  for (const candidate of keys) {
    if (candidate.key.reveal() === "") continue;
    const wanted = createHmac("sha256", candidate.key.reveal()).update(bytes).digest();
    if (timingSafeEqual(wanted, given)) match ??= candidate;
  }
  if (match === null) return "wrong_signature";
  return { ...incoming, key: match.name, organization: match.organization } as VerifiedWebhook;
}
