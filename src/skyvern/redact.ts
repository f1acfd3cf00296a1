/**
 * What is masked before anything reaches the disk (P6). The mask works on the text of the body, before it is parsed: so
 * the stored bytes are the received ones but for the masked values, numbers and duplicate keys included, a body that is
 * not JSON is masked as well, and nothing further down ever sees a secret.
 *
 * This file walks JSON, and JSON kept in its strings, and knows from the keys what may stand in a value. What stands in
 * a text is found by {@link maskText}, in keys, in values, and in what is no JSON. docs/security.md says what is masked.
 */
import { bareEnd, skipSpace, stringEnd } from "../platform/json.ts";
import { maskText, REDACTED } from "./mask-text.ts";
import { looksSecret } from "./secret-looks.ts";
import { createReadName, memoize, Named, type ReadName } from "./secret-names.ts";

export { REDACTED };

export interface Masked {
  text: string;
  /** The deepest nesting of objects and arrays. */
  depth: number;
}

export type Redact = (body: string) => Masked;

/**
 * What applies to a value: a set of the following, said by its key. All that is inside a value inherits its set and only
 * adds to it.
 */
type Mode = number;
const PARAMETERS = 1;
const PROXY = 2;
const WEBHOOK = 4;
/** A set of HTTP headers: what stands under a name in it is secret. */
const HEADERS = 8;
/** Under a secret's name, outside of parameters: secret if it looks like it. */
const SUSPECT = 16;
/** The same under the name of a password. */
const SUSPECT_PASSWORD = 32;
const SECRET = 64;

/** @param extraKeys `redact.keys` of relay.yaml: further secret-looking keys, matched as whole words of a key. */
export function createRedact(extraKeys: readonly string[] = []): Redact {
  const readName = createReadName(extraKeys);
  return (body) => {
    const { text, depth, isJson } = scan(body, 0, readName);
    return { text: isJson ? text : maskText(text, { readName, byName: false }), depth };
  };
}

/** What Skyvern's own keys say of their values. */
const readKey = memoize((key: string): Mode => {
  const lower = key.toLowerCase();
  if (/(http|connect)_?headers$/.test(lower) || lower.startsWith("totp")) return SECRET;
  if (/^headers$|_headers$|(request|response)headers$/.test(lower)) return HEADERS;
  if (lower.startsWith("proxy") || /(?:[_-]prox(?:y|ies)|[a-z]Prox(?:y|ies))$/.test(key)) return PROXY;
  if (/^webhook.*url$/.test(lower)) return WEBHOOK;
  return /^(?:parameters|run_metadata|navigation_payload|request_?body)$/.test(lower) ? PARAMETERS : 0;
});

/** What a secret's name says of a value among what surrounds it. */
function modeOfName(name: string, around: Mode, readName: ReadName): Mode {
  const flags = readName(name);
  if ((flags & Named.secret) === 0) return 0;
  if ((around & (PARAMETERS | PROXY | HEADERS)) !== 0) return SECRET;
  return (flags & Named.password) === 0 ? SUSPECT : SUSPECT_PASSWORD;
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
  /** Whether it stands in an array itself, as in `"headers":[{"name":"…","value":"…"}]`. */
  isItem: boolean;
  /** In `{"name":"api_key","value":…}`: what the name says of the value, once it was met. */
  named: Mode;
  /** Where the value stands and what it is, while its name was not met yet. */
  pending: { start: number; end: number; value: string } | null;
  /** Of an array: its last text, as in `["--password","…"]` and `[["api_key","…"]]`, and how many items came before. */
  last: string;
  count: number;
}

const NAME_KEY = /^(?:name|key|field|header|label)$/i;
const VALUE_KEY = /^(?:value|val|default_value)$/i;

