/**
 * Full text over runs: what a search contains, and what it can find. The index is SQLite's FTS5
 * (https://sqlite.org/fts5.html), declared in schema.sqlite.sql.
 *
 * `INV-2026-0042` is three words (text-words.ts) and is found as a phrase, so ids and numbers are found digit for
 * digit. Beside its words each run has *marks*, one for each value that lists filter by. A filter thereby narrows the
 * search inside the index, and several filters are intersected there, where an index on a column would walk through one
 * and look up the rest.
 */
import { hash } from "node:crypto";
import { isRawNumber, numberText, type Json, type JsonObject } from "../../platform/json.ts";
import { relatedIds } from "../../domain/related-runs.ts";
import type { Run } from "../../domain/run.ts";
import type { Expansions } from "./prefixes.ts";
import type { RunFilter, Search } from "../contract/runs.ts";
import { cutText, foldText, isWholeCharacter, toWords } from "./text-words.ts";

const MAX_TERMS = 10;
/**
 * The index has no prefixes: all words that begin with the term are looked up. The shorter the term, the more words
 * there are.
 */
const MIN_PREFIX = 3;
const MAX_PREFIXES = 2;
/** A phrase whose last word is a prefix is searched once with each word that the prefix may stand for. */
const MAX_PREFIX_WORDS = 10;

/**
 * Parses what was typed: terms between spaces, a phrase in double quotes, `*` at a term's end for any ending.
 * Everything else is text; there are no operators. A string as the result says what is wrong. After a character of a
 * script without spaces `*` has no effect, as the next character is another word.
 */
export function readSearch(typed: string): Search | string {
  const terms: Search[number][] = [];
  for (const [, phrase, term = ""] of typed.matchAll(/"([^"]*)"?|([^\s"]+)/g)) {
    const words = toWords(phrase ?? term);
    const last = words.at(-1);
    if (last === undefined) continue;
    const prefix = phrase === undefined && term.endsWith("*") && !isWholeCharacter(last);
    if (prefix && (!/[\p{L}\p{N}\p{M}]\*+$/u.test(term) || lettersIn(last) < MIN_PREFIX))
      return `needs at least ${MIN_PREFIX} letters or digits before *`;
    if (prefix && words.length > MAX_PREFIX_WORDS)
      return `has more than ${MAX_PREFIX_WORDS} words in a term that ends in *`;
    terms.push({ words, prefix });
  }
  if (terms.length === 0) return "has no letter or digit to look for";
  if (terms.length > MAX_TERMS) return `has more than ${MAX_TERMS} terms; put a phrase in double quotes`;
  if (terms.filter(({ prefix }) => prefix).length > MAX_PREFIXES)
    return `has more than ${MAX_PREFIXES} terms that end in *`;
  return terms;
}

const lettersIn = (word: string): number => word.match(/[\p{L}\p{N}]/gu)?.length ?? 0;

/**
 * The text by which a run is found: the words of its ids, title, prompt, summary, failure and output, and its marks.
 * The same run always has the same text under one WORDS_VERSION, because the index removes a run's words by it.
 */
export function indexedText(run: Run): string {
  const marks = new Set(MARKED.flatMap(([name, valuesOf]) => valuesOf(run).map((value) => formatMark(name, value))));
  return `${[...marks].join(" ")}\n${indexableText(run)}`;
}

/**
 * The most UTF-16 units of a run that are indexed. Text beyond it is not found; the limit bounds the time of an accept.
 */
const MAX_TEXT = 32_000;
/**
 * The word that separates the n-th text (from 0) from the next, so that no phrase spans both. A key and its value are
 * one text. The word changes every 30 texts: where one word has 64 bytes of positions or more, FTS5 in its
 * secure-delete mode looks through the whole index for something to remove, which takes longer than all other words of
 * the run.
 */
const seam = (n: number): string => String.fromCharCode(0xe100 + Math.floor(n / 30));
export const isSeam = (word: string): boolean => /^[\uE100-\uF8FF]$/.test(word);

function indexableText({ run_id, workflow, title, prompt, summary, failure, output }: Run): string {
  // SQLite ends a text at a NUL, so a NUL is removed.
  let found = "";
  const add = (text: string, end = "\0"): void => {
    if (found.length < MAX_TEXT) found += (text.length > MAX_TEXT ? text.slice(0, MAX_TEXT) : text) + end;
  };
  const addJson = (value: Json): void => {
    if (found.length >= MAX_TEXT || value === null || typeof value === "boolean") return;
    if (typeof value === "string") add(value);
    else if (typeof value === "number" || isRawNumber(value)) add(numberText(value));
    else if (Array.isArray(value)) for (const item of value) addJson(item);
    else addFields(value);
  };
  const addFields = (value: JsonObject): void => {
    for (const key of Object.keys(value)) {
      if (found.length >= MAX_TEXT) return;
      const inside = value[key] ?? null;
      const isText = typeof inside === "string" || typeof inside === "number" || isRawNumber(inside);
      add(key, isText ? "\n" : "\0");
      addJson(inside);
    }
  };
  for (const text of [run_id, workflow?.run_id, workflow?.permanent_id, title, prompt, summary, failure?.reason])
    if (text) add(text);
  for (const text of [...(failure?.codes ?? []), ...(failure?.categories ?? [])]) add(text);
  addJson(failure?.errors ?? null);
  addJson(output);
  const isLong = found.length > MAX_TEXT;
  let seams = 0;
  const text = foldText(isLong ? found.slice(0, MAX_TEXT) : found).replaceAll("\0", () => `\n${seam(seams++)}\n`);
  return isLong || text.length > MAX_TEXT ? cutText(text, MAX_TEXT) : text;
}

