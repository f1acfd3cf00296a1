/**
 * JSON that keeps numbers digit for digit.
 *
 * Skyvern's outputs hold integers beyond 2^53 and floats in Python's spelling (`1e-07`), which `JSON.parse` would
 * change. A number that JavaScript would write differently is kept as a `JSON.rawJSON` object, which `JSON.stringify`
 * writes back as it came. So a {@link Json} number may be an object: read one with {@link toNumber}, show one with
 * {@link numberText}.
 */

export type Json = null | boolean | number | string | RawNumber | Json[] | JsonObject;
export type JsonObject = { [key: string]: Json };
/** A number whose text JavaScript would not reproduce. Made by the parser only. */
export interface RawNumber {
  readonly rawJSON: string;
}

declare global {
  interface JSON {
    rawJSON(text: string): RawNumber;
    isRawJSON(value: unknown): value is RawNumber;
  }
}

/**
 * Parses JSON text without losing a digit. Throws SyntaxError on what is not JSON, RangeError on nesting beyond the
 * stack.
 *
 * A reviver that is given each number's source takes eighty times as long as `JSON.parse` alone. So each number that
 * has to be kept is replaced in the text by a placeholder, and put back where the parsed value has the placeholder. The
 * n-th placeholder is the number n * 1e300. No other number is taken for one, as any number that large is kept itself.
 */
export function parseJson(text: string): Json {
  const parts: string[] = [];
  const kept: RawNumber[] = [];
  /** The placeholder of each short spelling. There are few spellings, and each may occur a million times. */
  const placeholders = new Map<string, string>();
  let copied = 0;
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) i = stringEnd(text, i);
    else if (c !== 0x2d && !isDigit(c)) i += 1;
    else {
      const start = i;
      i = bareEnd(text, start);
      if (isSurelyWrittenAlike(text, start, i)) continue;
      const digits = text.slice(start, i);
      let placeholder = placeholders.get(digits);
      if (placeholder === undefined) {
        const value = Number(digits);
        if (value < SMALLEST_PLACEHOLDER && String(value) === digits) continue;
        // The text is not JSON, and a placeholder might make it look like JSON.
        if (!NUMBER.test(digits)) break;
        placeholder = `${kept.push(JSON.rawJSON(digits))}e300`;
        if (digits.length < 6) placeholders.set(digits, placeholder);
      }
      parts.push(text.slice(copied, start), placeholder);
      copied = i;
    }
  }
  if (kept.length === 0) return JSON.parse(text) as Json;
  return restoreNumbers(JSON.parse(parts.join("") + text.slice(copied)) as Json, kept);
}

const SMALLEST_PLACEHOLDER = 1e300;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function restoreNumbers(value: Json, kept: readonly RawNumber[]): Json {
  if (typeof value === "number")
    return value < SMALLEST_PLACEHOLDER ? value : (kept[Math.round(value / SMALLEST_PLACEHOLDER) - 1] ?? value);
  if (Array.isArray(value)) for (let i = 0; i < value.length; i += 1) value[i] = restoreNumbers(value[i] ?? null, kept);
  else if (isJsonObject(value))
    for (const key of Object.keys(value)) value[key] = restoreNumbers(value[key] ?? null, kept);
  return value;
}

/**
 * Whether JavaScript surely writes the number between two indices as it stands: at most 15 digits, no exponent, no 0 at
 * the end of a fraction, and nothing so small that JavaScript would use an exponent. Most numbers are so; to write each
 * one and compare would take several times as long as `JSON.parse`.
 */
