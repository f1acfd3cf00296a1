/** A text as the searches for secrets see it, what applies to it, and what they found. */
import type { ReadName } from "./secret-names.ts";

export const REDACTED = "[redacted]";

export interface MaskTextOptions {
  readName: ReadName;
  /** Among parameters a name alone makes a value secret; elsewhere the value must also look like one. */
  byName: boolean;
}

/** A text as it stands, or without its wrappings. */
export interface TextView {
  text: string;
  /** How often each character was wrapped. Null: the text as it stands. */
  depths: Uint8Array | null;
  /** Whether there is no other view of the same text. */
  isAlone: boolean;
}

export type TextSpan = readonly [start: number, end: number];

/** What receives the secrets of a text. */
export type Found = Pick<Spans, "push">;

/** A body may hold half a million secrets, so that a span is two numbers in lists and no object. */
export class Spans {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #isSorted = true;

  get isEmpty(): boolean {
    return this.#starts.length === 0;
  }

  push([start, end]: TextSpan) {
    this.#isSorted &&= start >= (this.#starts.at(-1) ?? 0);
    this.#starts.push(start);
    this.#ends.push(end);
  }

  /** Yields the spans in the order of their starts. */
  *[Symbol.iterator](): Generator<TextSpan> {
    const starts = this.#starts;
    const order = this.#isSorted
      ? null
      : starts.map((_start, i) => i).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0));
    for (let i = 0; i < starts.length; i += 1) {
      const at = order?.[i] ?? i;
      yield [starts[at] ?? 0, this.#ends[at] ?? 0];
    }
  }
}

export function replaceSpans(text: string, spans: Spans): string {
  const parts: string[] = [];
  const joined: string[] = [];
  let copied = 0;
  let [start, end] = [-1, -1];
  const replace = () => {
    if (start < 0 || text.slice(start, end) === REDACTED) return;
    if (parts.push(text.slice(copied, start), REDACTED) > 1_000) joined.push(parts.splice(0).join(""));
    copied = end;
  };
  for (const span of spans) {
    if (span[0] < end) end = Math.max(end, span[1]);
    else {
      replace();
      [start, end] = span;
    }
  }
  replace();
  return joined.join("") + parts.join("") + text.slice(copied);
}

export const isBlank = (c: number): boolean => c === 0x20 || c === 0x09 || c === 0xa0;
export const isLetterOrDigit = (c: number): boolean =>
  (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a);

/** Where a sticky expression that may match nothing ends. */
export function findEnd(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  pattern.test(text);
  return Math.max(from, pattern.lastIndex);
}
