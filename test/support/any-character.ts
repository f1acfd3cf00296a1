import fc from "fast-check";

const between = (min: number, max: number): fc.Arbitrary<string> =>
  fc.integer({ min, max }).map(
    (point) => String.fromCodePoint(point),
    (text) => String(text).codePointAt(0) ?? -1,
  );

/**
 * A unit of `fc.string`: any character but half of a pair. fast-check's own unit "binary" is the same, and first makes a
 * table of all of them, which takes a second.
 */
export const ANY_CHARACTER = fc.oneof(between(0, 0x7f), between(0, 0xd7ff), between(0xe000, 0x10ffff));
