/** Looking at JSON text without parsing it. The text may be cut off, or no JSON at all. */

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

/** The index after a number or a word. Its own idea of space: any other, such as U+FEFF or U+00A0, is a character like others here. */
export function bareEnd(text: string, start: number): number {
  let i = start;
  while (i < text.length && !isBareEnd(text.charCodeAt(i))) i += 1;
  return i;
}

const isBareEnd = (c: number): boolean =>
  c <= 0x20 || c === 0x2c || c === 0x7d || c === 0x5d || c === 0x22 || c === 0x3a || c === 0x7b || c === 0x5b;

/** The index of what comes after spaces. */
export function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && text.charCodeAt(i) <= 0x20) i += 1;
  return i;
}

/** Whether something begins as a number does. */
export const beginsNumber = (c: number): boolean => c === 0x2d || (c >= 0x30 && c <= 0x39);

/** Whether JavaScript would write the number between two indices differently (or not at all). */
export const isUnsafeNumberAt = (text: string, start: number, end: number): boolean =>
  !isSpeltAlike(text, start, end) && isUnsafeNumber(text.slice(start, end));

export const isUnsafeNumber = (text: string): boolean => String(Number(text)) !== text;

/**
 * Up to 15 digits, none of them a 0 too many at an end: written again as they were read, as 15 digits are kept and no exponent is used for
 * what has at most five 0 behind the point. Most numbers are so. False: it is to be tried.
 */
function isSpeltAlike(text: string, start: number, end: number): boolean {
  let i = text.charCodeAt(start) === 0x2d ? start + 1 : start;
  if (end - i > 16 || i >= end) return false;
  const whole = i;
  while (i < end && isDigit(text.charCodeAt(i))) i += 1;
  const startsWithZero = text.charCodeAt(whole) === 0x30;
  if (i === end) return startsWithZero ? end - start === 1 : end - whole <= 15;
  if (text.charCodeAt(i) !== 0x2e || i === whole || (startsWithZero && i - whole > 1)) return false;
  const point = i;
  i += 1;
  while (i < end && isDigit(text.charCodeAt(i))) i += 1;
  if (i < end || text.charCodeAt(end - 1) === 0x30 || end - point === 1) return false;
  return !startsWithZero || !text.startsWith("000000", point + 1);
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;
