/**
 * JSON that keeps numbers digit for digit.
 *
 * Skyvern's outputs hold integers beyond 2^53 and floats in Python's spelling (`1e-07`), which `JSON.parse` would
 * change. A number that JavaScript would write differently is kept as a `JSON.rawJSON` object, which `JSON.stringify`
 * writes back as it came. So a {@link Json} number may be an object: read one with {@link numberOf}, show one with
 * {@link numberText}.
 */
import { isUnsafeNumber } from "./json-text.ts";

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

/**
 * A number that may be unsafe, or something in a string that looks like one: then the slow way is taken in vain. JavaScript writes
 * numbers of up to 15 digits as they are, but for `-0`, an exponent, a last `0` behind the point and what is below a millionth.
 */
const MAYBE_UNSAFE = /(?:^|[:,[])\s*(?:-0(?![.\d])|-?(?:0\.0{6}|[\d.]{16}|\d+(?:\.\d+)?[eE]|\d+\.\d*0(?!\d)))/;

/** Parses JSON text without losing a digit. Throws SyntaxError on what is not JSON, RangeError on nesting beyond the stack. */
export function parseJson(text: string): Json {
  if (!MAYBE_UNSAFE.test(text)) return JSON.parse(text) as Json;
  return JSON.parse(text, (_key, value, context) =>
    typeof value === "number" && context.source !== undefined && isUnsafeNumber(context.source)
      ? JSON.rawJSON(context.source)
      : value,
  ) as Json;
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
  typeof value === "number" ? String(value) : value.rawJSON;
