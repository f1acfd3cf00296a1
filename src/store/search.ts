/**
 * Full text over runs: what is looked for, and what can be found. The index is SQLite's FTS5 (https://sqlite.org/fts5.html),
 * declared in schema.sqlite.sql.
 *
 * Words are what the tokenizer makes of text: letters and digits, without case and accents. `INV-2026-0042` is three of
 * them and is found as a phrase, so an id or a number is found digit for digit. Beside its words each run has *marks*, one
 * a value that lists filter by; a filter so narrows the search inside the index, and two of them are intersected there,
 * where an index a column would walk through one and look up the rest.
 */
import { hash } from "node:crypto";
import { sql, type Kysely } from "kysely";
import { isRawNumber, numberText, type Json, type JsonObject } from "../json.ts";
import type { Run } from "../run.ts";
import { withEnding, type Endings } from "./prefixes.ts";
import type { RunFilter, Search } from "./store.ts";
import type { Tables } from "./tables.ts";

const MAX_TERMS = 10;
/** The beginnings of words are not indexed: all words that begin so are looked for. The shorter, the more there are. */
const MIN_PREFIX = 3;
const MAX_PREFIXES = 2;

/**
 * Reads what was typed: terms between spaces, a phrase in double quotes, `*` at a term's end for any ending. Everything
 * else is text: there are no operators. A string says what is wrong with it.
 */
export function readSearch(typed: string): Search | string {
  const terms: Search[number][] = [];
  for (const [, phrase, word = ""] of plain(typed).matchAll(/"([^"]*)"?|([^\s"]+)/g)) {
    const text = phrase ?? word.replace(/\*+$/, "");
    const letters = text.match(WORD_CHARACTER)?.length ?? 0;
    if (letters === 0) continue;
    const prefix = phrase === undefined && word.endsWith("*");
    if (prefix && lengthOfLastWord(text) < MIN_PREFIX) return `needs at least ${MIN_PREFIX} letters or digits before *`;
    terms.push({ text, prefix });
  }
  if (terms.length === 0) return "has no letter or digit to look for";
  if (terms.length > MAX_TERMS) return `has more than ${MAX_TERMS} terms; put a phrase in double quotes`;
  if (terms.filter(({ prefix }) => prefix).length > MAX_PREFIXES)
    return `has more than ${MAX_PREFIXES} terms that end in *`;
  return terms;
}

/** As unicode61 sees it: letters, digits and private use; here without the latter, which is for marks. */
const WORD_CHARACTER = /[\p{L}\p{N}]/gu;
const lengthOfLastWord = (text: string): number =>
  /[\p{L}\p{N}\p{M}]*$/u.exec(text)?.[0].match(WORD_CHARACTER)?.length ?? 0;

/** Without what would be taken for a mark, or end the text in SQLite. */
const plain = (text: string): string =>
  !isAscii(text) && MAY_NOT_BE_PLAIN.test(text) ? text.replace(/[\0\p{Co}]/gu, " ").toWellFormed() : text;
/** Without NUL. Sees it many times faster than a regular expression. */
const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length && !text.includes("\0");
/** Private use, in the one plane or as half of a pair. */
const MAY_NOT_BE_PLAIN = /[\0\uD800-\uF8FF]/;

/** Characters of a run that are indexed; what an output holds beyond them is not found. Bounds the time an accept takes. */
const MAX_TEXT = 32_768;

/** What a run is found by, one text: the words of its ids, title, prompt, summary, failure and output, and its marks. */
export function indexedText(run: Run): string {
  const marks = new Set(MARKED.flatMap(([name, valuesOf]) => valuesOf(run).map((value) => markOf(name, value))));
  return `${[...marks].join(" ")}\n${wordsOf(run)}`;
}

/** Takes runs out of the index, before their rows go. */
export const forgetWords = (tx: Kysely<Tables>, runIds: readonly string[]) =>
  sql`delete from run_words where rowid in (select doc from runs where run_id in (${sql.join(runIds)}))`.execute(tx);