// --- marks ----------------------------------------------------------------------------------------------------------

type MarkName =
  | "status"
  | "run_type"
  | "workflow"
  | "organization"
  | "channel"
  | "source"
  | "label"
  | "attempts"
  | "trigger"
  | "schedule"
  | "tag"
  | "related";

const present = (...values: (string | null | undefined)[]): string[] =>
  values.filter((value) => value !== null && value !== undefined);

const MARKED: readonly (readonly [MarkName, (run: Run) => string[]])[] = [
  ["status", ({ status }) => [status]],
  ["run_type", ({ run_type }) => [run_type]],
  ["workflow", ({ workflow, title }) => present(workflow?.permanent_id, title)],
  ["organization", ({ organization_id }) => present(organization_id)],
  ["channel", ({ channel }) => present(channel)],
  ["source", ({ source }) => [source]],
  ["label", ({ labels }) => Object.entries(labels ?? {}).map(([name, value]) => `${name}:${value}`)],
  ["attempts", ({ attempt }) => attemptValues(attempt)],
  ["trigger", ({ trigger }) => present(trigger)],
  ["schedule", ({ schedule }) => present(schedule)],
  ["tag", ({ tags }) => tags ?? []],
  ["related", relatedIds],
];

/** Skyvern makes at most 6 run attempts. Runs with one attempt have no mark for that, because nearly all are such. */
const MAX_ATTEMPTS = 20;

/** The third attempt has `3`, `more_than_1` and `more_than_2`. */
const attemptValues = (attempt: number): string[] =>
  attempt === 1
    ? []
    : [
        String(attempt),
        ...Array.from({ length: Math.min(attempt, MAX_ATTEMPTS) - 1 }, (_none, i) => `more_than_${i + 1}`),
      ];

/** What a filter by attempts asks for, as a mark has it: `2` or `>1`. Null for what it cannot ask for. */
export function readAttempts(text: string): string | null {
  const [, sign, digits] = /^(>?)(\d{1,2})$/.exec(text) ?? [];
  const number = Number(digits);
  if (digits === undefined || number >= MAX_ATTEMPTS || number < (sign === ">" ? 1 : 2)) return null;
  return sign === ">" ? `more_than_${number}` : String(number);
}

/**
 * A mark is a word that no text can contain, as it begins with a private use character. It holds the value itself where
 * that is short and plain, else a digest.
 */
export type Mark = string;
const formatMark = (name: MarkName, value: string): Mark =>
  PLAIN.test(value)
    ? `\uE003${LETTERS[name]}${value.replaceAll("_", "\uE002")}`
    : `\uE000${hash("sha256", `${name}\0${value}`).slice(0, 12)}`;
const PLAIN = /^[a-z0-9_]{1,40}$/;
const LETTERS: Record<MarkName, string> = {
  status: "s",
  run_type: "t",
  workflow: "w",
  organization: "o",
  channel: "c",
  source: "r",
  label: "l",
  attempts: "a",
  trigger: "g",
  schedule: "h",
  tag: "k",
  related: "n",
};

/**
 * The marks a filter requires, at least one of each group. Null when there is no search and no column has to have a
 * value.
 */
export function markGroups(filter: RunFilter): Mark[][] | null {
  const groups = MARKED.flatMap(([name]) => (filter[name] ? [{ name, values: filter[name] }] : []));
  if (filter.search === undefined && groups.length === 0) return null;
  return groups.map(({ name, values }) => values.map((value) => formatMark(name, value)));
}

/** A mark that no run has. */
const NO_MARK: Mark = "\uE000";

/**
 * A filter as an FTS5 expression; null when an ordinary index serves. A prefix is expanded to the words it may stand
 * for: for a prefix query FTS5 would merge all rows of all these words before it returns the first.
 */
export function buildMatch(filter: RunFilter, expansions: Expansions = new Map()): string | null {
  const groups = markGroups(filter);
  if (groups === null) return null;
  const terms = (filter.search ?? []).map((term) => {
    if (!term.prefix) return quoted(term.words.join(" "));
    const before = term.words.slice(0, -1);
    const meant = (expansions.get(term) ?? []).map((word) => [...before, word].join(" "));
    return matchAny(meant.length === 0 ? [NO_MARK] : meant);
  });
  return [...terms, ...groups.map(matchAny)].join(" AND ");
}

const matchAny = (texts: readonly string[]): string => `(${texts.map(quoted).join(" OR ")})`;
/** Inside quotes FTS5 knows no syntax but the quote itself, which no word and no mark contains. */
const quoted = (words: string): string => `"${words}"`;
