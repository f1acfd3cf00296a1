/**
 * The words of a text. Runs are indexed by them and searches consist of them, on every database, so that both sides
 * always agree.
 *
 * A word is a sequence of letters and digits. Case, accents, and the points of Hebrew and Arabic make no difference; й
 * and и are two letters. In a script without spaces each character is a word, and so are its vowel signs, so a part of
 * a longer text is found as a phrase of characters. Korean has spaces, but its particles attach to the words, so its
 * syllables count as such characters.
 */

/**
 * Changes whenever a text gets other words. An index records the version that made it, and is rebuilt for another one.
 */
export const WORDS_VERSION = 3;

/** The words of a text, in order. */
export const toWords = (text: string): string[] => splitWords(foldText(text));

/**
 * Folds a text so that each non-ASCII character is part of a word, or a space. ASCII stays as it is, as every index
 * splits it the same way. FTS5's `unicode61` finds the same words in the result: a test asks it about every character.
 */
export const foldText = (text: string): string => (isAscii(text) ? text : text.replace(NOT_ASCII, fold));

/** The words of a folded text. */
export const splitWords = (folded: string): string[] => folded.toLowerCase().match(WORD) ?? [];

/** The text up to a length, without the last word, which may be cut. */
export function cutText(folded: string, length: number): string {
  let end = Math.min(length, folded.length);
  while (end > 0 && IN_WORD.test(folded.charAt(end - 1))) end -= 1;
  return folded.slice(0, end);
}

const WORD = /[a-z0-9\u0080-\uFFFF]+/g;
const IN_WORD = /[a-zA-Z0-9\u0080-\uFFFF]/;
/** Includes spaces and digits, because folding a sentence takes as long as folding a word. */
const NOT_ASCII = /[\u0080-\uFFFF]+(?:[ -@]+[\u0080-\uFFFF]+)*/g;
/** A loop finds it many times faster than a regular expression. */
const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length;

/** A word as people understand it. */
export const readable = (word: string): string =>
  word.replace(/[\u{F0000}-\u{10FFFF}]/gu, (mark) => String.fromCodePoint((mark.codePointAt(0) ?? 0) - PRIVATE_USE));

/** True for a character of a script without spaces: the next character is another word. */
export const isWholeCharacter = (word: string): boolean => WHOLE_CHARACTER.test(readable(word));

const SPACELESS_SCRIPTS = ["Han", "Bopomofo", "Hiragana", "Katakana", "Hangul", "Thai", "Lao", "Khmer", "Myanmar"];
/** Includes, besides the scripts, the marks and signs that several of them share, and half-width forms. */
const SPACELESS = `[${SPACELESS_SCRIPTS.map((name) => `\\p{Script=${name}}`).join("")}\\u3000-\\u33FF\\uFF66-\\uFFDC]`;
const CHARACTERS = new RegExp(`${SPACELESS}+`, "gv");
const WHOLE_CHARACTER = new RegExp(`^${SPACELESS}$`, "v");
const NOT_IN_WORDS = /[[^\p{L}\p{N}\p{M}]--[\0-\x7F]]+/gv;

/** Latin and Greek letters lose their accents. In Cyrillic only ё does, because it is mostly written е. */
const ACCENTED = /[\u00C0-\u024F\u0386-\u0390\u03AA-\u03B0\u03CA-\u03D4\u1E00-\u1FFFЁё]/g;
/** Accents that stand alone, variation selectors, and points that most writers leave out. */
const POINTS = new RegExp(
  String.raw`[[\p{M}&&[\p{Script=Inherited}\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}]]--${SPACELESS}]|\u00AD`,
  "gv",
);
/**
 * Characters that unicode61 takes for the end of a word: vowel signs and other marks, and letters that once were marks.
 */
const MARKS = /[\p{M}\u19B0-\u19C9\u1CF2\u1CF3]/gu;
/** Planes 15 and 16 are for private use; such characters in a text belong to no word. */
const PRIVATE_USE = 0xf0000;

/** The text is composed first, so that every spelling of a character becomes one. */
const fold = (text: string): string =>
  inCapitals(
    text
      .normalize("NFC")
      .replace(ACCENTED, (letter) => letter.normalize("NFD").charAt(0))
      .replace(POINTS, ""),
  )
    .replace(NOT_IN_WORDS, " ")
    .replace(CHARACTERS, (characters) => ` ${Array.from(characters).join(" ")} `)
    .replace(MARKS, (mark) => String.fromCodePoint((mark.codePointAt(0) ?? 0) + PRIVATE_USE));

/** To upper case and back: ß, ς and ı become what they are in capitals. */
const inCapitals = (text: string): string =>
  text.toUpperCase().replaceAll("ẞ", "SS").toLowerCase().replaceAll("ς", "σ");
