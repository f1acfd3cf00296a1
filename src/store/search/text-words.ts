/**
 * The words of a text. A run is indexed by them and a search is made of them, on every database, so both sides always agree.
 *
 * A word is a row of letters and digits. Case, accents, and the points of Hebrew and Arabic make no difference; the letters
 * й and и are two letters. In a script that is written without spaces each character is a word of its own, and so are its
 * vowel signs, so what stands inside of a longer text is found as a phrase of characters. Korean has spaces, but its
 * particles hang on to the words, so its syllables count as such characters.
 */

/** Changes with the words that a text has. An index remembers the version that made it, and is made anew for another one. */
export const WORDS_VERSION = 1;

/** The words of a text, in its order. */
export const toWords = (text: string): string[] => splitWords(foldText(text));

/**
 * A text in which whatever is not ASCII is a part of a word, folded, or a space. What is ASCII stays as it is, as every
 * index splits it in the same way. FTS5's `unicode61` makes these words of it: a test asks it about every character there is.
 */
export const foldText = (text: string): string => (isAscii(text) ? text : text.replace(NOT_ASCII, fold));

/** The words of a folded text. */
export const splitWords = (folded: string): string[] => folded.toLowerCase().match(WORD) ?? [];

/** The same text up to a length, without a word that ends there: it may go on. */
export function cutText(folded: string, length: number): string {
  let end = Math.min(length, folded.length);
  while (end > 0 && IN_WORD.test(folded.charAt(end - 1))) end -= 1;
  return folded.slice(0, end);
}

const WORD = /[a-z0-9\u0080-\uFFFF]+/g;
const IN_WORD = /[a-zA-Z0-9\u0080-\uFFFF]/;
/** With spaces and digits between, as it takes as long to fold a word as a sentence. */
const NOT_ASCII = /[\u0080-\uFFFF]+(?:[ -@]+[\u0080-\uFFFF]+)*/g;
/** Sees it many times faster than a regular expression. */
const isAscii = (text: string): boolean => Buffer.byteLength(text) === text.length;

/** A word as people know it. */
export const readable = (word: string): string =>
  word.replace(/[\u{F0000}-\u{10FFFF}]/gu, (mark) => String.fromCodePoint((mark.codePointAt(0) ?? 0) - PRIVATE_USE));

/** Whether a word is a character of a script without spaces: what follows it is another word. */
export const isWholeCharacter = (word: string): boolean => WHOLE_CHARACTER.test(readable(word));

const SPACELESS_SCRIPTS = ["Han", "Bopomofo", "Hiragana", "Katakana", "Hangul", "Thai", "Lao", "Khmer", "Myanmar"];
/** Beside the scripts: the marks and signs that several of them share, and the forms of half a width. */
const SPACELESS = `[${SPACELESS_SCRIPTS.map((name) => `\\p{Script=${name}}`).join("")}\\u3000-\\u33FF\\uFF66-\\uFFDC]`;
const CHARACTERS = new RegExp(`${SPACELESS}+`, "gv");
const WHOLE_CHARACTER = new RegExp(`^${SPACELESS}$`, "v");
const NOT_IN_WORDS = /[[^\p{L}\p{N}\p{M}]--[\0-\x7F]]+/gv;

/** Latin and Greek letters that lose their accents. Of Cyrillic ё alone does, which is mostly written е. */
const ACCENTED = /[\u00C0-\u024F\u0386-\u0390\u03AA-\u03B0\u03CA-\u03D4\u1E00-\u1FFFЁё]/g;
/** Accents that stand by themselves, variation selectors, and the points of scripts that are mostly written without. */
const POINTS = new RegExp(
  String.raw`[[\p{M}&&[\p{Script=Inherited}\p{Script=Hebrew}\p{Script=Arabic}\p{Script=Syriac}]]--${SPACELESS}]|\u00AD`,
  "gv",
);
/** What unicode61 takes for the end of a word: vowel signs and other marks, and letters that were marks once. */
const MARKS = /[\p{M}\u19B0-\u19C9\u1CF2\u1CF3]/gu;
/** Planes 15 and 16 are for private use, and a text's own such characters belong to no word. */
const PRIVATE_USE = 0xf0000;

/** Composed first, so that every spelling of a character is one. */
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

/** To upper case and back. That makes ß, ς and ı what they are in capitals. */
const inCapitals = (text: string): string =>
  text.toUpperCase().replaceAll("ẞ", "SS").toLowerCase().replaceAll("ς", "σ");
