/**
 * Masks secrets before anything reaches the disk (P6). The mask works on the text of the body before it is parsed. The
 * stored bytes are therefore the received ones except for the masked values, numbers and duplicate keys included; a
 * body that is not JSON is masked as well; and no later step ever sees a secret.
 *
 * This file walks JSON, and JSON inside its strings, and decides by the keys what a value may hold. {@link maskText}
 * handles texts: in keys, in values, and in what is not JSON. docs/security.md says what is masked.
 */
import { bareEnd, skipSpace, stringEnd } from "../platform/json.ts";
import { HINT_IN_JSON, maskText } from "./mask/mask-text.ts";
import { isCode, looksSecret } from "./mask/secret-looks.ts";
import { REDACTED } from "./mask/text-view.ts";
import { createReadName, memoize, Named, type ReadName } from "./mask/secret-names.ts";

export { REDACTED };

export interface Masked {
  text: string;
  /** The deepest nesting of objects and arrays. */
  depth: number;
}

export type Redact = (body: string) => Masked;

/**
 * What applies to a value: a set of the following flags, chosen by its key. Everything inside a value inherits its set
 * and only adds to it.
 */
type Mode = number;
const PARAMETERS = 1;
const PROXY = 2;
const WEBHOOK = 4;
/** A set of HTTP headers, in which every value under a secret header's name is secret. */
const HEADERS = 8;
/** Under a secret's name, outside parameters: secret if it looks like it. */
const SUSPECT = 16;
/** The same under the name of a password. */
const SUSPECT_PASSWORD = 32;
const SECRET = 64;
/** Under the name of a one-time code: secret if it has the digits of one. */
const CODE = 128;

/** @param extraKeys `redact.keys` of relay.yaml: additional secret keys, matched as whole words of a key. */
export function createRedact(extraKeys: readonly string[] = []): Redact {
  const readName = createReadName(extraKeys);
  const readKey = memoize((key) => ({
    mode: modeOfKey(key),
    flags: readName(key),
    isName: NAME_KEY.test(key),
    isValue: VALUE_KEY.test(key),
    isUser: USER_KEY.test(key),
    masked: maskText(key, { readName, byName: false }),
  }));
  return (body) => {
    const { text, depth, isJson } = scan(body, 0, { readName, readKey });
    return { text: isJson ? text : maskText(text, { readName, byName: false }), depth };
  };
}

/** What a key means for its value. */
interface KeyMeaning {
  mode: Mode;
  /** Its meaning as a name: flags of {@link Named}. */
  flags: number;
  isName: boolean;
  isValue: boolean;
  isUser: boolean;
  /** The key itself, masked. */
  masked: string;
}

const NAME_KEY = /^(?:name|key|field|header|label|title|question)$/i;
const VALUE_KEY = /^(?:value|val|default_value|content|answer)$/i;
const USER_KEY = /^user(_?name)?$/i;

interface NameReaders {
  readName: ReadName;
  readKey: (key: string) => KeyMeaning;
}

/** What Skyvern's own keys mean for their values. */
function modeOfKey(key: string): Mode {
  const lower = key.toLowerCase();
  if (/(http|connect)_?headers$/.test(lower) || lower.startsWith("totp")) return SECRET;
  if (/^headers$|_headers$|(request|response)headers$/.test(lower)) return HEADERS;
  if (lower.startsWith("proxy") || /(?:[_-]prox(?:y|ies)|[a-z]Prox(?:y|ies))$/.test(key)) return PROXY;
  if (/^webhook.*url$/.test(lower)) return WEBHOOK;
  return /^(?:parameters|run_metadata|navigation_payload|request_?body)$/.test(lower) ? PARAMETERS : 0;
}

/** What a name with these flags means for a value, given what surrounds it. */
function modeOfName(flags: number, around: Mode): Mode {
  if ((flags & Named.secret) === 0) return 0;
  if ((around & (PARAMETERS | PROXY | HEADERS)) !== 0) return SECRET;
  return ((flags & Named.password) === 0 ? SUSPECT : SUSPECT_PASSWORD) | ((flags & Named.code) === 0 ? 0 : CODE);
}

/** A value that is replaced. */
interface Edit {
  start: number;
  end: number;
  by: string;
}

