/**
 * What the processes on one PostgreSQL tell each other by NOTIFY: which runs and deliveries they changed. It wakes the others, and tells those who
 * follow changes. What is lost costs time and a look at the lists, never work: every relay looks by itself as well.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { ChangedId } from "../contract/changes.ts";

export const CHANNEL = "skyvern_relay";

const TELL_EVERY_MS = 100;
/** A notification has less than 8000 bytes. */
const MAX_BYTES = 7_900;
/** Who has more to tell or to hear than this is told that something changed. */
const MAX_CHANGES = 10_000;

/** Null: something changed, and nobody knows what. */
type Changes = readonly ChangedId[] | null;

export class News {
  /** Told with each notification, as a process hears its own too. */
  readonly #self = randomBytes(8).toString("hex");
  readonly #notify: (payloads: readonly string[]) => Promise<unknown>;
  #untold: Changes = [];
  #heard: Changes = [];
  #isDue = false;
  #telling: Promise<void> | null = null;

  constructor(notify: (payloads: readonly string[]) => Promise<unknown>) {
    this.#notify = notify;
  }

  /** Tells the others soon, with what else there is to tell by then. Without changes it only wakes them. Null is news to this process as well. */
  tell(changes: Changes): void {
    if (changes === null) this.#heard = null;
    this.#untold = joined(this.#untold, changes);
    this.#isDue = true;
    this.#telling ??= this.#sendToAll();
  }

  /** Resolves when all is told. */
  async idle(): Promise<void> {
    await this.#telling;
  }

  /** Whether it comes from another process. `payload`: null when something may have been missed. */
  hear(payload: string | null): boolean {
    const [from, changes] = payload === null ? [null, null] : parse(payload);
    if (from === this.#self) return false;
    this.#heard = joined(this.#heard, changes);
    return true;
  }

  /** What was heard since the last call. */
  take(): Changes {
    const heard = this.#heard;
    this.#heard = [];
    return heard;
  }

  async #sendToAll(): Promise<void> {
    while (this.#isDue) {
      await delay(TELL_EVERY_MS);
      const changes = this.#untold;
      [this.#untold, this.#isDue] = [[], false];
      await this.#notify(payloadsOf(this.#self, changes)).catch(() => {
        // The others learn with the next notification that there was something.
        this.#untold = null;
      });
    }
    this.#telling = null;
  }
}

const joined = (before: Changes, more: Changes): Changes =>
  before === null || more === null || before.length + more.length > MAX_CHANGES ? null : [...before, ...more];

/** As many notifications as it takes. */
function payloadsOf(self: string, changes: Changes): string[] {
  const payload = JSON.stringify([self, changes]);
  if (changes === null || Buffer.byteLength(payload) <= MAX_BYTES) return [payload];
  if (changes.length === 1) return payloadsOf(self, null);
  const middle = changes.length >> 1;
  return [...payloadsOf(self, changes.slice(0, middle)), ...payloadsOf(self, changes.slice(middle))];
}

/** Whatever else comes on the channel says only that there is something. */
function parse(payload: string): [from: string | null, Changes] {
  try {
    const [from, changes] = JSON.parse(payload) as [string, Changes];
    return [from, Array.isArray(changes) ? changes : null];
  } catch {
    return [null, null];
  }
}
