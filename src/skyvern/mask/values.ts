/** Finds where the value behind a separator begins and ends, and judges it. */
import { findHeaderValue, hasPlainHeadersOnly } from "./headers.ts";
import { isPlaceholder, isSecretValue, MOST_JUDGED, TEMPLATE } from "./secret-looks.ts";
import { Named } from "./secret-names.ts";
import {
  findEnd,
  isBlank,
  isLetterOrDigit,
  REDACTED,
  type MaskTextOptions,
  type TextSpan,
  type TextView,
} from "./text-view.ts";
import type { Pair } from "./name-before.ts";

export function findValue(view: TextView, pair: Pair, options: MaskTextOptions, isInWords: boolean): TextSpan | null {
  const { text } = view;
  const { flags, separator } = pair;
  const isEqual = text.charCodeAt(separator) === 0x3d;
  let start = separator + 1;
  while (start < separator + 5 && isBlank(text.charCodeAt(start))) start += 1;
  const isTight = start === separator + 1 && !isInWords;
  if (isInWords && (text[start] === "(" || text[start] === "#")) start += 1;
  const isBold = text.startsWith("**", start) && text.charCodeAt(start + 2) !== ASTERISK;
  if (isBold) for (start += 2; start < separator + 9 && isBlank(text.charCodeAt(start));) start += 1;
  const before = pair.nameStart === 0 ? 0 : text.charCodeAt(pair.nameStart - 1);
  const isInQuery = isEqual && isTight && isQueryMark(before);
  if ((flags & ~Named.query) === 0 && !isInQuery) return null;
  const depth = view.depths?.[isInWords ? start - 1 : separator] ?? 0;
  const first = text.charCodeAt(start);
  if (Number.isNaN(first) || (first === 0x5b && text.startsWith(REDACTED, start))) return null;
  // A value that begins with an escape is judged in the decoded text.
  if (view.depths === null && !view.isAlone && isEscape(first) && WRAPPED_BEGINNING.test(text.slice(start, start + 10)))
    return null;

  if (first === 0x7b || first === 0x5b) {
    if (findEnd(TEMPLATE, text, start) > start) return null;
    const isHeaders = (flags & Named.headers) !== 0;
    if (!(isHeaders ? isJsonBeginning(text, start) : options.byName || isInQuery)) {
      if (first === 0x7b || isHeaders) return null;
      // `password=[hunter22]`
      const word = /^\[[^[\]{}"',]{1,200}(?=\])/.exec(text.slice(start, start + MOST_JUDGED))?.[0] ?? "";
      return isSecretValue(word.slice(1), flags) ? [start + 1, start + word.length] : null;
    }
    const end = groupEnd(text, start);
    return isHeaders && hasPlainHeadersOnly(text.slice(start, Math.min(end, start + MOST_JUDGED + 1)))
      ? null
      : [start, end];
  }
  if ((flags & ~(Named.query | Named.headers)) === 0 && !isInQuery) return null;
  const isQuoted = first === 0x22 || first === 0x27 || first === 0x60;
  if (isQuoted) {
    // Three quotes in a row begin a text of several lines.
    if (text.charCodeAt(start + 1) === first && text.charCodeAt(start + 2) === first) start += 2;
    const end = closingQuote(view, start);
    if (end === start + 1) return null;
    const value = text.slice(start + 1, end);
    return options.byName || isInQuery || isSecretValue(value, flags) ? [start + 1, end] : null;
  }
  if ((flags & (Named.authorization | Named.cookie)) !== 0) return findHeaderValue(text, start, flags, options);
  const isSettled = options.byName || isInQuery;
  const code = (flags & Named.code) === 0 ? start : findEnd(SPLIT_CODE, text, start);
  if (code > start) return [start, code];
  let end = bareValueEnd(view, start, depth, isTight, isSettled ? text.length : start + MOST_JUDGED);
  if (isBold) end = start + (/^[^*]*/.exec(text.slice(start, end))?.[0].length ?? 0);
  if (end <= start) return null;
  if (isInQuery && !isLetterOrDigit(first) && isPlaceholder(text.slice(start, Math.min(end, start + MOST_JUDGED))))
    return null;
  if (isSettled) return [start, end];
  const isForm =
    isEqual && isTight && (text.charCodeAt(end) === AMPERSAND || (pair.nameStart === 0 && end === text.length));
  const value = text.slice(start, end);
  if (isForm ? isPlaceholder(value) : !isSecretValue(value, flags)) return null;
  return [start, isBold ? end : bareValueEnd(view, start, depth, isTight, text.length)];
}

/** `493 817` */
const SPLIT_CODE = /\d{3}[ -]\d{3,4}(?![\w-])/y;

const AMPERSAND = 0x26;
const ASTERISK = 0x2a;
const isEscape = (c: number): boolean => c === 0x25 || c === AMPERSAND || c === 0x5c;
const WRAPPED_BEGINNING = /^(?:&(?:#|[a-z]{2,7};)|%[0-9a-f]{2}|\\)/i;
/** `?`, `&`, `#`, `;` */
const isQueryMark = (c: number): boolean => c === 0x3f || c === 0x26 || c === 0x23 || c === 0x3b;
const isJsonBeginning = (text: string, start: number): boolean =>
  /^[{[]\s{0,9}[\\"'{[]/.test(text.slice(start, start + 12));

/** The index of the quote that closes the one at `start`, or the end of the line or text. */
function closingQuote(view: TextView, start: number): number {
  const { text, depths } = view;
  const quote = text.charCodeAt(start);
  const depth = depths?.[start] ?? 0;
  for (let at = start + 1; at < text.length; at += 1) {
    const c = text.charCodeAt(at);
    if (c === quote && (depths?.[at] ?? 0) <= depth) {
      // In a text that is not decoded, an escaped quote belongs to the value.
      if (depths !== null || text.charCodeAt(at - 1) !== 0x5c) return at;
    }
    if (c === 0x0a && (depths?.[at] ?? 0) <= depth) return at;
  }
  return text.length;
}

/**
 * Where a value without quotes ends: at a space, a quote, `<`, `>`, and at `&`, `#`, `;` of a tight pair, unless these
 * are wrapped deeper than the pair's separator. An apostrophe, comma or bracket ends it only before such an end.
 */
function bareValueEnd(view: TextView, start: number, depth: number, isTight: boolean, limit: number): number {
  const { text, depths } = view;
  let at = start;
  const most = Math.min(limit, text.length);
  for (; at < most; at += 1) {
    const c = text.charCodeAt(at);
    if (isLetterOrDigit(c) || (depths !== null && (depths[at] ?? 0) > depth)) continue;
    if (isHardEnd(c)) break;
    if (c === 0x3b) break;
    if (isTight && (c === 0x26 || c === 0x23)) break;
    if (c === 0x5c && depths === null && text.charCodeAt(at + 1) === 0x22) break;
  }
  while (at > start && isSoftEnd(text.charCodeAt(at - 1)) && (depths?.[at - 1] ?? 0) <= depth && !isTightEnd(text, at))
    at -= 1;
  return at;
}

const isTightEnd = (text: string, at: number): boolean => isQueryMark(text.charCodeAt(at));

/** Spaces of every kind, `"`, `<`, `>`, backtick. */
const isHardEnd = (c: number): boolean =>
  c <= 0x20 ||
  c === 0x22 ||
  c === 0x3c ||
  c === 0x3e ||
  c === 0x60 ||
  c === 0xa0 ||
  c === 0x2028 ||
  c === 0x2029 ||
  c === 0xfeff;

/** `' , ) } ] .` */
const isSoftEnd = (c: number): boolean =>
  c === 0x27 || c === 0x2c || c === 0x29 || c === 0x7d || c === 0x5d || c === 0x2e;

/** The end of a bracketed value, or of the text. */
function groupEnd(text: string, start: number): number {
  let open = 0;
  for (let at = start; at < text.length; at += 1) {
    const c = text.charCodeAt(at);
    if (c === 0x7b || c === 0x5b) open += 1;
    else if (c === 0x7d || c === 0x5d) {
      open -= 1;
      if (open === 0) return at + 1;
    }
  }
  return text.length;
}
