/**
 * JSON that keeps numbers digit for digit.
 *
 * Skyvern's outputs hold integers beyond 2^53 and floats in Python's spelling (`1e-07`), which `JSON.parse` would
 * change. A number that JavaScript would write differently is kept as a `JSON.rawJSON` object, which `JSON.stringify`
 * writes back as it came. So a {@link Json} number may be an object: read one with {@link numberOf}, show one with
 * {@link numberText}.
 */
import { bareEnd, beginsNumber, isUnsafeNumber, isUnsafeNumberAt, skipSpace, stringEnd } from "./json-text.ts";

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
    parse(
      text: string,
      reviver: (this: unknown, key: string, value: unknown, context: { source?: string }) => unknown,
    ): unknown;
  }
}

/** Parses JSON text without losing a digit. Throws SyntaxError on what is not JSON, RangeError on nesting beyond the stack. */
export function parseJson(text: string): Json {
  const unsafe = unsafeNumbersIn(text);
  if (unsafe.length === 0) return JSON.parse(text) as Json;
  if (text.includes(`"${MARK_IN_TEXT}`)) return JSON.parse(text, keepNumber) as Json;
  const parts: string[] = [];
  let copied = 0;
  for (const { start, end } of unsafe) {
    parts.push(text.slice(copied, start), `"${MARK_IN_TEXT}`, text.slice(start, end), '"');
    copied = end;
  }
  return restoreNumbers(JSON.parse(parts.join("") + text.slice(copied)) as Json);
}

/**
 * What a string begins with that stands for a number while JSON is parsed. With a function that sees each value and its source, as in
 * {@link keepNumber}, parsing takes three times as long; it is left for text that holds such strings of its own.
 */
const MARK = "\0";
const MARK_IN_TEXT = String.raw`\u0000`;

const keepNumber = (_key: string, value: unknown, { source }: { source?: string }): unknown =>
  typeof value === "number" && source !== undefined && isUnsafeNumber(source) ? JSON.rawJSON(source) : value;

/** Where unsafe numbers stand as values. None of a text that a misplaced number makes no JSON: only so it stays none. */
function unsafeNumbersIn(text: string): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) i = stringEnd(text, i);
    else if (!beginsNumber(c)) i += 1;
    else {
      const start = i;
      i = bareEnd(text, start);
      if (!isUnsafeNumberAt(text, start, i)) continue;
      if (!NUMBER.test(text.slice(start, i)) || text.charCodeAt(skipSpace(text, i)) === 0x3a) return [];
      found.push({ start, end: i });
    }
  }
  return found;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function restoreNumbers(value: Json): Json {
  if (typeof value === "string") return value.startsWith(MARK) ? JSON.rawJSON(value.slice(MARK.length)) : value;
  if (Array.isArray(value)) for (let i = 0; i < value.length; i += 1) value[i] = restoreNumbers(value[i] ?? null);
  else if (isJsonObject(value)) for (const key of Object.keys(value)) value[key] = restoreNumbers(value[key] ?? null);
  return value;
}

export const isRawNumber = (value: unknown): value is RawNumber => JSON.isRawJSON(value);

export const isJsonObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !JSON.isRawJSON(value);

/** The nearest JavaScript number, or null when the value is not a number. */
export function numberOf(value: unknown): number | null {
  if (typeof value === "number") return value;
  return isRawNumber(value) ? Number(value.rawJSON) : null;
}

/** The digits of a number as they came. */
export const numberText = (value: number | RawNumber): string =>
  typeof value === "number" ? (amountText(value) ?? String(value)) : value.rawJSON;

/**
 * A positive number of up to two decimals and 15 digits, as amounts of money are, written several times faster than JavaScript does it for
 * any fraction: the decimals of so few digits are all numbers of their own, so there is no shorter one. Null: another number.
 */
function amountText(value: number): string | null {
  if (!(value > 0 && value < 1e12) || Number.isInteger(value)) return null;
  const hundredths = Math.round(value * 100);
  if (hundredths / 100 !== value) return null;
  const rest = hundredths % 100;
  return `${(hundredths - rest) / 100}.${rest % 10 === 0 ? rest / 10 : rest < 10 ? `0${rest}` : rest}`;
}
