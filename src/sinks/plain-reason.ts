/** Reasons as people read them. Pure. */
import { typeName } from "../domain/block.ts";
import { isJsonObject, type Json } from "../platform/json.ts";
import { isEmptyReason } from "./empty-reason.ts";
import { readMarkup, excerpt } from "./markup-text.ts";
import { parsePython } from "./python-value.ts";
import { compact, isNested, MAX_PARTS } from "./readable-output.ts";

/**
 * The reason without the up to two phrases that Skyvern puts before the block's own words (contract §9); the message
 * names the block beside it (`blockTypeIn`). A reason that is a word of a program is said in words, a web page as its
 * text, and JSON by its fields; it begins like a sentence. Null for a reason that says nothing.
 */
export function plainReason(reason: string | null): string | null {
  if (reason === null) return null;
  const given = reason.replace(OF_BLOCK, "").replace(OF_CODE, "");
  const end = Math.max(0, given.length - MAX_EXCEPTIONS);
  const words = given.slice(0, end) + given.slice(end).replace(EXCEPTIONS, "$1 ($2)");
  if (isEmptyReason(words)) return null;
  if (CODE.test(words)) return typeName(words.replace(":", ": ").toLowerCase());
  return readAnswer(words).replace(BEGINNING, (letter) => letter.toUpperCase());
}

/** What a server answered to an HTTP request: a page as its text, JSON as its fields. */
function readAnswer(words: string): string {
  const [status = ""] = /^HTTP \d{3}: (?=[<{[])/.exec(words) ?? [];
  if (status === "") return words;
  const answer = words.slice(status.length);
  const markup = readMarkup(answer, { part: true });
  if (markup !== null) return `${status}${excerpt(markup)}`;
  const value = parsePython(answer);
  return value === undefined ? words : `${status}${answerInLine(value) ?? answer}`;
}

/**
 * `error: no such page, code: 17`; of a single field its value, where that is a sentence or has fields itself. Null for
 * a value of which a line would only count a part: that may be the reason.
 */
function answerInLine(value: Json): string | null {
  const [only = null, ...others] = isJsonObject(value) ? Object.values(value) : [];
  const isEnough = typeof only === "string" ? /\S\s+\S/.test(only) : isJsonObject(only) || isListOfObjects(only);
  if (others.length === 0 && isEnough) return answerInLine(only);
  const [first = null, ...rest] = Array.isArray(value) ? value : [value];
  return fitsLine(rest.length === 0 ? first : value) ? compact(value) : null;
}

const isListOfObjects = (value: Json): boolean => Array.isArray(value) && value.length > 0 && value.every(isJsonObject);

/** Whether all of a value stands in a line: few plain parts, of an object also lists of them. */
function fitsLine(value: Json): boolean {
  const parts = isJsonObject(value) ? Object.values(value) : Array.isArray(value) ? value : [];
  const isWhole = (part: Json): boolean =>
    !isNested(part) || (isJsonObject(value) && Array.isArray(part) && fitsLine(part));
  return parts.length <= MAX_PARTS && parts.every(isWhole);
}

/** The type of the block in whose words a reason is given; null where it names none. */
export const blockTypeIn = (reason: string | null): string | null => OF_BLOCK.exec(reason ?? "")?.[1] ?? null;

const OF_BLOCK = /^(\w{1,60}) block (?:failed\. failure reason:|(?:terminated|timed out)(?:\. Reason)?:) (?=\S)/;
const OF_CODE = /^Failed to execute code block\. Reason: (?:Exception: )?(?=\S)/;
/** What a task's reason ends with: a list as Python prints it. */
const EXCEPTIONS = /(\S)\(Exceptions: \[(.+)\]\)$/s;
/** They are looked for in the last characters alone: anywhere in a long reason they would take time. */
const MAX_EXCEPTIONS = 2_000;
/** `page_load_timeout`, `NAVIGATION_FAILED:timeout`: a user's own words have blanks. */
const CODE = /^\w{1,80}_\w{1,80}(?::\w{1,80})?$/;

/** The first letter of a plain word: a name with other signs in it stays as it is. */
const BEGINNING = /^\p{Ll}(?=\p{Ll}{0,30} )/u;