function wordsOf({ run_id, workflow, title, prompt, summary, failure, output }: Run): string {
  const parts = [run_id];
  let room = MAX_TEXT;
  const add = (text: string): void => {
    if (room <= 0) return;
    parts.push(text.length > room ? text.slice(0, room) : text);
    room -= text.length + 1;
  };
  const addJson = (value: Json): void => {
    if (room <= 0 || value === null || typeof value === "boolean") return;
    if (typeof value === "string") add(value);
    else if (typeof value === "number" || isRawNumber(value)) add(numberText(value));
    else if (Array.isArray(value)) for (const item of value) addJson(item);
    else addFields(value);
  };
  const addFields = (value: JsonObject): void => {
    for (const key of Object.keys(value)) {
      if (room <= 0) return;
      add(key);
      addJson(value[key] ?? null);
    }
  };
  for (const text of [workflow?.run_id, workflow?.permanent_id, title, prompt, summary, failure?.reason])
    add(text ?? "");
  for (const text of [...(failure?.codes ?? []), ...(failure?.categories ?? [])]) add(text);
  addJson(failure?.errors ?? null);
  addJson(output);
  return plain(parts.join("\n"));
}

// --- marks ----------------------------------------------------------------------------------------------------------

type MarkName = "status" | "run_type" | "workflow" | "organization" | "channel" | "source";

const present = (...values: (string | null | undefined)[]): string[] =>
  values.filter((value) => value !== null && value !== undefined);

const MARKED: readonly (readonly [MarkName, (run: Run) => string[]])[] = [
  ["status", ({ status }) => [status]],
  ["run_type", ({ run_type }) => [run_type]],
  ["workflow", ({ workflow, title }) => present(workflow?.permanent_id, title)],
  ["organization", ({ organization_id }) => present(organization_id)],
  ["channel", ({ channel }) => present(channel)],
  ["source", ({ source }) => [source]],
];

/** A word that no text can hold: a private use character, and a digest, as a value may be anything. */
export type Mark = string;
const markOf = (name: MarkName, value: string): Mark => `\uE000${hash("sha256", `${name}\0${value}`).slice(0, 12)}`;

/**
 * The marks a filter asks for: of each group one at least. Null when an ordinary index serves: nothing is looked for, and at
 * most one column has at most one value.
 */
export function markGroups(filter: RunFilter): Mark[][] | null {
  const groups = MARKED.flatMap(([name]) => (filter[name] ? [{ name, values: filter[name] }] : []));
  const [first, ...more] = groups;
  const isSimple =
    more.length === 0 && (first === undefined || (HAS_INDEX.has(first.name) && first.values.length === 1));
  if (filter.search === undefined && isSimple) return null;
  return groups.map(({ name, values }) => values.map((value) => markOf(name, value)));
}

const NO_MARK: Mark = "\uE000";

/** A filter as an FTS5 expression; null when an ordinary index serves. */
export function matchOf(filter: RunFilter, endings: Endings = new Map()): string | null {
  const groups = markGroups(filter);
  if (groups === null) return null;
  const terms = (filter.search ?? []).map((term) => {
    const words = endings.get(term);
    if (!term.prefix || !words) return `${quoted(term.text)}${term.prefix ? " *" : ""}`;
    // A mark that no run has, where no word begins so.
    const any = words.length === 0 ? [NO_MARK] : words.map((word) => withEnding(term, word));
    return `(${any.map(quoted).join(" OR ")})`;
  });
  const marks = groups.map((group) => `(${group.map(quoted).join(" OR ")})`);
  return [...terms, ...marks].join(" AND ");
}

/** A workflow is asked for by id or title: two columns. */
const HAS_INDEX = new Set<MarkName>(["status", "run_type", "organization", "channel"]);

/** Inside quotes FTS5 knows no syntax but the quote itself. */
const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