function isSurelyWrittenAlike(text: string, start: number, end: number): boolean {
  const first = text.charCodeAt(start) === 0x2d ? start + 1 : start;
  if (end - first > 16) return false;
  let point = -1;
  for (let i = first; i < end; i += 1) {
    if (text.charCodeAt(i) === 0x2e && point < 0 && i > first) point = i;
    else if (!isDigit(text.charCodeAt(i))) return false;
  }
  const startsWithZero = text.charCodeAt(first) === 0x30;
  if (point < 0) return startsWithZero ? end - start === 1 : end - first <= 15;
  if (startsWithZero && point !== first + 1) return false;
  if (text.charCodeAt(end - 1) === 0x30 || point === end - 1) return false;
  return !startsWithZero || !text.startsWith("000000", point + 1);
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;

export const isRawNumber = (value: unknown): value is RawNumber => JSON.isRawJSON(value);

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value);

/** The nearest JavaScript number, or null when the value is not a number. */
export function toNumber(value: unknown): number | null {
  if (typeof value === "number") return value;
  return isRawNumber(value) ? Number(value.rawJSON) : null;
}

/** The digits of a number as they came. */
export const numberText = (value: number | RawNumber): string =>
  typeof value === "number" ? String(value) : value.rawJSON;

// --- scanning text that is not parsed, and may be cut off or no JSON at all -----------------------------------------

/** The index after a string's closing quote, or the end of a text that was cut off. `start`: of the opening quote. */
export function stringEnd(text: string, start: number): number {
  for (let from = start + 1; ;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return text.length;
    let before = quote - 1;
    while (before > start && text.charCodeAt(before) === 0x5c) before -= 1;
    if ((quote - before) % 2 === 1) return quote + 1;
    from = quote + 1;
  }
}

/** The index after a number or a word. Only ASCII spaces end one: U+FEFF or U+00A0 is a character like others here. */
export function bareEnd(text: string, start: number): number {
  let i = start;
  while (i < text.length && !isBareEnd(text.charCodeAt(i))) i += 1;
  return i;
}

const isBareEnd = (c: number): boolean =>
  c <= 0x20 || c === 0x2c || c === 0x7d || c === 0x5d || c === 0x22 || c === 0x3a || c === 0x7b || c === 0x5b;

/** The index after any spaces. */
export function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && text.charCodeAt(i) <= 0x20) i += 1;
  return i;
}

/** What is known of a value without parsing it. */
export interface MeasuredValue {
  start: number;
  end: number;
  /** Values in it, at any depth, and itself. */
  values: number;
  /** The deepest nesting of objects and arrays. */
  depth: number;
}

/** Measures the value that begins at an index, in time and memory that do not depend on what it holds. */
export function measureValue(text: string, start: number): MeasuredValue {
  let values = 0;
  let open = 0;
  let depth = 0;
  let i = start;
  do {
    const c = text.charCodeAt(i);
    if (c === 0x7b || c === 0x5b) {
      values += 1;
      open += 1;
      if (open > depth) depth = open;
      i += 1;
    } else if (c === 0x7d || c === 0x5d) {
      open -= 1;
      i += 1;
    } else if (c === 0x22) {
      values += 1;
      i = stringEnd(text, i);
    } else if (c <= 0x20 || c === 0x2c) i += 1;
    else if (c === 0x3a) {
      // The text before it was a key.
      values -= 1;
      i += 1;
    } else {
      values += 1;
      i = bareEnd(text, i);
    }
  } while (open > 0 && i < text.length);
  return { start, end: i, values, depth };
}

/**
 * The fields of the object that a text is, each with its measured value; null when it is no object. Keys are as
 * written.
 */
export function measureFields(text: string): { key: string; value: MeasuredValue }[] | null {
  const fields: { key: string; value: MeasuredValue }[] = [];
  let at = skipSpace(text, 0);
  if (text[at] !== "{") return null;
  at = skipSpace(text, at + 1);
  while (text[at] === '"') {
    const keyEnd = stringEnd(text, at);
    const colon = skipSpace(text, keyEnd);
    if (text[colon] !== ":") return null;
    const value = measureValue(text, skipSpace(text, colon + 1));
    fields.push({ key: text.slice(at + 1, keyEnd - 1), value });
    at = skipSpace(text, value.end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return text[at] === "}" ? fields : null;
}
