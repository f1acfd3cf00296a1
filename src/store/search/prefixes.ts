/**
 * What the list of words is asked before a search, on SQLite: which words a term that ends in `*` means, and whether a word
 * is rare. An index of beginnings (FTS5's `prefix` option) would cost every accept and the disk.
 */
import { sql } from "kysely";
import type { Search } from "../contract/runs.ts";
import type { Db } from "../tables.ts";
import { readable } from "./text-words.ts";

type Term = Search[number];

/** Words that one term may mean. Each is walked no further than the page. */
const MAX_WORDS = 100;
/** A list that goes on page by page goes on when words were added meanwhile. */
const MAX_WORDS_LATER = 1_000;

/** Of each term that ends in `*`: the words that begin so. */
export type Expansions = ReadonlyMap<Term, readonly string[]>;

/** Of a search that has no fault. */
export async function expandPrefixes(db: Db, search: Search): Promise<Expansions> {
  const expansions = new Map<Term, string[]>();
  for (const term of search.filter(({ prefix }) => prefix)) {
    const words = await wordsFrom(db, beginningOf(term), MAX_WORDS_LATER);
    if (words === null) throw new Error(`more than ${MAX_WORDS_LATER} words begin with ${shown(term)}`);
    expansions.set(term, words);
  }
  return expansions;
}

/** Why a search cannot be asked, if so. */
export async function searchFault(db: Db, search: Search): Promise<string | null> {
  for (const term of search.filter(({ prefix }) => prefix)) {
    if ((await wordsFrom(db, beginningOf(term), MAX_WORDS)) === null)
      return `asks for more than ${MAX_WORDS} words that begin with ${shown(term)}: add a letter`;
  }
  return null;
}

/** Places where a word stands up to which it is rare. */
const FEW_PLACES = 200;

/**
 * Whether few runs hold several words, going by one of them: the longest with a digit, which is what tells an id or a number
 * from others, else the longest. All words that one with `*` may mean are looked at as well. False for one word alone.
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

/** After every word that begins so: no word holds the greatest of all characters. */
const endOf = (beginning: string): string => `${beginning}\u{10FFFF}`;

/** From word to word, each looked up by the one before: to list them FTS5 would read every place where each stands. Null when there are more. */
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
