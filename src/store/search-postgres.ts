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
  const plain = text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();
  return (plain.match(/[\p{L}\p{N}\p{Co}]+/gu) ?? []).map((word) => word.slice(0, MAX_WORD).toWellFormed());
}

/** What a run is found by ({@link indexedText}), as a `tsvector`. */
export function vectorOf(text: string): string {
  const positions = new Map<string, number[]>();
  for (const [i, word] of wordsOf(text).entries()) {
    const known = positions.get(word);
    if (known === undefined) positions.set(word, [Math.min(i + 1, MAX_POSITION)]);
    else if (known.length < MAX_POSITIONS && i < MAX_POSITION) known.push(i + 1);
  }
  return [...positions].map(([word, at]) => `'${word}':${at.join(",")}`).join(" ");
}

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
