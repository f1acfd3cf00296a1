/** Reads the name before a separator. */
import { Named, type ReadName } from "./secret-names.ts";

export const LONGEST_NAME = 80;

export interface Pair {
  flags: number;
  /** The index where the name begins. */
  nameStart: number;
  /** The index of the separator's last character. */
  separator: number;
}

/** The name before a separator and its meaning; null when it means nothing. */
export function readPair(text: string, at: number, separator: number, readName: ReadName): Pair | null {
  let end = at;
  const floor = Math.max(0, at - LONGEST_NAME);
  while (end > floor && isBetween(text.charCodeAt(end - 1))) end -= 1;
  if (text.charCodeAt(end - 1) === 0x3e)
    end -= CLOSING_TAG.exec(text.slice(Math.max(floor, end - 12), end))?.[0].length ?? 0;
  let start = end;
  while (start > floor && isOfName(text.charCodeAt(start - 1))) start -= 1;
  if (start === end) return null;
  let flags = readName(text.slice(start, end));
  if (mayBeTwoWords(flags) && start > floor && text.charCodeAt(start - 1) === 0x20) {
    let first = start - 1;
    while (first > floor && isOfName(text.charCodeAt(first - 1))) first -= 1;
    const more = first < start - 1 ? readName(text.slice(first, end)) & ~Named.query & ~flags : 0;
    if (more !== 0) [flags, start] = [flags | more, first];
  }
  return flags === 0 ? null : { flags, nameStart: start, separator };
}

/** Whether the word before may say more, as in `API key`, `one-time password`. */
const mayBeTwoWords = (flags: number): boolean =>
  (flags & ~Named.query) === 0 || (flags & (Named.password | Named.code)) === Named.password;

/** `</strong>` */
const CLOSING_TAG = /<\/[a-z\d]+>$/i;

/** Characters between a name and its separator: spaces, closing quotes and their escapes, `**`, `]`, the colon of `:=`. */
const isBetween = (c: number): boolean =>
  c === 0x20 || c === 0x22 || c === 0x27 || c === 0x2a || c === 0x5c || c === 0x5d || c === 0x60 || c === 0x3a;

/** Letters, digits, `_ . $ - [ ]`. */
const isOfName = (c: number): boolean =>
  (c >= 0x61 && c <= 0x7a) ||
  (c >= 0x41 && c <= 0x5a) ||
  (c >= 0x30 && c <= 0x39) ||
  c === 0x5f ||
  c === 0x2e ||
  c === 0x24 ||
  c === 0x2d ||
  c === 0x5b ||
  c === 0x5d ||
  (c > 0xa0 && c !== 0x3000 && c !== 0xfeff && (c < 0x2000 || c > 0x206f));
