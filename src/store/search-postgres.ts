/**
 * The full-text index on PostgreSQL: `tsvector` and `tsquery` in their text form
 * (https://www.postgresql.org/docs/current/datatype-textsearch.html), made here and not by PostgreSQL's own parser, which knows
 * hosts, numbers with signs and hyphenated words. So the words are those of SQLite's `unicode61 remove_diacritics 2`, and
 * a phrase finds an id digit for digit, without an extension.
 */
import { markGroups, type Mark } from "./search.ts";
import type { RunFilter } from "./store.ts";

/** Positions are kept up to here, and that many of one word; beyond, a word is found and a phrase may not be. */
const MAX_POSITION = 16_383;
const MAX_POSITIONS = 255;
/** A lexeme may have 2046 bytes; nobody types one of that length. Longer ones are cut, in text and query alike. */
const MAX_WORD = 500;

function wordsOf(text: string): string[] {
  if (PLAIN.test(text)) return (text.toLowerCase().match(PLAIN_WORD) ?? []).map(cut);
  const folded = text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  return (folded.match(/[\p{L}\p{N}\p{Co}]+/gu) ?? []).map(cut);
}

/** Nearly every text: nothing to fold but case. The one private character is that of marks. */
const PLAIN = /^[\0-\x7F\uE000]*$/;
const PLAIN_WORD = /[a-z0-9\uE000]+/g;

const cut = (word: string): string => (word.length > MAX_WORD ? word.slice(0, MAX_WORD).toWellFormed() : word);

/**
 * What a run is found by ({@link indexedText}), as a `tsvector` in PostgreSQL's binary form (`tsvectorrecv`): how many words, and of each its
 * bytes, a zero, how many positions, and these, numbers of two bytes but for the first.
 */
export function vectorOf(text: string): Buffer {
  const positions = new Map<string, number[]>();
  for (const [i, word] of wordsOf(text).entries()) {
    const known = positions.get(word);
    if (known === undefined) positions.set(word, [Math.min(i + 1, MAX_POSITION)]);
    else if (known.length < MAX_POSITIONS && i < MAX_POSITION) known.push(i + 1);
  }
  // Put together as text of one byte a character: quicker than writing each number into memory by itself.
  let bytes = twoBytes(positions.size >>> 16) + twoBytes(positions.size & 0xffff);
  for (const [word, at] of positions) {
    bytes += `${bytesOf(word)}\0${twoBytes(at.length)}`;
    for (const position of at) bytes += twoBytes(position);
  }
  return Buffer.from(bytes, "latin1");
}

const twoBytes = (n: number): string => String.fromCharCode(n >>> 8, n & 0xff);
const bytesOf = (word: string): string => (/^[a-z0-9]*$/.test(word) ? word : Buffer.from(word).toString("latin1"));

/** A filter as a `tsquery`; null when an ordinary index serves. */
export function queryOf(filter: RunFilter): string | null {
  const marks = markGroups(filter);
  if (marks === null) return null;
  const any = (group: readonly Mark[]) => `(${group.map((mark) => `'${mark}'`).join(" | ")})`;
  return [...(filter.search ?? []).map(termOf), ...marks.map(any)].join(" & ");
}

/** Words in a row. One without any, which no reader of searches lets pass, finds nothing. */
function termOf({ text, prefix }: { text: string; prefix: boolean }): string {
  const words = wordsOf(text);
  if (words.length === 0) return "'\uE000'";
  return `(${words.map((word, i) => `'${word}'${prefix && i === words.length - 1 ? ":*" : ""}`).join(" <-> ")})`;
}