/** An object or array that is being walked. */
interface WalkFrame {
  mode: Mode;
  isArray: boolean;
  /** True when the object is an item of an array, as in `"headers":[{"name":"…","value":"…"}]`. */
  isItem: boolean;
  /** For `{"name":"api_key","value":…}`: what the name means for the value, once the name was met. */
  named: Mode;
  /** The place and kind of the value, while its name was not met yet. */
  pending: { start: number; end: number; value: string } | null;
  /**
   * For an array: its last text, as in `["--password","…"]` and `[["api_key","…"]]`, and how many items came before.
   */
  last: string;
  count: number;
}

/** Deeper levels share a frame, and mask what any of them would: a frame each would take hundreds of megabytes. */
const DEEPEST_FRAME = 10_000;

/** One pass over JSON text (or what looks like it) that copies everything but what the mask replaces. */
function scan(text: string, outer: Mode, readers: NameReaders): Masked & { isJson: boolean } {
  const walk = new Walk(text, outer, readers);
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) i = walk.readString(i);
    else if (c > 0x20 && c !== 0x3a && c !== 0x2c && c !== 0x7b && c !== 0x5b && c !== 0x7d && c !== 0x5d)
      i = walk.readBare(i);
    else {
      if (c === 0x7b || c === 0x5b) walk.enter(c === 0x5b);
      else if (c === 0x7d || c === 0x5d) walk.leave();
      else if (c === 0x2c) walk.key = null;
      i += 1;
    }
  }
  return { text: applyEdits(text, walk.edits), depth: walk.depth, isJson: walk.isJson };
}

/** Where a scan stands in the JSON, and what it found. */
class Walk {
  readonly edits: Edit[] = [];
  depth = 0;
  isJson = true;
  /** The key before a value; null before there is one. */
  key: KeyMeaning | null = null;
  readonly #text: string;
  readonly #outer: Mode;
  readonly #readers: NameReaders;
  readonly #stack: WalkFrame[] = [];
  #frame: WalkFrame;
  /** Levels below the deepest frame, which they share. */
  #beyond = 0;
  /** The next place that a mask may change, from where it was last looked for. */
  #hint = -1;

  constructor(text: string, outer: Mode, readers: NameReaders) {
    this.#text = text;
    this.#outer = outer;
    this.#readers = readers;
    this.#frame = newFrame(outer, true, false);
  }

  /** Reads the key or the text that begins at an index. Returns the index after it, and after a key's colon. */
  readString(start: number): number {
    const text = this.#text;
    const end = stringEnd(text, start);
    const after = skipSpace(text, end);
    if (text.charCodeAt(after) === 0x3a) {
      this.#readKey(start, end);
      return after + 1;
    }
    this.#readText(start, end, text.charCodeAt(after));
    return end;
  }

