/**
 * Masks a text that is not JSON, or that JSON holds as a string. One grammar covers whatever it contains. It finds
 *
 * - pairs: `name=value`, `name: value`, `"name": "value"`, `--name value`, with the name judged by the list of names;
 * - the same in words: `the name is value`, `name of the portal: value`, `value is your name`;
 * - what stands in the cell of a table, or on the line, behind or below a name ({@link judgeCells});
 * - the credentials of URLs, and in their query and fragment what gives access;
 * - what follows `Authorization`, `Cookie`, `Bearer` and the like;
 * - what the elements and form fields of XML and HTML hold, with the name judged as in a pair;
 * - tokens that are recognized by their form, such as `ghp_…` or a JWT.
 *
 * The text is searched as it stands, and once more without its wrappings ({@link unwrap}). Each search moves forward
 * only and looks back a bounded distance, so the time is proportional to the length.
 */
import { CELL_SIGNS, judgeCells, trimmed, type TextSpan } from "./cells.ts";
import { Named, type ReadName } from "./secret-names.ts";
import { discard } from "../../platform/memory/discard.ts";
import {
  isCode,
  isPlaceholder,
  looksSecret,
  namesPlace,
  SECRET_FORMS,
  SECRET_FORMS_HINT,
  TEMPLATE,
} from "./secret-looks.ts";
import { unwrap, WRAPPING_HINT } from "./unwrap.ts";

export const REDACTED = "[redacted]";

export interface MaskTextOptions {
  readName: ReadName;
  /** Among parameters a name alone makes a value secret; elsewhere the value must also look like one. */
  byName: boolean;
}

/** What follows the colon of a pair, and not that of `://`, nor one of the first two of `T11:52:29`. */
const BEHIND_COLON = String.raw`(?!\/\/|(?<=[T:]\d\d:)\d)`;
/** What follows the first colon of `:8080:user`. */
const BEHIND_COLON_OF_PROXY = String.raw`(?=\d{2,5}:[^\s\d/])`;
/** The blank behind a scheme that a secret follows, or the dash of an option. */
const SCHEME_HINT = String.raw`[ \t](?<=(?i:bearer|basic).)`;
const OPTION_HINT = String.raw`-(?<![\w-]-)(?=-?[A-Za-z][\w-]{0,60}[ \t])`;
const WORD_HINT = `${SCHEME_HINT}|${OPTION_HINT}`;
const TAG_HINT = "<(?=[A-Za-z/])";

/** What stands for a separator behind a blank: `the password is hunter22`, `493817 as your code`. */
const VERB = String.raw`(?:ist?|was|->?|\u2013|\u2014|\u2192)(?=[ \t:])|(?:as|into)(?=[ \t](?:the|your|my)[ \t])`;
/** The blank of a pair that has no more than it: `token k3yV4lue9`, `code 493817`. */
const NAME_BEFORE = String.raw`(?<=(?i:token|api[-_ ]?key).)|(?<=(?i:code|otp|2fa).)(?=["'(#]?\d{3})|(?<=(?i:password|passwort|passwd).)(?=["'\x60(]{0,2}[^\s"'\x60]{0,40}[\d!$^*+%&~@#])`;
/** The blank of all of these, of two blanks, and of a scheme: one search for all of them is the fastest. */
const BLANK_HINT = String.raw`[ \t](?:${VERB}|[ ]|["'(#]?\d{3}(?<=[eEpPaAhHoO].{4,5})|'(?<=,.')|(?<=(?i:token|api[-_ ]?key|bearer|basic|password|passwort|passwd).))`;

const OTHER_HINTS = `${OPTION_HINT}|${TAG_HINT}|${SECRET_FORMS_HINT}|${WRAPPING_HINT}`;
/** The characters without which a text holds nothing to mask except pairs. */
const RARE_HINT = `[@${CELL_SIGNS}]|${SCHEME_HINT}| (?= )|:${BEHIND_COLON_OF_PROXY}|${OTHER_HINTS}`;

/**
 * Matches one character of every string of JSON that {@link maskText} changes; most have none. It does not stop at the
 * colons between the strings, so that one search goes through a whole body.
 */