/** One pass over JSON text (or what pretends to be), copying everything but what the mask replaces. */
function scan(text: string, outer: Mode, readName: ReadName): Masked & { isJson: boolean } {
  const edits: Edit[] = [];
  const stack: WalkFrame[] = [];
  let frame = enter(outer, true, false);
  let depth = 0;
  let isJson = true;
  /** What the key before a value says of it; null before there is one. */
  let under: Mode | null = null;
  let key = "";
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    const start = i;
    if (c === 0x22) {
      i = stringEnd(text, start);
      const literal = text.slice(start, i);
      const value = decode(literal);
      const after = skipSpace(text, i);
      if (text.charCodeAt(after) === 0x3a) {
        i = after + 1;
        key = value;
        under = modeUnder(frame, key, readName);
        const masked = mayHoldSecret(key) ? maskText(key, { readName, byName: false }) : key;
        if (masked !== key) edits.push({ start, end: start + literal.length, by: JSON.stringify(masked) });
        continue;
      }
      const mode = under ?? modeOfItem(frame, text.charCodeAt(after), readName);
      const masked = literal.length < 3 ? value : maskValue(value, mode, readName);
      if (masked !== value) edits.push({ start, end: i, by: JSON.stringify(masked) });
      if (under === null) {
        frame.last = value;
        frame.count += 1;
      } else if (VALUE_KEY.test(key)) frame.pending = { start, end: i, value };
      else if (NAME_KEY.test(key)) noteName(frame, value, readName, edits);
      under = null;
    } else if (c === 0x7b || c === 0x5b) {
      const mode = under ?? modeOfItem(frame, 0, readName);
      stack.push(frame);
      depth = Math.max(depth, stack.length);
      frame.count += 1;
      frame = enter(mode, c === 0x5b, frame.isArray);
      under = null;
      i += 1;
    } else if (c === 0x7d || c === 0x5d) {
      frame = stack.pop() ?? enter(outer, true, false);
      under = null;
      i += 1;
    } else if (c === 0x2c) {
      under = null;
      i += 1;
    } else if (c <= 0x20 || c === 0x3a) {
      i += 1;
    } else {
      i = bareEnd(text, start);
      const word = text.slice(start, i);
      const mode = under ?? modeOfItem(frame, text.charCodeAt(skipSpace(text, i)), readName);
      if (word !== "null") {
        isJson &&= word === "true" || word === "false" || /^-?[\d.eE+-]+$/.test(word);
        if ((mode & SECRET) !== 0) edits.push({ start, end: i, by: JSON.stringify(REDACTED) });
        else if (under !== null && VALUE_KEY.test(key)) frame.pending = { start, end: i, value: word };
      }
      frame.count += 1;
      under = null;
    }
  }
  return { text: applyEdits(text, edits), depth, isJson };
}

const enter = (mode: Mode, isArray: boolean, isItem: boolean): WalkFrame => ({
  mode,
  isArray,
  isItem,
  named: 0,
  pending: null,
  last: "",
  count: 0,
});

/** The mode of what stands under a key: that of its object, and more. */
function modeUnder(frame: WalkFrame, key: string, readName: ReadName): Mode {
  const { mode } = frame;
  if ((mode & SECRET) !== 0) return mode;
  let under = mode | readKey(key) | modeOfName(key, mode, readName);
  if ((mode & HEADERS) !== 0 && (!frame.isItem || VALUE_KEY.test(key))) under |= SECRET;
  if ((mode & PROXY) !== 0 && /^user(_?name)?$/i.test(key)) under |= SECRET;
  return VALUE_KEY.test(key) ? under | frame.named : under;
}

/** The mode of an item of an array. `next`: the character after it. */
function modeOfItem(frame: WalkFrame, next: number, readName: ReadName): Mode {
  const { mode, last, count } = frame;
  if ((mode & SECRET) !== 0 || last === "") return mode;
  if (/^--?[a-z]/i.test(last) && (readName(last) & Named.secret) !== 0) return mode | SECRET;
  if (count !== 1 || next !== 0x5d || !frame.isItem) return mode;
  return (mode & HEADERS) !== 0 ? mode | SECRET : mode | modeOfName(last, mode, readName);
}

