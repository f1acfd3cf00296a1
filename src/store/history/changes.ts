/**
 * What changed lately, for whoever follows it: a ring in memory. An id is the ring's name and a number that counts up, so that an id of another
 * process, or of one that was started anew, is told apart; what came after it is not known then, and the follower has to read the lists again.
 */
import { randomBytes } from "node:crypto";
import type { Change, ChangedId, ChangesPage } from "../contract/changes.ts";

/** The delivery is to be read. */
export const unreadChange = ({ kind, id }: ChangedId): Change =>
  kind === "run" ? { kind, id } : { kind, id, delivery: null };

/** Changes beyond these are forgotten, the oldest first. */
const KEPT = 10_000;

export class ChangeRing {
  #name = newName();
  #changes: Change[] = [];
  /** The number of the first change that is kept, from 1. */
  #first = 1;

  /** What is committed, in the order of commits. */
  push(changes: readonly Change[]): void {
    this.#changes.push(...changes);
    const over = this.#changes.length - KEPT;
    // Some at a time: to take one off the front moves all the others.
    if (over < KEPT / 10) return;
    this.#changes = this.#changes.slice(over);
    this.#first += over;
  }

  /** Something changed that nobody said what: every id that was given out is unknown from now on. */
  reset(): void {
    this.#name = newName();
    this.#changes = [];
    this.#first = 1;
  }

  /** The id of the last change. */
  get last(): string {
    return this.#idOf(this.#first + this.#changes.length - 1);
  }

  after(id: string, limit: number): ChangesPage {
    const [, name, digits = ""] = /^(\w+)-(\d{1,15})$/.exec(id) ?? [];
    const from = Number(digits) + 1 - this.#first;
    if (name !== this.#name || from < 0 || from > this.#changes.length)
      return { changes: [], last: this.last, isKnown: false };
    const changes = this.#changes
      .slice(from, from + limit)
      .map((change, i) => ({ at: this.#idOf(this.#first + from + i), change }));
    return { changes, last: changes.at(-1)?.at ?? id, isKnown: true };
  }

  #idOf(n: number): string {
    return `${this.#name}-${n}`;
  }
}

/** No two processes have the same, nor one before and after a reset. */
const newName = (): string => randomBytes(7).toString("hex");
