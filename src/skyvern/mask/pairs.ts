/** Finds pairs of a name and a secret, with a sign or words between them. */
import { isSecretValue } from "./secret-looks.ts";
import { LONGEST_NAME, readPair, type Pair } from "./name-before.ts";
import { Named, type ReadName } from "./secret-names.ts";
import { findEnd, isBlank, type Found, type MaskTextOptions, type TextSpan, type TextView } from "./text-view.ts";
import { findValue } from "./values.ts";

/** What stands for a separator behind a blank: `the password is hunter22`, `493817 as your code`. */
export const VERB = String.raw`(?:ist?|was|->?|\u2013|\u2014|\u2192)(?=[ \t:])|(?:as|into)(?=[ \t](?:the|your|my)[ \t])`;
/** The blank of a pair that has no more than it: `token k3yV4lue9`, `code 493817`. */
const NAME_BEFORE = String.raw`(?<=(?i:token|api[-_ ]?key).)|(?<=(?i:code|otp|2fa).)(?=["'(#]?\d{3})|(?<=(?i:password|passwort|passwd).)(?=["'\x60(]{0,2}[^\s"'\x60]{0,40}[\d!$^*+%&~@#])`;
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

export function findPairs(view: TextView, options: MaskTextOptions, spans: Found) {
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

function afterAll(text: string, from: number, code: number): number {
  let at = from;
  while (text.charCodeAt(at) === code) at += 1;
  return at;
}

const EQUALS = 0x3d;
const COLON = 0x3a;
const SLASH = 0x2f;
const GREATER = 0x3e;
