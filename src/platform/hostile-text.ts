/**
 * Characters by which a text that somebody else wrote deceives a reader's eye: control characters, those that turn or
 * hide the reading direction, and invisible ones. Every place that shows such a text takes this one list.
 *
 * Line feed and tab stay, and so do the characters that choose or join the shapes of their neighbours, which emoji and
 * many scripts need: the two zero-width joiners and the variation selectors.
 *
 * A class for regular expressions with the flag `v`.
 */
export const DECEIVING = String.raw`[[\p{Cc}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\ufff9-\ufffb]--[\n\t\u200c\u200d\p{Variation_Selector}]]`;

const EACH = new RegExp(DECEIVING, "gv");
const LINE_END = /\r\n?|[\u2028\u2029\x85\v\f]/g;

/**
 * Lines of text without deceiving characters: every line end becomes a line feed, and at most one empty line stays in a
 * row.
 */
export const withoutDeceiving = (text: string): string =>
  text
    .toWellFormed()
    .replace(LINE_END, "\n")
    .replace(EACH, "")
    .replace(/\n{3,}/g, "\n\n")
    .trim();

/** U+2060: no width, no line break, no part of an address. */
const WORD_JOINER = "\u2060";

/**
 * Where a medium would begin or continue a link, a mention or an address that it makes of plain text by itself: after
 * `://` and the colon of a scheme without slashes, after the dot before a domain's label (full width dots are dots to a
 * browser), after `@` and `#`, between the backslashes of a server's name, and after the `<` of Slack's markup.
 */
const AUTOLINK_JOINTS = new RegExp(
  [
    String.raw`(?<=:\/\/)`,
    String.raw`(?<=\b(?:mailto|tel|sms|callto|skype|facetime|sips?|xmpp|news|geo|magnet|javascript|data|file|webcal):)(?=\S)`,
    String.raw`(?<=[^\s.][.．。｡])(?=\p{L})`,
    String.raw`(?<=[@＠﹫#＃])(?=\S)`,
    String.raw`(?<=\\)(?=\\)`,
    String.raw`(?<=<)(?=[!@#]|https?:|mailto:)`,
  ].join("|"),
  "giu",
);

/**
 * A text that somebody else wrote, for a message: without deceiving characters, and nothing in it becomes a link by
 * itself. Mail clients make links of addresses, domains and `@` in any text, so an invisible word joiner stands inside
 * of each. Every sink that people read passes all outside text through here; the words of a link are the relay's own.
 */
export const defuse = (text: string): string => withoutDeceiving(text).replace(AUTOLINK_JOINTS, WORD_JOINER);

/** The text on one line: spaces, line ends and deceiving characters become single spaces. */
export const onOneLine = (text: string): string => text.toWellFormed().replace(GAP, " ").trim();

const GAP = new RegExp(`[${DECEIVING}\\s\uFFFD]+`, "gv");

/** The text with deceiving characters spelled out: `[U+202E]`. Every line end becomes a line feed. */
export const spellDeceiving = (text: string): string =>
  text
    .replace(LINE_END, "\n")
    .replace(EACH, (character) => `[U+${hex(character.codePointAt(0) ?? 0).toUpperCase()}]`)
    .toWellFormed();

/** JSON text with deceiving characters as JSON escapes, so that it stays the same JSON. */
export const escapeDeceiving = (json: string): string =>
  json.replace(EACH, (character) =>
    Array.from({ length: character.length }, (_none, i) => `\\u${hex(character.charCodeAt(i))}`).join(""),
  );

const hex = (code: number): string => code.toString(16).padStart(4, "0");