export const HINT_IN_JSON = new RegExp(
  `:(?:(?<!":)${BEHIND_COLON}|${BEHIND_COLON_OF_PROXY})|${BLANK_HINT}|[=@${CELL_SIGNS}]|${OTHER_HINTS}`,
  "g",
);
const RARE = new RegExp(RARE_HINT);
const HAS_WORD = new RegExp(WORD_HINT);
const HAS_CELLS = new RegExp(`[${CELL_SIGNS}]| (?= )|${TAG_HINT}`);
const HAS_PROXY = new RegExp(`:${BEHIND_COLON_OF_PROXY}`);
const HAS_FORM = new RegExp(SECRET_FORMS_HINT);

export function maskText(text: string, options: MaskTextOptions): string {
  let masked = text;
  // Removing one secret may reveal another; each round but the last makes the text shorter or stops.
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const spans = new Spans();
    const hasOnlyPairs = !RARE.test(masked);
    const unwrapped = hasOnlyPairs ? null : unwrap(masked);
    findSecrets({ text: masked, depths: null, isAlone: unwrapped === null }, options, hasOnlyPairs, spans);
    // Both searches use the same text, because what one replaced could hide a name from the other.
    if (unwrapped !== null) {
      const { starts, depths } = unwrapped;
      const found = { push: ([start, end]: TextSpan) => spans.push([starts[start] ?? start, starts[end] ?? end]) };
      findSecrets({ text: unwrapped.text, depths, isAlone: false }, options, false, found);
      discard(starts);
      discard(depths);
    }
    const next = spans.isEmpty ? masked : replaceSpans(masked, spans);
    if (next === masked || hasOnlyPairs) return next;
    masked = next;
  }
  return masked;
}

const MOST_ROUNDS = 4;

/** A text as it stands, or without its wrappings. */
interface TextView {
  text: string;
  /** How often each character was wrapped. Null: the text as it stands. */
  depths: Uint8Array | null;
  /** Whether there is no other view of the same text. */
  isAlone: boolean;
}

/** A body may hold half a million secrets, so that a span is two numbers in lists and no object. */
class Spans {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #isSorted = true;

  get isEmpty(): boolean {
    return this.#starts.length === 0;
  }

  push([start, end]: TextSpan) {
    this.#isSorted &&= start >= (this.#starts.at(-1) ?? 0);
    this.#starts.push(start);
    this.#ends.push(end);
  }

