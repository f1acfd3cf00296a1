/** Finds what follows the name of a header, the scheme of an authorization, and the option of a command. */
import { isPlaceholder, looksSecret, MOST_JUDGED, namesPlace } from "./secret-looks.ts";
import { Named } from "./secret-names.ts";
import { findEnd, REDACTED, type Found, type MaskTextOptions, type TextSpan } from "./text-view.ts";

/** The blank behind a scheme that a secret follows. */
export const SCHEME_HINT = String.raw`[ \t](?<=(?i:bearer|basic).)`;
/** The dash of an option. */
export const OPTION_HINT = String.raw`-(?<![\w-]-)(?=-?[A-Za-z][\w-]{0,60}[ \t])`;

/**
 * Masks what follows `Authorization:` or `Cookie:`: to the end of the line among parameters, else as far as it looks
 * like one.
 */
export function findHeaderValue(
  text: string,
  start: number,
  flags: number,
  { byName }: MaskTextOptions,
): TextSpan | null {
  if (byName) {
    const pairs = findEnd(HEADER_PAIRS, text, nextWord(text, start).end);
    return [start, findEnd(LINE, text, pairs)];
  }
  const isCookie = (flags & Named.cookie) !== 0;
  let word = nextWord(text, start);
  if (isCookie ? !/^[^=]+=./.test(word.text) : !looksSecret(word.text, false)) {
    // `ApiKey …`: a scheme, and then the secret.
    if (isCookie || !/^[a-z][\w-]*$/i.test(word.text)) return null;
    const pairs = findEnd(HEADER_PAIRS, text, word.end);
    if (pairs > word.end) return [word.end + 1, pairs];
    word = nextWord(text, word.end);
    if (!looksSecret(word.text, true)) return null;
  }
  const first = word.start;
  for (;;) {
    const end = findEnd(WORD, text, word.start);
    const next = nextWord(text, end);
    if (!/[;,]/.test(text[end - 1] ?? "") || !/^[^=]+=/.test(next.text)) {
      const trimmed = text.slice(first, end).replace(/['),.;\]}]{1,9}$/, "");
      return trimmed === "" || trimmed === REDACTED ? null : [first, first + trimmed.length];
    }
    word = next;
  }
}

/** ` username="…", response="…"`, as in `Digest`. */
const HEADER_PAIRS = /[ \t](?:[ \t,]{0,3}[\w-]{1,60}="[^"\r\n]*")+/y;
const LINE = /[^\r\n"`<>]*/y;
const WORD = /[^\s"`<>]*/y;
/** How much of a word is examined to judge it. */
const WORDS_BEGINNING = /[^\s"`<>]{0,300}/y;
const BLANKS = /[ \t]{0,3}/y;

function nextWord(text: string, from: number): { text: string; start: number; end: number } {
  const start = findEnd(BLANKS, text, from);
  const end = findEnd(WORDS_BEGINNING, text, start);
  return { text: text.slice(start, end), start, end };
}

/** A word that a secret follows without a separator: an Authorization scheme, or an option of a command. */
const SECRET_AFTER =
  /(?<![\w-])(?:(bearer|basic)[ \t]{1,3}|(--?[a-z][\w-]{0,60})[ \t]{1,3}["']?)(?!\[redacted\])([^\s"'<>`]{3,})/gi;

export function findAfterWords(text: string, { readName, byName }: MaskTextOptions, spans: Found) {
  SECRET_AFTER.lastIndex = 0;
  for (let found = SECRET_AFTER.exec(text); found !== null; found = SECRET_AFTER.exec(text)) {
    const [all, scheme, option = "", word = ""] = found;
    const value = word.replace(/[),.;\]}]+$/, "");
    const start = found.index + all.length - word.length;
    const span: TextSpan = [start, start + value.length];
    if (scheme !== undefined) {
      if (looksSecret(/^[\w.~+/=-]+/.exec(value)?.[0] ?? "", true)) spans.push(span);
    } else if (/^(?:-u|--user|--proxy-user)$/.test(option)) {
      const colon = value.indexOf(":");
      if (colon > 0 && colon < value.length - 1 && !value.startsWith("://", colon)) spans.push(span);
    } else if ((readName(option) & Named.secret) !== 0 && !value.startsWith("-")) {
      const isLong = option.startsWith("--") && !isPlaceholder(value) && !namesPlace(value);
      if (byName || isLong || looksSecret(value, true)) spans.push(span);
    }
    SECRET_AFTER.lastIndex = start;
  }
}

/**
 * Whether a set of headers has none but those that tell of the content. One beyond {@link MOST_JUDGED} is not looked
 * at.
 */
export const hasPlainHeadersOnly = (set: string): boolean =>
  set.length <= MOST_JUDGED && PLAIN_HEADERS.test(set) && !set.replaceAll(PLAIN_HEADER, "").includes(":");
const PLAIN_HEADERS = /^\{[^{[]*\}$/;
const PLAIN_HEADER =
  /(?<![\w-])\\?["']?(?:content-(?:type|length|encoding|language)|accept(?:-\w+)?|cache-control|user-agent|retry-after|host|date|vary|connection)\\?["']?\s*:(?:[^"':,{}]*,|\s*\\?"[^"]*"|\s*'[^']*'|[^"':,{}]*\}$)/gi;