/** A name in `{"name":"api_key","value":…}`: for the value to come, and for one that came before. */
function noteName(frame: WalkFrame, name: string, readName: ReadName, edits: Edit[]) {
  frame.named = modeOfName(name, frame.mode, readName);
  const { pending } = frame;
  if (pending === null || frame.named === 0) return;
  const { start, end, value } = pending;
  if (maskValue(value, frame.mode | frame.named, readName) !== REDACTED) return;
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

/** The value of a string literal; its raw inside when it is no valid literal. */
function decode(literal: string): string {
  const inside = literal.slice(1, literal.length > 1 && literal.endsWith('"') ? -1 : undefined);
  if (!literal.includes("\\")) return inside;
  try {
    return JSON.parse(literal) as string;
  } catch {
    return inside;
  }
}

function maskValue(given: string, mode: Mode, readName: ReadName): string {
  let value = given;
  if ((mode & SECRET) !== 0) return /^cred_\w+$/.test(value) ? value : REDACTED;
  if ((mode & (SUSPECT | SUSPECT_PASSWORD)) !== 0 && looksSecret(value, (mode & SUSPECT_PASSWORD) !== 0))
    return REDACTED;
  if (/^\s*["{[]/.test(value) || (value.includes('"') && /[{[]/.test(value))) {
    const inner = scan(value, mode, readName);
    if (inner.isJson && /^\s*[{[]/.test(value)) return inner.text;
    value = inner.text;
  }
  if ((mode & PROXY) !== 0) value = maskProxy(value);
  if ((mode & WEBHOOK) !== 0) value = maskQuery(value);
  if ((mode & HEADERS) !== 0) value = value.replace(HEADER_LINE, `$1${REDACTED}`);
  return mayHoldSecret(value) ? maskText(value, { readName, byName: (mode & (PARAMETERS | HEADERS)) !== 0 }) : value;
}

/** One cheap look: what holds none of these characters is no pair, no URL and nothing wrapped. */
const mayHoldSecret = (text: string): boolean => text.length > 5 && MAY_HOLD_SECRET.test(text);
const MAY_HOLD_SECRET = /[=:@%&\\ ]|[_.-]\w{8}|^A[KS]IA|^AIza/;

const HEADER_LINE = /^([\w-]{1,80}[ \t]{0,3}:[ \t]{0,3})(?!\[redacted\])\S.*$/gm;

/** A password may hold anything, so all before the last `@` counts. */
const PROXY_CREDENTIALS = /^([a-z][a-z0-9+.-]{0,30}:\/\/)?[^]*@/i;
/** `host:port:user:password`, and the same the other way round. */
const PROXY_PARTS = /^((?:[a-z][a-z0-9+.-]{0,30}:\/\/)?[^\s:/@]{1,253}:\d{1,5}:)[^]+$/i;
const PROXY_PARTS_BEHIND = /^((?:[a-z][a-z0-9+.-]{0,30}:\/\/)?)[^\s:/@]+:[^\s/@]+(:[^\s:/@]{1,253}:\d{1,5})$/i;

function maskProxy(value: string): string {
  if (value.includes("@")) return value.replace(PROXY_CREDENTIALS, `$1${REDACTED}@`);
  if (PROXY_PARTS.test(value)) return value.replace(PROXY_PARTS, `$1${REDACTED}`);
  return value.replace(PROXY_PARTS_BEHIND, `$1${REDACTED}$2`);
}

/** Every value of an address's query and fragment, and what has no name. */
function maskQuery(url: string): string {
  const query = url.search(/[?#]/);
  if (query < 0) return url;
  const pairs = url.slice(query).replace(/([?&#;])([^?&#;]*)/g, (_pair, mark: string, pair: string) => {
    const name = pair.slice(0, pair.indexOf("=") + 1);
    return pair === name ? mark + pair : mark + name + REDACTED;
  });
  return url.slice(0, query) + pairs;
}