  /** Yields the spans in the order of their starts. */
  *[Symbol.iterator](): Generator<TextSpan> {
    const starts = this.#starts;
    const order = this.#isSorted
      ? null
      : starts.map((_start, i) => i).sort((a, b) => (starts[a] ?? 0) - (starts[b] ?? 0));
    for (let i = 0; i < starts.length; i += 1) {
      const at = order?.[i] ?? i;
      yield [starts[at] ?? 0, this.#ends[at] ?? 0];
    }
  }
}

function findSecrets(view: TextView, options: MaskTextOptions, hasOnlyPairs: boolean, spans: Pick<Spans, "push">) {
  findPairs(view, options, spans);
  if (hasOnlyPairs) return;
  const { text } = view;
  if (text.includes("@")) findCredentialsInUrls(text, spans);
  if (text.includes("<")) findInMarkup(text, options, spans);
  if (HAS_CELLS.test(text)) findInCells(text, options.readName, spans);
  if (HAS_WORD.test(text)) findAfterWords(text, options, spans);
  if (HAS_PROXY.test(text)) findProxies(text, spans);
  if (HAS_FORM.test(text)) findForms(text, spans);
}

function findForms(text: string, spans: Pick<Spans, "push">) {
  SECRET_FORMS.lastIndex = 0;
  for (let found = SECRET_FORMS.exec(text); found !== null; found = SECRET_FORMS.exec(text))
    spans.push([found.index, found.index + found[0].length]);
}

function replaceSpans(text: string, spans: Spans): string {
  const parts: string[] = [];
  const joined: string[] = [];
  let copied = 0;
  let [start, end] = [-1, -1];
  const replace = () => {
    if (start < 0 || text.slice(start, end) === REDACTED) return;
    if (parts.push(text.slice(copied, start), REDACTED) > 1_000) joined.push(parts.splice(0).join(""));
    copied = end;
  };
  for (const span of spans) {
    if (span[0] < end) end = Math.max(end, span[1]);
    else {
      replace();
      [start, end] = span;
    }
  }
  replace();
  return joined.join("") + parts.join("") + text.slice(copied);
}

// --- URLs -----------------------------------------------------------------------------------------------------------

/** A URL's authority. A quote or apostrophe may be part of a password when an `@` follows. */
const AUTHORITY = /:\/\/([^\s/?#<>]*)/g;
/** `git@`, `bob@`: a user without a password, and not a token in the user's place. Or asterisks. */
const USER_ALONE = /^(?:[a-z]{1,12}|\*+)$/;

function findCredentialsInUrls(text: string, spans: Pick<Spans, "push">) {
  AUTHORITY.lastIndex = 0;
  for (let found = AUTHORITY.exec(text); found !== null; found = AUTHORITY.exec(text)) {
    const start = found.index + 3;
    const authority = found[1] ?? "";
    const at = authority.lastIndexOf("@");
    const colon = authority.indexOf(":");
    const isEndOfQuote = /^[^'":@]*(?::\d{1,5})?['"]/.test(authority);
    if (at >= 0 && !isEndOfQuote) {
      if (!USER_ALONE.test(authority.slice(0, at))) spans.push([start, start + at]);
    } else if (at < 0 && colon >= 0 && !/^:\d*(?:$|["'\\),.;\]}])/.test(authority.slice(colon, colon + 8))) {
      // A password may contain a slash, a question mark or a number sign, although it should not.
      const rest = /^[^\s"<>@]{0,100}@(?=[\w-])/.exec(
        text.slice(start + authority.length, start + authority.length + 102),
      );
      if (rest !== null) spans.push([start, start + authority.length + rest[0].length - 1]);
    }
  }
}

/** `host:port:user:password` */
const PROXY_PARTS =
  /(?<![\w.-])(?:[a-z0-9-]{1,63}\.){1,9}[a-z0-9-]{1,63}:\d{2,5}:(?=[^\s:/"'<>]{0,64}[a-z])[^\s:/"'<>]{2,64}:[^\s:/"'<>]{2,}/gi;

function findProxies(text: string, spans: Pick<Spans, "push">) {
  PROXY_PARTS.lastIndex = 0;
  for (let found = PROXY_PARTS.exec(text); found !== null; found = PROXY_PARTS.exec(text)) {
    const port = /:\d{2,5}:/.exec(found[0]);
    if (port !== null) spans.push([found.index + port.index + port[0].length, found.index + found[0].length]);
  }
}

// --- markup ----------------------------------------------------------------------------------------------------------

/**
 * `<AccessToken>`, `<wsse:Password Type="text">`, `<input name="pin" …>`, with the CDATA section behind it. A `>` in
 * quotes does not end the tag, unless a quote was never closed.
 */
const TAG = new RegExp(
  String.raw`<([A-Za-z][\w.:-]{0,79})(?:(\s(?:[^<>"']|"[^"<]{0,999}"|'[^'<]{0,999}'){0,2000})|(\s[^<>]{0,2000}))?` +
    String.raw`\/?>(?:\s{0,99}(<!\[CDATA\[))?`,
  "g",
);
/** Its value in quotes, or without, as minified pages have it. */
const ATTRIBUTE = /([\w:-]{1,40})\s{0,9}=\s{0,9}(?:"([^"]*)"|'([^']*)'|((?!&)[^\s"'`=<>\\]+))/g;
/** Attributes that name what the element holds, and those that hold it. */
const NAMING = /^(?:name|key|property|itemprop|http-equiv|type|id|placeholder|aria-label|title|autocomplete)$/i;
const HOLDING = /^(?:value|content)$/i;
/** An element with a longer text holds no secret. */
const MOST_TEXT = 2_000;

/** `byName`: a name alone makes a value secret. */
function findInMarkup(text: string, { readName, byName }: MaskTextOptions, spans: Pick<Spans, "push">) {
  TAG.lastIndex = 0;
  for (let tag = TAG.exec(text); tag !== null; tag = TAG.exec(text)) {
    const { flags, values } = readTag(tag, readName);
    if ((flags & Named.secret) === 0) continue;
    for (const given of [...values, elementText(text, TAG.lastIndex, tag[4] !== undefined)]) {
      const [start, end] = trimmed(text, ...given);
      const value = text.slice(start, end);
      const isSecret = byName ? !isPlaceholder(value) : isSecretValue(value, flags);
      if (value !== "" && isSecret && !value.includes(REDACTED)) spans.push([start, end]);
    }
  }
}

function readTag(tag: RegExpExecArray, readName: ReadName) {
  const [, name = "", whole, cut] = tag;
  const attributes = whole ?? cut ?? "";
  let flags = readName(name.slice(name.lastIndexOf(":") + 1));
  const values: TextSpan[] = [];
  for (const attribute of attributes.matchAll(ATTRIBUTE)) {
    const [pair, key = "", double, single, bare] = attribute;
    const value = double ?? single ?? bare ?? "";
    const end = tag.index + 1 + name.length + attribute.index + pair.length - (bare === undefined ? 1 : 0);
    if (NAMING.test(key)) flags |= readName(value);
    else if (HOLDING.test(key)) values.push([end - value.length, end]);
  }
  return { flags, values };
}

/** What stands between a tag and the one that closes it; nothing where another element comes first. */
function elementText(text: string, start: number, isCdata: boolean): TextSpan {
  const beginning = text.slice(start, start + MOST_TEXT);
  const length = beginning.indexOf(isCdata ? "]]>" : "<");
  const isWhole = length >= 0 && (isCdata || text.startsWith("</", start + length));
  return [start, isWhole ? start + length : start];
}

// --- cells ----------------------------------------------------------------------------------------------------------

/** What may stand between a name and the end of its cell: `Your password is:`, `Password (new) *`, `password: >-`. */
const BEHIND_NAME = /(?:[ \t](?:is|was|ist))?(?:[\s=:*>"'\x60-]|[ \t]\([^()]{0,40}\)){0,9}$/;
const ENDS_WITH_VERB = /[ \t](?:is|was|ist)$/;
/** What stands before the last word of a name and belongs to it. */
const WHOLE = /^["']?(?:[\w-]+ ){0,2}$/;
/** What makes a name the subject of a complaint: `wrong password`. */
const COMPLAINT =
  /\b(?:wrong|invalid|incorrect|bad|missing|expired|unknown|no|forgot|forgotten)[ \t]{1,9}(?:\w{1,20}[ \t]{1,9})?$/i;
const MAIL_ADDRESS = /^[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,9}[a-z]{2,}$/i;
/** What may stand around a value in its cell: `**…**`, `value: …`. */
const AROUND_VALUE = /^((?:val(?:ue)?[ \t]{0,3}[:=][ \t]{0,3})?(["'*_\x60]{0,3}))(.+)\2$/;

/** Here the value must look like a secret, even where a name alone is enough elsewhere. */
function findInCells(text: string, readName: ReadName, spans: Pick<Spans, "push">) {
  judgeCells(text, {
    readName: (start, end, isWhole) => {
      const ending = text.slice(Math.max(start, end - LONGEST_NAME), end);
      const isAtEnd = isLetterOrDigit(ending.charCodeAt(ending.length - 1)) && !ENDS_WITH_VERB.test(ending);
      const at = isAtEnd ? end : end - (BEHIND_NAME.exec(ending)?.[0].length ?? 0);
      const pair = readPair(text, at, end, readName);
      if (pair === null || pair.nameStart < start) return 0;
      const flags = pair.flags & ~Named.query;
      if (pair.nameStart === start) return flags;
      const before = text.slice(Math.max(start, pair.nameStart - 30), pair.nameStart);
      return (isWhole ? WHOLE.test(before) : !COMPLAINT.test(before)) ? flags : 0;
    },
    take: (start, end, flags) => {
      const cell = text.slice(start, Math.min(end, start + MOST_JUDGED));
      const [, before = "", quote = "", value = cell] =
        (isLetterOrDigit(cell.charCodeAt(0)) && !cell.startsWith("val") ? null : AROUND_VALUE.exec(cell)) ?? [];
      if (isPlaceholder(value)) return true;
      if (!isSecretValue(value, flags) || MAIL_ADDRESS.test(value)) return false;
      spans.push([start + before.length, end - (cell.length < MOST_JUDGED ? quote.length : 0)]);
      return true;
    },
  });
}

// --- pairs ----------------------------------------------------------------------------------------------------------

/** Words that may stand between a name and its separator, with more: `password for the portal`, `password (new)`. */
const WORD_BETWEEN = String.raw`(?:for|of|to|at|on|in|from|with|you|now|be|been|lautet)(?=[ \t])|\(`;
/** Those that no value follows. */
const NEVER_LAST = /[ \t](?:for|of|at|on|in|from|you|\()$/;
/** `page.locator("#password").fill("hunter22")` */
const CALL = String.raw`\)\.\w{2,20}\((?=["'])`;
const SIGN = new RegExp(`[=:]|${CALL}`, "g");
const HAS_BLANK = /[ \t]/;
/** A sign between a name and its value, or the blank and the word behind it. */
const SIGN_OR_WORD = new RegExp(
  String.raw`[=:]|${CALL}|,(?=[ \t]["'])|[ \t](?:${WORD_BETWEEN}|${VERB}|${NAME_BEFORE})`,
  "g",
);
const LONGEST_NAME = 80;

interface Pair {
  flags: number;
  /** The index where the name begins. */
  nameStart: number;
  /** The index of the separator's last character. */
  separator: number;
}

function findPairs(view: TextView, options: MaskTextOptions, spans: Pick<Spans, "push">) {
  const { text } = view;
  const { readName } = options;
  /** The last name that has a word behind it. */
  let far: Pair | null = null;
  const separators = HAS_BLANK.test(text) ? SIGN_OR_WORD : SIGN;
  separators.lastIndex = 0;
  while (separators.test(text)) {
    let separator = separators.lastIndex - 1;
    let at = separator;
    const sign = text.charCodeAt(at);
    const next = text.charCodeAt(at + 1);
    const isInWords = sign !== EQUALS && sign !== COLON;
    if (isInWords) {
      while (!isBlank(text.charCodeAt(at)) && text[at] !== "," && text[at] !== ")") at -= 1;
      if (next === COLON) separator += 1;
    } else if (sign === EQUALS) {
      if (next === EQUALS) {
        separators.lastIndex = afterAll(text, at, EQUALS);
        continue;
      }
      if (next === GREATER) separator = at + 1;
    } else {
      if (next === EQUALS || next === COLON || (next === SLASH && text.charCodeAt(at + 2) === SLASH)) continue;
      if (isTimeOfDay(text, at)) continue;
    }
    const word = isInWords ? text.slice(at, separator + 1) : "";
    const field = PUTS.test(word) ? (FIELD.exec(text.slice(Math.max(0, at - 6), at))?.[0].length ?? 0) : 0;
    const near = readPair(text, at - field, separator, readName);
    let span: TextSpan | null;
    if (near !== null && !isInWords) span = findValue(view, near, options, false);
    else {
      const farFlags = far !== null && isBehind(text, far.separator, at) ? far.flags : 0;
      const flags = ((near?.flags ?? 0) | farFlags) & ~Named.query;
      span = findInWords(view, { flags, nameStart: at, separator }, word, readName);
      if (near !== null && near.flags !== Named.query) far = near;
    }
    if (span === null || span[0] >= span[1]) continue;
    spans.push(span);
    separators.lastIndex = Math.max(span[1], separators.lastIndex);
  }
}

/** In words, and with words between a name and its separator, only what looks like a secret is one. */
function findInWords(view: TextView, pair: Pair, word: string, readName: ReadName): TextSpan | null {
  const before = word.length > 1 ? findValueBefore(view.text, pair.nameStart, word, readName) : null;
  if (before !== null || pair.flags === 0 || NEVER_LAST.test(word)) return before;
  return findValue(view, pair, { readName, byName: false }, true);
}

/** Whether a separator belongs to a name far before it: only words of one clause are between them. */
const isBehind = (text: string, name: number, separator: number): boolean =>
  separator - name < LONGEST_NAME && !/[,;:=!?"<>|\n]|\.\s/.test(text.slice(name + 1, separator));

/** ` your verification code`, ` the password field` */
const NAME_BEHIND =
  /[ \t](?:your|the|my)(?:[ \t]{1,3}[\w-]{1,40}){1,4}?(?=[ \t]{0,3}(?:$|[.,;!)\n<"'])|[ \t](?:for|to|and)[ \t])/y;
const INTO = /^.in(?:to)?$/;
/** Words before a value that is put into a field: `filled the password field with hunter22`. */
const PUTS = /^.(?:to|with)$/;
const FIELD = /[ \t](?:field|box|input)$/;
const LAST_WORD = /(\d{3}[ -]\d{3,4}|[^\s"'\x60<>(]{1,80})["'\x60]?$/;

/** The value in `493817 is your verification code`, `typed hunter22 into the password field`. */
function findValueBefore(text: string, at: number, word: string, readName: ReadName): TextSpan | null {
  const from = at + word.length;
  const phrase = text.slice(from, findEnd(NAME_BEHIND, text, from));
  const to = from + (INTO.test(word) ? phrase.replace(FIELD, "") : phrase).length;
  const pair = phrase === "" ? null : readPair(text, to, to, readName);
  if (pair === null) return null;
  const [ending = "", value = ""] = LAST_WORD.exec(text.slice(Math.max(0, at - LONGEST_NAME), at)) ?? [];
  const start = at - ending.length;
  return isSecretValue(value, pair.flags) ? [start, start + value.length] : null;
}

/** The first or second colon of `T11:52:29`, which most colons in a payload are. */
function isTimeOfDay(text: string, at: number): boolean {
  if (!isDigit(text.charCodeAt(at + 1)) || !isDigit(text.charCodeAt(at - 1)) || !isDigit(text.charCodeAt(at - 2)))
    return false;
  const before = text.charCodeAt(at - 3);
  return before === 0x54 || before === COLON;
}

const isDigit = (c: number): boolean => c >= 0x30 && c <= 0x39;

const EQUALS = 0x3d;
const COLON = 0x3a;
const SLASH = 0x2f;
const GREATER = 0x3e;

function afterAll(text: string, from: number, code: number): number {
  let at = from;
  while (text.charCodeAt(at) === code) at += 1;
  return at;
}

/** The name before a separator and its meaning; null when it means nothing. */
function readPair(text: string, at: number, separator: number, readName: ReadName): Pair | null {
  let end = at;
  const floor = Math.max(0, at - LONGEST_NAME);
  while (end > floor && isBetween(text.charCodeAt(end - 1))) end -= 1;
  if (text.charCodeAt(end - 1) === GREATER)
    end -= CLOSING_TAG.exec(text.slice(Math.max(floor, end - 12), end))?.[0].length ?? 0;
  let start = end;
  while (start > floor && isOfName(text.charCodeAt(start - 1))) start -= 1;
  if (start === end) return null;
  let flags = readName(text.slice(start, end));
  if (mayBeTwoWords(flags) && start > floor && text.charCodeAt(start - 1) === 0x20) {
    let first = start - 1;
    while (first > floor && isOfName(text.charCodeAt(first - 1))) first -= 1;
    const more = first < start - 1 ? readName(text.slice(first, end)) & ~Named.query & ~flags : 0;
    if (more !== 0) [flags, start] = [flags | more, first];
  }
  return flags === 0 ? null : { flags, nameStart: start, separator };
}

/** Whether the word before may say more, as in `API key`, `one-time password`. */
const mayBeTwoWords = (flags: number): boolean =>
  (flags & ~Named.query) === 0 || (flags & (Named.password | Named.code)) === Named.password;

/** `</strong>` */
const CLOSING_TAG = /<\/[a-z\d]+>$/i;

/** Characters between a name and its separator: spaces, closing quotes and their escapes, `**`, `]`, the colon of `:=`. */
const isBetween = (c: number): boolean =>
  c === 0x20 || c === 0x22 || c === 0x27 || c === 0x2a || c === 0x5c || c === 0x5d || c === 0x60 || c === COLON;

/** Letters, digits, `_ . $ - [ ]`. */
const isOfName = (c: number): boolean =>
  (c >= 0x61 && c <= 0x7a) ||
  (c >= 0x41 && c <= 0x5a) ||
  (c >= 0x30 && c <= 0x39) ||
  c === 0x5f ||
  c === 0x2e ||
  c === 0x24 ||
  c === 0x2d ||
  c === 0x5b ||
  c === 0x5d ||
  (c > 0xa0 && c !== 0x3000 && c !== 0xfeff && (c < 0x2000 || c > 0x206f));

function findValue(view: TextView, pair: Pair, options: MaskTextOptions, isInWords: boolean): TextSpan | null {
  const { text } = view;
  const { flags, separator } = pair;
  const isEqual = text.charCodeAt(separator) === EQUALS;
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
/** How much of a value is examined to judge it. */
const MOST_JUDGED = 500;

const isSecretValue = (value: string, flags: number): boolean =>
  looksSecret(value, (flags & Named.password) !== 0) || ((flags & Named.code) !== 0 && isCode(value));

const isBlank = (c: number): boolean => c === 0x20 || c === 0x09 || c === 0xa0;
/** `?`, `&`, `#`, `;` */
const isQueryMark = (c: number): boolean => c === 0x3f || c === 0x26 || c === 0x23 || c === 0x3b;
const isJsonBeginning = (text: string, start: number): boolean =>
  /^[{[]\s{0,9}[\\"'{[]/.test(text.slice(start, start + 12));

/**
 * Whether a set of headers has none but those that tell of the content. One beyond {@link MOST_JUDGED} is not looked
 * at.
 */
const hasPlainHeadersOnly = (set: string): boolean =>
  set.length <= MOST_JUDGED && PLAIN_HEADERS.test(set) && !set.replaceAll(PLAIN_HEADER, "").includes(":");
const PLAIN_HEADERS = /^\{[^{[]*\}$/;
const PLAIN_HEADER =
  /(?<![\w-])\\?["']?(?:content-(?:type|length|encoding|language)|accept(?:-\w+)?|cache-control|user-agent|retry-after|host|date|vary|connection)\\?["']?\s*:(?:[^"':,{}]*,|\s*\\?"[^"]*"|\s*'[^']*'|[^"':,{}]*\}$)/gi;

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

const isLetterOrDigit = (c: number): boolean =>
  (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39) || (c >= 0x41 && c <= 0x5a);

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

// --- headers --------------------------------------------------------------------------------------------------------

/**
 * Masks what follows `Authorization:` or `Cookie:`: to the end of the line among parameters, else as far as it looks
 * like one.
 */
function findHeaderValue(text: string, start: number, flags: number, { byName }: MaskTextOptions): TextSpan | null {
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

function findEnd(pattern: RegExp, text: string, from: number): number {
  pattern.lastIndex = from;
  pattern.test(text);
  return Math.max(from, pattern.lastIndex);
}

function nextWord(text: string, from: number): { text: string; start: number; end: number } {
  const start = findEnd(BLANKS, text, from);
  const end = findEnd(WORDS_BEGINNING, text, start);
  return { text: text.slice(start, end), start, end };
}

/** A word that a secret follows without a separator: an Authorization scheme, or an option of a command. */
const SECRET_AFTER =
  /(?<![\w-])(?:(bearer|basic)[ \t]{1,3}|(--?[a-z][\w-]{0,60})[ \t]{1,3}["']?)(?!\[redacted\])([^\s"'<>`]{3,})/gi;

function findAfterWords(text: string, { readName, byName }: MaskTextOptions, spans: Pick<Spans, "push">) {
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
