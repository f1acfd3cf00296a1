/**
 * The latest changes, in memory, for readers that follow them. An id is the ring's name and a running number. An id
 * from another process, or from before a restart, is therefore recognized as unknown, and its reader must read the
 * lists again.
 */
import { randomBytes } from "node:crypto";
import type { Change, ChangedId, ChangesPage } from "../contract/changes.ts";

/** The delivery must be read. */
export const unreadChange = ({ kind, id }: ChangedId): Change =>
  kind === "run" ? { kind, id } : { kind, id, delivery: null };

/** The ring forgets older changes beyond this many. */
const KEPT = 10_000;

export class ChangeRing {
  #name = newName();
  #changes: Change[] = [];
  /** The number of the oldest change in the ring, from 1. */
  #first = 1;

  /** Adds committed changes in the order of commits. */
  push(changes: readonly Change[]): void {
    this.#changes.push(...changes);
    const over = this.#changes.length - KEPT;
    // Trims many at a time, because removing one from the front moves all the others.
    if (over < KEPT / 10) return;
    this.#changes = this.#changes.slice(over);
    this.#first += over;
  }

  /** Something unknown changed: every id handed out so far becomes unknown. */
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

/** No two processes share a name, and a reset changes it. */
const newName = (): string => randomBytes(7).toString("hex");
