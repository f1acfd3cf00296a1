/**
 * What the list of words is asked before a search, on SQLite.
 *
 * A term that ends in `*` FTS5 answers by merging all rows of all words that begin so before it gives out the first: nearly a
 * second with a million runs. So the words are looked up first, and asked for as words, each of which is walked no further
 * than the page. An index of beginnings (FTS5's `prefix` option) would cost every accept and the disk.
 */
import { sql, type Kysely } from "kysely";
import type { Search } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;
type Term = Search[number];

/** More are too many to walk at one time. */
const MAX_WORDS = 100;
/** Runs up to which FTS5 may merge, some milliseconds. */
const FEW_RUNS = 20_000;

/** Of each term that ends in `*`: the words that begin so; null for FTS5 to find them, as they are many or not ASCII. */
export type Endings = ReadonlyMap<Term, readonly string[] | null>;

export async function endingsOf(db: Db, search: Search): Promise<Endings> {
  const endings = new Map<Term, string[] | null>();
  for (const term of search.filter(({ prefix }) => prefix)) {
    const beginning = lastWordOf(term.text);
    endings.set(term, isPlain(beginning) ? await wordsFrom(db, beginning) : null);
  }
  return endings;
}

/** Why a search would take long, if so. */
export async function searchFault(db: Db, search: Search): Promise<string | null> {
  for (const [{ text }, words] of await endingsOf(db, search)) {
    const beginning = lastWordOf(text);
    if (words !== null || !isPlain(beginning) || (await isFew(db))) continue;
    return `needs more letters before *: more than ${MAX_WORDS} words begin with ${JSON.stringify(beginning)}`;
  }
  return null;
}

/** Places where a word stands up to which it is rare. */
const FEW_PLACES = 20;

/**
 * Whether few runs hold several words, going by one of them: the longest with a digit, which is what tells an id or a number
 * from others, else the longest. False for one word alone, and where that one is not ASCII.
 */
export async function isRareText(db: Db, search: Search): Promise<boolean> {
  // The last word of a term that ends in * is the beginning of others.
  const words = search.flatMap(({ text, prefix }) => (text.match(WORDS) ?? []).slice(0, prefix ? -1 : undefined));
  const weight = (word: string): number => word.length + (/\d/.test(word) ? 1_000 : 0);
  const [word] = words.toReversed().toSorted((a, b) => weight(b) - weight(a));
  if (word === undefined || words.length === 1 || !isPlain(word)) return false;
  const { rows } = await sql`select 1 from run_vocabulary where term = ${word.toLowerCase()}
    limit ${sql.lit(FEW_PLACES + 1)}`.execute(db);
  return rows.length <= FEW_PLACES;
}

/** As the tokenizer has them. */
const WORDS = /[\p{L}\p{N}\p{M}\p{Co}]+/gu;

/** The term with another last word. */
export const withEnding = ({ text }: Term, word: string): string =>
  text.slice(0, text.length - lastWordOf(text).length) + word;

const lastWordOf = (text: string): string => /[\p{L}\p{N}\p{M}\p{Co}]*$/u.exec(text)?.[0] ?? "";
/** What the tokenizer leaves as it is, but for case. */
const isPlain = (word: string): boolean => /^[a-z0-9]+$/i.test(word);

/** From word to word, each looked up by the one before: to list them FTS5 would read every place where each stands. */
async function wordsFrom(db: Db, beginning: string): Promise<string[] | null> {
  const from = beginning.toLowerCase();
  const end = from.slice(0, -1) + String.fromCharCode(from.charCodeAt(from.length - 1) + 1);
  const { rows } = await sql<{ term: string }>`with recursive words (term, n) as (
      select (select term from run_vocabulary where term >= ${from} limit 1), 1
      union all
      select (select v.term from run_vocabulary v where v.term >= words.term || char(1) limit 1), n + 1 from words
      where term < ${end} and n <= ${MAX_WORDS})
    select term from words where term < ${end}`.execute(db);
  return rows.length > MAX_WORDS ? null : rows.map(({ term }) => term);
}

async function isFew(db: Db): Promise<boolean> {
  const { rows } = await sql<{ runs: number | null }>`select (select doc from runs order by doc desc limit 1)
    - (select doc from runs where doc is not null order by doc limit 1) as runs`.execute(db);
  return (rows[0]?.runs ?? 0) < FEW_RUNS;
}
