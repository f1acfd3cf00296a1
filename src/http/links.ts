import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import { DAY_MS } from "../platform/time.ts";
import type { Links } from "../domain/report.ts";
import type { ArtifactKey } from "../domain/run.ts";

export interface SignedLinks extends Links {
  /** True when {@link Links.artifact} made `sig` for exactly this artifact and `exp` (epoch seconds) is not over. */
  check(runId: string, key: ArtifactKey, query: { exp?: string | undefined; sig?: string | undefined }): boolean;
}

export interface LinksDeps {
  /** Without a trailing slash. It is a function, because with `PORT=0` it is known only once the relay listens. */
  publicUrl(): string;
  /** 32 random bytes stored in the database, so that links survive restarts and work on every relay of it. */
  key: Buffer;
  /** How long a link opens its artifact. */
  lifeMs: number;
  now(): number;
}

/**
 * Builds the relay's own links. A link to an artifact is a capability: it opens this artifact of this run until it
 * expires.
 */
export function createLinks({ publicUrl, key, lifeMs, now }: LinksDeps): SignedLinks {
  // A key object is made once: making it from bytes for each signature costs several times the signing.
  const secret = createSecretKey(key);
  const sign = (runId: string, artifact: ArtifactKey, exp: string): string =>
    createHmac("sha256", secret)
      .update(JSON.stringify(["artifact", runId, artifact, exp]))
      .digest("base64url");
  return {
    run: (runId) => `${publicUrl()}/runs/${encodeURIComponent(runId)}`,
    artifact: (runId, artifact) => {
      // Expiry is rounded to whole days, so an artifact has one link a day and a repeated message is identical.
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
