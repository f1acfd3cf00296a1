import { hash, timingSafeEqual } from "node:crypto";
import type { Links } from "../report.ts";
import type { ArtifactKey } from "../run.ts";

const DAY_MS = 86_400_000;

export interface SignedLinks extends Links {
  /** Whether `sig` was made by {@link Links.artifact} for exactly this artifact and `exp` (epoch seconds) is not over. */
  check(runId: string, key: ArtifactKey, query: { exp?: string | undefined; sig?: string | undefined }): boolean;
}

export interface LinksParts {
  /** Without trailing slash. Asked each time: with `PORT=0` it is known only once the relay listens. */
  publicUrl(): string;
  /** 32 random bytes kept in the database, so that links outlive restarts and hold for every relay on it. */
  key: Buffer;
  /** How long a link opens its artifact. */
  lifeMs: number;
  now(): number;
}

/** The relay's own links. A link to an artifact is a capability: it opens that one, for that run, until it expires. */
export function createLinks({ publicUrl, key, lifeMs, now }: LinksParts): SignedLinks {
  const hmac = hmacWith(key);
  const sign = (runId: string, artifact: ArtifactKey, exp: string): string =>
    hmac(JSON.stringify(["artifact", runId, artifact, exp]));
  return {
    run: (runId) => `${publicUrl()}/runs/${encodeURIComponent(runId)}`,
    artifact: (runId, artifact) => {
      // Whole days, so that one artifact has one link a day and a message made twice is the same.
      const exp = String(Math.ceil((Math.ceil(now() / DAY_MS) * DAY_MS + lifeMs) / 1000));
      const path = `/artifacts/${encodeURIComponent(runId)}/${encodeURIComponent(artifact)}`;
      return `${publicUrl()}${path}?exp=${exp}&sig=${sign(runId, artifact, exp)}`;
    },
    check: (runId, artifact, { exp, sig }) => {
      if (exp === undefined || sig === undefined || !/^\d{1,12}$/.test(exp) || sig.length > 100) return false;
      const given = Buffer.from(sig, "base64url");
      const wanted = Buffer.from(sign(runId, artifact, exp), "base64url");
      return given.length === wanted.length && timingSafeEqual(given, wanted) && Number(exp) * 1000 > now();
    },
  };
}

/** Bytes that SHA-256 takes at one time. */
const BLOCK = 64;

/**
 * HMAC-SHA256 (RFC 2104), base64url, of short texts with one key of at most 64 bytes. `createHmac` sets the key up for each text, which
 * takes longer than the two hashes it is made of, and a page of the history has a thousand links and more.
 */
export function hmacWith(key: Uint8Array): (text: string) => string {
  if (key.length > BLOCK) throw new RangeError("the key is longer than a block");
  const keyBlock = (pad: number): Buffer => {
    const block = Buffer.alloc(BLOCK, pad);
    for (const [i, byte] of key.entries()) block[i] = byte ^ pad;
    return block;
  };
  const inside = keyBlock(0x36);
  const outside = Buffer.concat([keyBlock(0x5c), Buffer.alloc(32)]);
  return (text) => {
    const message = Buffer.allocUnsafe(BLOCK + 3 * text.length);
    inside.copy(message);
    const end = BLOCK + message.write(text, BLOCK);
    outside.write(hash("sha256", message.subarray(0, end), "binary"), BLOCK, "binary");
    return hash("sha256", outside, "base64url");
  };
}
