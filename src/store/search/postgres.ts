/**
 * The full-text index on PostgreSQL: `tsvector` and `tsquery`
 * (https://www.postgresql.org/docs/current/datatype-textsearch.html), built here and not by PostgreSQL's own parser,
 * which recognizes hosts, signed numbers and hyphenated words. The words are thereby those of SQLite (text-words.ts),
 * and a phrase finds an id digit for digit, without an extension.
 */
import { isSeam, markGroups, type Mark } from "./search.ts";
import type { RunFilter, Search } from "../contract/runs.ts";
import { splitWords } from "./text-words.ts";

/** PostgreSQL keeps positions up to this one. An indexed text has fewer words. */
const MAX_POSITION = 16_383;
/**
 * PostgreSQL keeps this many positions of one word. A word with more occurrences, such as の in a Japanese page, gets
 * further names for the next ones: the word, {@link MORE} and a number. A phrase searches for all of them.
 */
const MAX_POSITIONS = 255;
const MORE = "\uE002";
/**
 * PostgreSQL limits a lexeme to 2046 bytes, and a search has at most 500 characters. Longer words are cut in text and
 * query alike.
 */
const MAX_WORD = 501;

const cut = (word: string): string => (word.length > MAX_WORD ? word.slice(0, MAX_WORD).toWellFormed() : word);

/** The words by which a run is found ({@link indexedText}) as a `tsvector`: each word with its positions. */
export function buildVector(text: string): string {
  const positions = new Map<string, number[]>();
  for (const [i, found] of splitWords(text).entries()) {
    if (isSeam(found)) continue;
    const word = cut(found);
    const known = positions.get(word);
    const position = Math.min(i + 1, MAX_POSITION);
    if (known === undefined) positions.set(word, [position]);
    else known.push(position);
  }
  const lexemes: string[] = [];
  for (const [word, all] of positions) {
    for (let n = 0; n * MAX_POSITIONS < all.length; n += 1) {
      const at = all.slice(n * MAX_POSITIONS, (n + 1) * MAX_POSITIONS);
      lexemes.push(`'${n === 0 ? word : `${word}${MORE}${n}`}':${at.join(",")}`);
    }
  }
  return lexemes.join(" ");
}

/** A filter as a `tsquery`; null when an ordinary index serves. */
export function buildQuery(filter: RunFilter): string | null {
  const marks = markGroups(filter);
  if (marks === null) return null;
  const any = (group: readonly Mark[]) => `(${group.map((mark) => `'${mark}'`).join(" | ")})`;
  return [...(filter.search ?? []).map(buildTerm), ...marks.map(any)].join(" & ");
}

/** Consecutive words. PostgreSQL expands a prefix by itself. */
function buildTerm(term: Search[number]): string {
  const { prefix } = term;
  const words = term.words.map(cut);
  const [first = "", ...others] = words;
  if (others.length === 0) return `'${first}'${prefix ? ":*" : ""}`;
  return `(${words.map((word, i) => (prefix && i === words.length - 1 ? `'${word}':*` : anywhere(word))).join(" <-> ")})`;
}

const anywhere = (word: string): string => `('${word}' | '${word}${MORE}':*)`;