  #readKey(start: number, end: number): void {
    const text = this.#text;
    const name = this.#hasHint(start, end) ? decode(text.slice(start, end)) : text.slice(start + 1, end - 1);
    const key = this.#readers.readKey(name);
    if (key.masked !== name) this.edits.push({ start, end, by: spellAs(text.slice(start, end), key.masked) });
    this.key = key;
  }

  #readText(start: number, end: number, next: number): void {
    const { key } = this;
    const frame = this.#frame;
    const mode = this.#modeOf(next);
    const isPlain = (mode & ~PARAMETERS) === 0 && !this.#hasHint(start, end);
    if (!isPlain || key === null || key.isName || key.isValue) {
      const literal = this.#text.slice(start, end);
      const value = decode(literal);
      const masked = isPlain || value === "" ? value : maskValue(value, mode, this.#readers);
      if (masked !== value) this.edits.push({ start, end, by: spellAs(literal, masked) });
      if (key === null) frame.last = value;
      else if (key.isValue) frame.pending = { start, end, value };
      else if (key.isName) noteName(frame, value, this.#readers, this.edits);
    }
    frame.count += 1;
    this.key = null;
  }

  /** Reads the number or word that begins at an index. Returns the index after it. */
  readBare(start: number): number {
    const { key } = this;
    const frame = this.#frame;
    const text = this.#text;
    const end = bareEnd(text, start);
    if (!isWord(text, start, end, "null")) {
      this.isJson &&=
        isNumber(text, start, end) || isWord(text, start, end, "true") || isWord(text, start, end, "false");
      const mode = this.#modeOf(text.charCodeAt(skipSpace(text, end)));
      if ((mode & SECRET) !== 0 || ((mode & CODE) !== 0 && isCode(text.slice(start, end))))
        this.edits.push({ start, end, by: JSON.stringify(REDACTED) });
      else if (key?.isValue === true) frame.pending = { start, end, value: text.slice(start, end) };
    }
    frame.count += 1;
    this.key = null;
    return end;
  }

  enter(isArray: boolean): void {
    const frame = this.#frame;
    const mode = this.#modeOf(0);
    frame.count += 1;
    if (this.#stack.length < DEEPEST_FRAME) {
      this.#stack.push(frame);
      this.#frame = newFrame(mode, isArray, frame.isArray);
    } else {
      this.#beyond += 1;
      frame.mode |= mode;
    }
    this.depth = Math.max(this.depth, this.#stack.length + this.#beyond);
    this.key = null;
  }

  leave(): void {
    if (this.#beyond > 0) this.#beyond -= 1;
    else this.#frame = this.#stack.pop() ?? newFrame(this.#outer, true, false);
    this.key = null;
  }

  /** The mode of the value that comes now. `next` is the character after it. */
  #modeOf(next: number): Mode {
    const { key } = this;
    return key === null ? modeOfItem(this.#frame, next, this.#readers.readName) : modeUnder(this.#frame, key);
  }

  /** Whether the text between two indices holds what a mask may change. The indices only grow. */
  #hasHint(start: number, end: number): boolean {
    if (this.#hint < start) {
      HINT_IN_JSON.lastIndex = start;
      this.#hint = HINT_IN_JSON.test(this.#text) ? HINT_IN_JSON.lastIndex - 1 : this.#text.length;
    }
    return this.#hint < end;
  }
}

const isWord = (text: string, start: number, end: number, word: string): boolean =>
  end - start === word.length && text.startsWith(word, start);

/** Whether all characters between two indices are those of numbers. */
function isNumber(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i += 1) {
    const c = text.charCodeAt(i);
    if ((c < 0x30 || c > 0x39) && c !== 0x2e && c !== 0x2d && c !== 0x2b && c !== 0x65 && c !== 0x45) return false;
  }
  return true;
}

const newFrame = (mode: Mode, isArray: boolean, isItem: boolean): WalkFrame => ({
  mode,
  isArray,
  isItem,
  named: 0,
  pending: null,
  last: "",
  count: 0,
});

/** The mode of the value under a key: the object's mode, with additions. */
function modeUnder(frame: WalkFrame, key: KeyMeaning): Mode {
  const { mode } = frame;
  if ((mode & SECRET) !== 0) return mode;
  let under = mode | key.mode | modeOfName(key.flags, mode);
  if ((mode & HEADERS) !== 0 && (!frame.isItem || key.isValue)) under |= SECRET;
  if ((mode & PROXY) !== 0 && key.isUser) under |= SECRET;
  return key.isValue ? under | frame.named : under;
}

/** The mode of an array's item. `next` is the character after it. */
function modeOfItem(frame: WalkFrame, next: number, readName: ReadName): Mode {
  const { mode, last, count } = frame;
  if ((mode & SECRET) !== 0 || last === "") return mode;
  if (/^--?[a-z]/i.test(last) && (readName(last) & Named.secret) !== 0) return mode | SECRET;
  if (count !== 1 || next !== 0x5d || !frame.isItem) return mode;
  return (mode & HEADERS) !== 0 ? mode | SECRET : mode | modeOfName(readName(last), mode);
}

/** Handles a name in `{"name":"api_key","value":…}`, for the value to come and for one that came before. */
function noteName(frame: WalkFrame, name: string, readers: NameReaders, edits: Edit[]) {
  frame.named = modeOfName(readers.readName(name), frame.mode);
  const { pending } = frame;
  if (pending === null || frame.named === 0) return;
  const { start, end, value } = pending;
  if (maskValue(value, frame.mode | frame.named, readers) !== REDACTED) return;
  const same = edits.findLastIndex((edit) => edit.start <= start);
  if (edits[same]?.start === start) edits.splice(same, 1);
  edits.splice(edits.findLastIndex((edit) => edit.start < start) + 1, 0, { start, end, by: JSON.stringify(REDACTED) });
}

