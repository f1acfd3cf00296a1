/**
 * Looks into the word list before a search on SQLite: which words a prefix stands for, and whether a word is rare. An
 * index of prefixes (FTS5's `prefix` option) would slow every accept and take disk space.
 */
import { sql } from "kysely";
import type { Search } from "../contract/runs.ts";
import type { Db } from "../tables.ts";
import { readable } from "./text-words.ts";

type Term = Search[number];

/** The most words that one prefix may stand for. Each is walked no further than the page. */
const MAX_WORDS = 100;
/** A list that is read page by page continues when words were added meanwhile. */
const MAX_WORDS_LATER = 1_000;

/** For each term that ends in `*`, the words that begin with it. */
export type Expansions = ReadonlyMap<Term, readonly string[]>;

/** The expansions of a search without fault. */
export async function expandPrefixes(db: Db, search: Search): Promise<Expansions> {
  const expansions = new Map<Term, string[]>();
  for (const term of search.filter(({ prefix }) => prefix)) {
    const words = await wordsFrom(db, beginningOf(term), MAX_WORDS_LATER);
    if (words === null) throw new Error(`more than ${MAX_WORDS_LATER} words begin with ${shown(term)}`);
    expansions.set(term, words);
  }
  return expansions;
}

/** Why a search cannot run, if so. */
export async function searchFault(db: Db, search: Search): Promise<string | null> {
  for (const term of search.filter(({ prefix }) => prefix)) {
    if ((await wordsFrom(db, beginningOf(term), MAX_WORDS)) === null)
      return `asks for more than ${MAX_WORDS} words that begin with ${shown(term)}: add a letter`;
  }
  return null;
}

/** A word with at most this many occurrences is rare. */
const FEW_PLACES = 200;

/**
 * Whether few runs contain several words, judged by one of them: the longest with a digit, which distinguishes ids and
 * numbers, else the longest. For a prefix all words that it may stand for are counted. False for a single word.
 */
export async function isRareText(db: Db, search: Search): Promise<boolean> {
  const whole = search.flatMap(({ words, prefix }) => words.slice(0, prefix ? -1 : undefined));
  const prefixes = search.filter(({ prefix }) => prefix).map(beginningOf);
  if (whole.length + prefixes.length === 1) return false;
  const weight = (word: string): number => word.length + (/\d/.test(word) ? 1_000 : 0);
  const [selective] = whole.toReversed().toSorted((a, b) => weight(b) - weight(a));
  const rows = [
    ...(selective === undefined ? [] : [sql`term = ${selective}`]),
    ...prefixes.map((beginning) => sql`term >= ${beginning} and term < ${endOf(beginning)}`),
  ];
  for (const those of rows) {
    const places = await sql`select 1 from run_vocabulary where ${those} limit ${sql.lit(FEW_PLACES + 1)}`.execute(db);
    if (places.rows.length <= FEW_PLACES) return true;
  }
  return false;
}

const beginningOf = ({ words }: Term): string => words.at(-1) ?? "";
const shown = (term: Term): string => JSON.stringify(readable(beginningOf(term)));

/** Sorts after every word with this beginning, as no word contains the greatest character. */
const endOf = (beginning: string): string => `${beginning}\u{10FFFF}`;

/**
 * Steps from word to word, each found through the one before: a plain list would make FTS5 read every occurrence of
 * each word. Null when there are more than the limit.
 */
async function wordsFrom(db: Db, beginning: string, limit: number): Promise<string[] | null> {
  const end = endOf(beginning);
  const { rows } = await sql<{ term: string }>`with recursive words (term, n) as (
      select (select term from run_vocabulary where term >= ${beginning} limit 1), 1
      union all
      select (select v.term from run_vocabulary v where v.term >= words.term || char(1) limit 1), n + 1 from words
      where term < ${end} and n <= ${limit})
    select term from words where term < ${end}`.execute(db);
  return rows.length > limit ? null : rows.map(({ term }) => term);
}
