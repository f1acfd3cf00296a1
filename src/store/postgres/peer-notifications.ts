/**
 * What the processes on one PostgreSQL tell each other by NOTIFY: which runs and deliveries they changed. It wakes the others, and tells those who
 * follow changes. What is lost costs time and a look at the lists, never work: every relay looks by itself as well.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { ChangedId } from "../contract/changes.ts";

export const CHANNEL = "skyvern_relay";

const NOTIFY_EVERY_MS = 100;
/** A notification has less than 8000 bytes. */
const MAX_BYTES = 7_900;
/** Who has more to tell or to hear than this is told that something changed. */
const MAX_CHANGES = 10_000;

/** Null: something changed, and nobody knows what. */
type Changes = readonly ChangedId[] | null;

export class PeerNotifications {
  /** Told with each notification, as a process hears its own too. */
  readonly #self = randomBytes(8).toString("hex");
  readonly #notify: (payloads: readonly string[]) => Promise<unknown>;
  #pending: Changes = [];
  #received: Changes = [];
  #isDue = false;
  #sending: Promise<void> | null = null;

  constructor(notify: (payloads: readonly string[]) => Promise<unknown>) {
    this.#notify = notify;
  }

  /** Tells the others soon, with what else there is to tell by then. Without changes it only wakes them. Null is news to this process as well. */
  announce(changes: Changes): void {
    if (changes === null) this.#received = null;
    this.#pending = joined(this.#pending, changes);
    this.#isDue = true;
    this.#sending ??= this.#sendAll();
  }

  /** Resolves when all is told. */
  async idle(): Promise<void> {
    await this.#sending;
  }

  /** Whether it comes from another process. `payload`: null when something may have been missed. */
  receive(payload: string | null): boolean {
    const [from, changes] = payload === null ? [null, null] : parse(payload);
    if (from === this.#self) return false;
    this.#received = joined(this.#received, changes);
    return true;
  }

  /** What was heard since the last call. */
  take(): Changes {
    const received = this.#received;
    this.#received = [];
    return received;
  }

  async #sendAll(): Promise<void> {
    while (this.#isDue) {
      await delay(NOTIFY_EVERY_MS);
      const changes = this.#pending;
      [this.#pending, this.#isDue] = [[], false];
      await this.#notify(splitPayloads(this.#self, changes)).catch(() => {
        // The others learn with the next notification that there was something.
        this.#pending = null;
      });
    }
    this.#sending = null;
  }
}

const joined = (before: Changes, more: Changes): Changes =>
  before === null || more === null || before.length + more.length > MAX_CHANGES ? null : [...before, ...more];

/** As many notifications as it takes. */
function splitPayloads(self: string, changes: Changes): string[] {
  const payload = JSON.stringify([self, changes]);
  if (changes === null || Buffer.byteLength(payload) <= MAX_BYTES) return [payload];
  if (changes.length === 1) return splitPayloads(self, null);
  const middle = changes.length >> 1;
  return [...splitPayloads(self, changes.slice(0, middle)), ...splitPayloads(self, changes.slice(middle))];
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