function applyEdits(text: string, edits: readonly Edit[]): string {
  const parts: string[] = [];
  let copied = 0;
  for (const { start, end, by } of edits) {
    parts.push(text.slice(copied, start), by);
    copied = end;
  }
  return parts.join("") + text.slice(copied);
}

/** The value of a string literal; its raw content when the literal is invalid. */
function decode(literal: string): string {
  const inside = literal.slice(1, literal.length > 1 && literal.endsWith('"') ? -1 : undefined);
  if (!literal.includes("\\")) return inside;
  try {
    return JSON.parse(literal) as string;
  } catch {
    return inside;
  }
}

/** A masked value in place of a literal. What is no valid literal stays as it is spelt, but for the mask. */
function spellAs(literal: string, masked: string): string {
  const asItIs = `"${masked}${literal.length > 1 && literal.endsWith('"') ? '"' : ""}`;
  if (!literal.includes("\\") && !masked.includes('"')) return asItIs;
  try {
    JSON.parse(literal);
    return JSON.stringify(masked);
  } catch {
    return asItIs;
  }
}

function maskValue(given: string, mode: Mode, readers: NameReaders): string {
  let value = given;
  if ((mode & SECRET) !== 0) return /^cred_\w+$/.test(value) ? value : REDACTED;
  if ((mode & (SUSPECT | SUSPECT_PASSWORD)) !== 0 && looksSecret(value, (mode & SUSPECT_PASSWORD) !== 0))
    return REDACTED;
  if ((mode & CODE) !== 0 && isCode(value)) return REDACTED;
  if (/^\s*["{[]/.test(value) || (value.includes('"') && /[{[]/.test(value))) {
    const inner = scan(value, mode, readers);
    if (inner.isJson && /^\s*[{[]/.test(value)) return inner.text;
    value = inner.text;
  }
  if ((mode & PROXY) !== 0) value = maskProxy(value);
  if ((mode & WEBHOOK) !== 0) value = maskQuery(value);
  if ((mode & HEADERS) !== 0) value = value.replace(HEADER_LINE, `$1${REDACTED}`);
  return maskText(value, { readName: readers.readName, byName: (mode & (PARAMETERS | HEADERS)) !== 0 });
}

const HEADER_LINE = /^([\w-]{1,80}[ \t]{0,3}:[ \t]{0,3})(?!\[redacted\])\S.*$/gm;

/** A password may contain anything, so everything before the last `@` counts. */
const PROXY_CREDENTIALS = /^([a-z][a-z0-9+.-]{0,30}:\/\/)?[^]*@/i;
/** `host:port:user:password`, and the same the other way round. */
const PROXY_PARTS = /^((?:[a-z][a-z0-9+.-]{0,30}:\/\/)?[^\s:/@]{1,253}:\d{1,5}:)[^]+$/i;
const PROXY_PARTS_BEHIND = /^((?:[a-z][a-z0-9+.-]{0,30}:\/\/)?)[^\s:/@]+:[^\s/@]+(:[^\s:/@]{1,253}:\d{1,5})$/i;

function maskProxy(value: string): string {
  if (value.includes("@")) return value.replace(PROXY_CREDENTIALS, `$1${REDACTED}@`);
  if (PROXY_PARTS.test(value)) return value.replace(PROXY_PARTS, `$1${REDACTED}`);
  return value.replace(PROXY_PARTS_BEHIND, `$1${REDACTED}$2`);
}

/** To mask each value of a million would take seconds. */
export const LONGEST_QUERY = 64 * 1024;

/** Every value of an address's query and fragment, and parts without a name. A very long query is masked as one. */
function maskQuery(url: string): string {
  const query = url.search(/[?#]/);
  if (query < 0) return url;
  if (url.length - query > LONGEST_QUERY) return url.slice(0, query + 1) + REDACTED;
  const pairs = url.slice(query).replace(/([?&#;])([^?&#;]*)/g, (_pair, mark: string, pair: string) => {
    const name = pair.slice(0, pair.indexOf("=") + 1);
    return pair === name ? mark + pair : mark + name + REDACTED;
  });
  return url.slice(0, query) + pairs;
}
