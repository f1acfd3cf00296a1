/**
 * Removes a text's wrappings: JSON escapes, percent escapes and HTML entities, in any order and depth, until nothing is
 * left to decode. Each escape is decoded as soon as its last character arrives, and its character may complete another
 * one. Every step makes the text shorter, so the time is proportional to its length.
 */

import { discard } from "../../platform/memory/discard.ts";

/** A text without its wrappings, and where each of its characters stands in the text that it was made of. */
export interface UnwrappedView {
  text: string;
  /** Where character `i` begins in the source; one more entry for the end. */
  starts: Int32Array;
  /**
   * How often character `i` was wrapped. A delimiter that is wrapped deeper than a value's beginning belongs to the
   * value.
   */
  depths: Uint8Array;
}

/** The source of an expression for the first character of what may be a wrapping. Most texts hold none. */
export const WRAPPING_HINT = String.raw`%(?=[0-9A-Fa-f]{2})|&(?=#|[A-Za-z]{2,7};)|\\`;
const WRAPPED = new RegExp(WRAPPING_HINT);

/** Null when nothing is wrapped. */
export function unwrap(source: string): UnwrappedView | null {
  if (!WRAPPED.test(source)) return null;
  const codes = new Uint16Array(source.length);
  const starts = new Int32Array(source.length + 1);
  const depths = new Uint8Array(source.length);
  let length = 0;
  // The last character that may begin an escape; what is further back than an escape is long ends none.
  let opener = -LONGEST_ESCAPE;
  for (let i = 0; i < source.length; i += 1) {
    const c = source.charCodeAt(i);
    codes[length] = c;
    starts[length] = i;
    depths[length] = 0;
    if (isOpener(c)) opener = length;
    length += 1;
    while (length - opener <= LONGEST_ESCAPE) {
      const escape = escapeAtEnd(codes, depths, length);
      if (escape === 0) break;
      const begin = length - (escape >>> 16);
      let depth = 0;
      for (let at = begin; at < length; at += 1) depth = Math.max(depth, depths[at] ?? 0);
      codes[begin] = escape & 0xffff;
      depths[begin] = Math.min(depth + 1, 255);
      length = begin + 1;
      // The part that was cut off may have hidden an opening character before it.
      opener = begin;
    }
  }
  if (length === source.length) return null;
  starts[length] = source.length;
  return { text: takeText(codes, length), starts, depths };
}

/** The text of the first codes, which are consumed. */
function takeText(all: Uint16Array, length: number): string {
  const codes = all.subarray(0, length);
  if (length <= 4096) return String.fromCharCode.apply(null, codes as unknown as number[]);
  let any = 0;
  for (const code of codes) any |= code;
  const isLatin1 = any < 256;
  const bytes = isLatin1 ? Buffer.from(codes) : Buffer.from(codes.buffer, codes.byteOffset, codes.byteLength);
  if (isLatin1) discard(all);
  const text = bytes.toString(isLatin1 ? "latin1" : "utf16le");
  discard(isLatin1 ? bytes : all);
  return text;
}

const isOpener = (c: number): boolean => c === PERCENT || c === AMPERSAND || c === BACKSLASH;

/** The escape that ends a text: its length in the upper half, the character it stands for in the lower one; or 0. */
function escapeAtEnd(codes: Uint16Array, depths: Uint8Array, length: number): number {
  const last = codes[length - 1] ?? 0;
  if (last === SEMICOLON) return entityAtEnd(codes, length);
  const value = hexValue(last);
  if (value >= 0 && length >= 3) {
    const before = hexValue(codes[length - 2] ?? 0);
    if (before >= 0) {
      const byte = before * 16 + value;
      if (codes[length - 3] === PERCENT) return (3 << 16) | byte;
      if (codes[length - 3] === SMALL_X && codes[length - 4] === BACKSLASH) return (4 << 16) | byte;
      const third = hexValue(codes[length - 3] ?? 0);
      const fourth = hexValue(codes[length - 4] ?? 0);
      if (third >= 0 && fourth >= 0 && codes[length - 5] === SMALL_U && codes[length - 6] === BACKSLASH)
        return (6 << 16) | (fourth * 4096 + third * 256 + byte);
    }
  }
  if (codes[length - 2] !== BACKSLASH) return 0;
  // A backslash that was wrapped itself does not escape what begins outside its wrapping.
  if (last === BACKSLASH && depths[length - 1] !== depths[length - 2]) return 0;
  const stands = SHORT_ESCAPES[last];
  return stands === undefined ? 0 : (2 << 16) | stands;
}

function entityAtEnd(codes: Uint16Array, length: number): number {
  for (let at = length - 2; at >= 0 && at >= length - LONGEST_ESCAPE; at -= 1) {
    if (codes[at] !== AMPERSAND) continue;
    const name = String.fromCharCode(...codes.subarray(at + 1, length - 1)).toLowerCase();
    const code = name.startsWith("#x")
      ? Number.parseInt(name.slice(2), 16)
      : name.startsWith("#")
        ? Number.parseInt(name.slice(1), 10)
        : ENTITIES[name];
    return code !== undefined && code > 0 && code <= 0xffff ? ((length - at) << 16) | code : 0;
  }
  return 0;
}

const PERCENT = 0x25;
const AMPERSAND = 0x26;
const SEMICOLON = 0x3b;
const BACKSLASH = 0x5c;
const SMALL_U = 0x75;
const SMALL_X = 0x78;
const LONGEST_ESCAPE = 11;

/** The character that a JSON escape stands for, by the one behind the backslash. */
const SHORT_ESCAPES: Readonly<Record<number, number>> = {
  0x22: 0x22,
  0x27: 0x27,
  0x2f: 0x2f,
  0x5c: 0x5c,
  0x6e: 0x0a,
  0x72: 0x0d,
  0x74: 0x09,
};

const ENTITIES: Readonly<Record<string, number>> = {
  amp: 0x26,
  lt: 0x3c,
  gt: 0x3e,
  quot: 0x22,
  apos: 0x27,
  nbsp: 0x20,
  equals: 0x3d,
  colon: 0x3a,
  sol: 0x2f,
  quest: 0x3f,
  num: 0x23,
  commat: 0x40,
  percnt: 0x25,
  semi: 0x3b,
  bsol: 0x5c,
  lowbar: 0x5f,
  period: 0x2e,
  tab: 0x09,
  newline: 0x0a,
};

function hexValue(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const lower = code | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}
