import { createHash, timingSafeEqual } from "node:crypto";
import type { MiddlewareHandler } from "hono";
import type { Secret } from "../platform/secret.ts";
import { problem } from "./problem.ts";

const digest = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Whether a text is one of the tokens. Constant time in the texts; every token is compared. */
export function createTokenCheck(tokens: readonly Secret[]): (text: string) => boolean {
  const wanted = tokens.map((token) => digest(token.reveal()));
  return (text) => {
    const given = digest(text);
    let found = false;
    for (const one of wanted) found = timingSafeEqual(one, given) || found;
    return found;
  };
}

/** The token of an `Authorization: Bearer …` header, or null. */
export const parseBearer = (header: string | undefined): string | null =>
  /^bearer +(\S+) *$/i.exec(header ?? "")?.[1] ?? null;

export const CLOSED = "Set RELAY_TOKEN to open the history API, the metrics and the web page.";

/** Lets bearers of a token in. Without any token configured nobody gets in, and the answer says which variable to set. */
export function requireToken(tokens: readonly Secret[]): MiddlewareHandler {
  const isToken = createTokenCheck(tokens);
  return async (c, next) => {
    if (tokens.length === 0) return problem(c, 403, CLOSED);
    const token = parseBearer(c.req.header("authorization"));
    if (token !== null && isToken(token)) return next();
    c.header("www-authenticate", 'Bearer realm="skyvern-relay"');
    return problem(c, 401, "Send `Authorization: Bearer <RELAY_TOKEN>`.");
  };
}
