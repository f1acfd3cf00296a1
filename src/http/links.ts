import { createHmac, createSecretKey, timingSafeEqual } from "node:crypto";
import { DAY_MS } from "../platform/time.ts";
import type { Links } from "../domain/report.ts";
import type { ArtifactKey } from "../domain/run.ts";

export interface SignedLinks extends Links {
  /** Whether `sig` was made by {@link Links.artifact} for exactly this artifact and `exp` (epoch seconds) is not over. */
  check(runId: string, key: ArtifactKey, query: { exp?: string | undefined; sig?: string | undefined }): boolean;
}

export interface LinksDeps {
  /** Without trailing slash. Asked each time: with `PORT=0` it is known only once the relay listens. */
  publicUrl(): string;
  /** 32 random bytes kept in the database, so that links outlive restarts and hold for every relay on it. */
  key: Buffer;
  /** How long a link opens its artifact. */
  lifeMs: number;
  now(): number;
}

/** The relay's own links. A link to an artifact is a capability: it opens that one, for that run, until it expires. */
export function createLinks({ publicUrl, key, lifeMs, now }: LinksDeps): SignedLinks {
  // Of bytes a key would be made anew for each signature, which costs several times what signing does.
  const secret = createSecretKey(key);
  const sign = (runId: string, artifact: ArtifactKey, exp: string): string =>
    createHmac("sha256", secret)
      .update(JSON.stringify(["artifact", runId, artifact, exp]))
      .digest("base64url");
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
