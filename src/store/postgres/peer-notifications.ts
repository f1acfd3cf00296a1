/**
 * What the processes on one PostgreSQL announce to each other by NOTIFY: the runs and deliveries they changed. It wakes
 * the other relays and feeds the readers that follow changes. A lost notification costs time and a new read of the
 * lists, never work, because every relay also checks by itself.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { ChangedId } from "../contract/changes.ts";

export const CHANNEL = "skyvern_relay";

const NOTIFY_EVERY_MS = 100;
/** PostgreSQL limits a notification to less than 8000 bytes. */
const MAX_BYTES = 7_900;
/** Beyond this many changes the notification says only that something changed. */
const MAX_CHANGES = 10_000;

/** Null: something changed, and it is not known what. */
type Changes = readonly ChangedId[] | null;

export class PeerNotifications {
  /** Sent with each notification, because a process receives its own too. */
  readonly #self = randomBytes(8).toString("hex");
  readonly #notify: (payloads: readonly string[]) => Promise<unknown>;
  #pending: Changes = [];
  #received: Changes = [];
  #isDue = false;
  #sending: Promise<void> | null = null;

  constructor(notify: (payloads: readonly string[]) => Promise<unknown>) {
    this.#notify = notify;
  }

  /**
   * Announces changes to the others soon, together with those that follow until then. Without changes it only wakes
   * them. Null also marks this process's own followers as out of date.
   */
  announce(changes: Changes): void {
    if (changes === null) this.#received = null;
    this.#pending = concatChanges(this.#pending, changes);
    this.#isDue = true;
    this.#sending ??= this.#sendAll();
  }

  /** Resolves once everything is announced. */
  async idle(): Promise<void> {
    await this.#sending;
  }

  /** True when the notification comes from another process. `payload` is null when something may have been missed. */
  receive(payload: string | null): boolean {
    const [from, changes] = payload === null ? [null, null] : parse(payload);
    if (from === this.#self) return false;
    this.#received = concatChanges(this.#received, changes);
    return true;
  }

  /** The changes received since the last call. */
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
        // The next notification will say that something changed.
        this.#pending = null;
      });
    }
    this.#sending = null;
  }
}

const concatChanges = (before: Changes, more: Changes): Changes =>
  before === null || more === null || before.length + more.length > MAX_CHANGES ? null : [...before, ...more];

/** Splits the changes into as many notifications as they need. */
function splitPayloads(self: string, changes: Changes): string[] {
  const payload = JSON.stringify([self, changes]);
  if (changes === null || Buffer.byteLength(payload) <= MAX_BYTES) return [payload];
  if (changes.length === 1) return splitPayloads(self, null);
  const middle = changes.length >> 1;
  return [...splitPayloads(self, changes.slice(0, middle)), ...splitPayloads(self, changes.slice(middle))];
}

/** Any other text on the channel says only that something changed. */
function parse(payload: string): [from: string | null, Changes] {
  try {
    const [from, changes] = JSON.parse(payload) as [string, Changes];
    return [from, Array.isArray(changes) ? changes : null];
  } catch {
    return [null, null];
  }
}
