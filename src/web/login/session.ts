/**
 * Who is logged in. A session is a signed cookie, which holds for every relay on the same database. It ends by itself,
 * when it is logged out, or at once when the token it was made with is no longer one of `RELAY_TOKEN`.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { parse } from "hono/utils/cookie";
import { HOUR_MS } from "../../platform/time.ts";
import type { Runtime } from "../../platform/runtime.ts";
import type { Secret } from "../../platform/secret.ts";
import { basePathOf } from "../base-path.ts";
import type { EndedSessions } from "./ended-sessions.ts";

export const SESSION_LIFE_MS = 12 * HOUR_MS;

export interface Session {
  id: string;
  /** Epoch ms. */
  expires: number;
  /** The secret that a form must send along; only the session's owner can know it. */
  csrf: string;
}

export interface Sessions {
  /** The cookie's value for a user who knows a token, or null. */
  start(token: string): string | null;
  /** The session of a cookie's value, or null: never made here, changed, over, ended, or of a token that is gone. */
  read(cookie: string | undefined): Promise<Session | null>;
  /** Ends it wherever its cookie is. */
  end(session: Session): Promise<void>;
  /** True when a form's field belongs to the session. */
  isOurForm(session: Session, field: string): boolean;
}

export interface SessionDeps {
  tokens: readonly Secret[];
  /** 32 bytes stored in the database. */
  key: Buffer;
  runtime: Pick<Runtime, "now" | "newId">;
  ended: EndedSessions;
}

export function createSessions({ tokens, key, runtime, ended }: SessionDeps): Sessions {
  // Each token has a signing key of its own, so a session ends with its token and with no other.
  const deriveKey = (token: string): Buffer =>
    mac(key, ["web session key", createHash("sha256").update(token).digest("hex")]);
  const keys = tokens.map((token) => deriveKey(token.reveal()));
  return {
    start: (token) => {
      const given = deriveKey(token);
      const signer = findFirst(keys, (one) => timingSafeEqual(one, given));
      if (signer === null) return null;
      const id = runtime.newId("ses");
      const expires = String(runtime.now() + SESSION_LIFE_MS);
      return `${id}.${expires}.${mac(signer, ["session", id, expires]).toString("base64url")}`;
    },
    read: async (cookie) => {
      const [, id, expires, given] = COOKIE.exec(cookie ?? "") ?? [];
      if (id === undefined || expires === undefined || given === undefined) return null;
      const signature = Buffer.from(given, "base64url");
      const signer = findFirst(keys, (one) => isEqual(mac(one, ["session", id, expires]), signature));
      if (signer === null || Number(expires) <= runtime.now() || (await ended.has(id))) return null;
      return { id, expires: Number(expires), csrf: mac(signer, ["csrf", id, expires]).toString("base64url") };
    },
    end: ({ id, expires }) => ended.add(id, expires),
    isOurForm: ({ csrf }, field) => isEqual(Buffer.from(csrf), Buffer.from(field)),
  };
}

/**
 * The session cookie. Its prefix makes browsers accept it only over TLS, and from this host alone; under a path, where
 * other programs share the host, it goes to that path only, which `__Host-` does not allow.
 */
export const cookieNameOf = (publicUrl: string): string =>
  publicUrl.startsWith("https:")
    ? `${basePathOf(publicUrl) === "" ? "__Host-" : "__Secure-"}skyvern-relay`
    : "skyvern-relay";

/** Checks a `Cookie` header for a session, for addresses outside the pages. */
export function createSessionCheck(deps: SessionDeps & { publicUrl: string }): (cookies?: string) => Promise<boolean> {
  const sessions = createSessions(deps);
  const name = cookieNameOf(deps.publicUrl);
  return async (cookies) => cookies !== undefined && (await sessions.read(parse(cookies, name)[name])) !== null;
}

const COOKIE = /^(ses_[0-9a-f]{1,40})\.(\d{1,15})\.([A-Za-z0-9_-]{43})$/;

const mac = (key: Buffer, parts: string[]): Buffer => createHmac("sha256", key).update(JSON.stringify(parts)).digest();

const isEqual = (a: Buffer, b: Buffer): boolean => a.length === b.length && timingSafeEqual(a, b);

/** Every key is tried, so the time does not reveal which one fits. */
function findFirst(keys: readonly Buffer[], fits: (key: Buffer) => boolean): Buffer | null {
  let found: Buffer | null = null;
  for (const key of keys) if (fits(key)) found ??= key;
  return found;
}
