import { createHash, timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import type { Log } from "../platform/log.ts";
import { createRateLimit, type RateLimit } from "../platform/rate-limit.ts";
import { withoutName, type Secret } from "../platform/secret.ts";
import { problem } from "./problem.ts";

/** How many wrong tokens of one address are answered as such; further ones only get the time to wait. */
const WRONG_ALLOWED = { burst: 10, everyMs: 30_000 };
/** Lines of one address in the log: its wrong tokens, and that it is throttled. */
const LINES_OF_ONE = { burst: 11, everyMs: 3_600_000 };
/** Lines of all addresses. */
const LINES_OF_ALL = { burst: 100, everyMs: 10_000 };

/** The address of a request's sender, as a name to count by. */
export type AddressOf = (c: Context) => string;

export interface TokenGateDeps {
  tokens: readonly Secret[];
  addressOf: AddressOf;
  now(): number;
  log: Log;
}

/**
 * The result of a check: the token without its name, or how long this address must wait; `waitMs` is 0 for a wrong
 * token.
 */
export type Admission = { isRight: true; token: string } | { isRight: false; waitMs: number };

/**
 * The one check of the relay's tokens, with the one brake in it. A right token always passes at once, as many wrong
 * ones as may come from its address: behind a proxy they are everybody's.
 */
export class TokenGate {
  readonly #wanted: readonly Buffer[];
  readonly #addressOf: AddressOf;
  readonly #log: Log;
  readonly #wrong: RateLimit;
  readonly #lines: RateLimit;
  readonly #allLines: RateLimit;

  constructor({ tokens, addressOf, now, log }: TokenGateDeps) {
    this.#wanted = tokens.map((token) => hashToken(token.reveal()));
    this.#addressOf = addressOf;
    this.#log = log;
    this.#wrong = createRateLimit({ ...WRONG_ALLOWED, now });
    this.#lines = createRateLimit({ ...LINES_OF_ONE, now });
    this.#allLines = createRateLimit({ ...LINES_OF_ALL, now });
  }

  /** False when no token is configured, so that nobody gets in. */
  get isOpen(): boolean {
    return this.#wanted.length > 0;
  }

  /** `given` may be a token alone, which may itself begin like a name, or a token behind its name. */
  admit(c: Context, given: string): Admission {
    const token = this.#isToken(given) ? given : withoutName(given);
    return this.#isToken(token) ? { isRight: true, token } : { isRight: false, waitMs: this.refuse(c) };
  }

  /** Counts a wrong token. Returns how long this address must wait, ms. */
  refuse(c: Context): number {
    const address = this.#addressOf(c);
    const waitMs = this.#wrong.waitMs(address);
    this.#wrong.count(address);
    if (this.#lines.take(address) && this.#allLines.take("all"))
      this.#log.warn(waitMs > 0 ? "token.throttled" : "token.refused", { address, wait_ms: waitMs });
    return waitMs;
  }

  /** Constant time in the texts; every token is compared. */
  #isToken(text: string): boolean {
    const given = hashToken(text);
    let found = false;
    for (const one of this.#wanted) found = timingSafeEqual(one, given) || found;
    return found;
  }
}

const hashToken = (text: string): Buffer => createHash("sha256").update(text).digest();

export const retryAfter = (waitMs: number): string => String(Math.ceil(waitMs / 1_000));

/** The token of an `Authorization: Bearer …` header, perhaps behind its name, or null. */
export function parseBearer(header: string | undefined): string | null {
  return /^bearer +(\S+) *$/i.exec(header ?? "")?.[1] ?? null;
}

export const CLOSED = "Set RELAY_TOKEN to open the history API, the metrics and the web page.";

const WRONG =
  "This is not the relay's token. Use the value of RELAY_TOKEN or, if that is not set, the content of relay.token " +
  "beside the database.";

/**
 * Requires a bearer token. Without any configured token it lets nobody in, and the answer names the variable to set.
 */
export function requireToken(gate: TokenGate): MiddlewareHandler {
  return async (c, next) => {
    if (!gate.isOpen) return problem(c, 403, CLOSED);
    const token = parseBearer(c.req.header("authorization"));
    const admission = token === null ? { isRight: false as const, waitMs: 0 } : gate.admit(c, token);
    if (admission.isRight) return next();
    if (admission.waitMs > 0) {
      c.header("retry-after", retryAfter(admission.waitMs));
      return problem(c, 429, "Too many wrong tokens came from this address. A correct token still works at once.");
    }
    c.header("www-authenticate", 'Bearer realm="skyvern-relay"');
    return problem(c, 401, token === null ? "Send `Authorization: Bearer <RELAY_TOKEN>`." : WRONG);
  };
}
