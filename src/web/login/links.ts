/** Login links that work once. Only the process that made them knows them, so a restart forgets them. */
import { createHash, randomBytes } from "node:crypto";
import { remember } from "../../platform/rate-limit.ts";
import { MINUTE_MS } from "../../platform/time.ts";

const LIFE_MS = 15 * MINUTE_MS;
/** The most unused links; beyond them the oldest is forgotten. */
const MAX_LINKS = 100;

export class LoginLinks {
  readonly #now: () => number;
  /** When each ends, epoch ms, by the hash of its code. */
  readonly #ends = new Map<string, number>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** A new code, the last part of its address. */
  issue(): string {
    const code = randomBytes(24).toString("base64url");
    remember(this.#ends, hashOf(code), this.#now() + LIFE_MS, MAX_LINKS);
    return code;
  }

  /** Uses a code up. False: it was never issued, is used already, or is older than a quarter of an hour. */
  redeem(code: string): boolean {
    const hash = hashOf(code);
    const end = this.#ends.get(hash);
    this.#ends.delete(hash);
    return end !== undefined && this.#now() < end;
  }
}

const hashOf = (code: string): string => createHash("sha256").update(code).digest("hex");
