/**
 * What is masked before anything reaches the disk (P6). The mask works on the text of the body, before it is parsed: so
 * the stored bytes are the received ones but for the masked values, numbers and duplicate keys included, a body that is
 * not JSON is masked as well, and nothing further down ever sees a secret.
 *
 * Masked: every value under `…_http_headers` and `…_connect_headers`; `totp…`; secret-looking keys at any depth of
 * `parameters` (and `run_metadata`), also inside JSON kept in a string; credentials in URLs, and of proxies in every
 * form; the query of webhook URLs; in any URL the query values that give access (signatures, tokens, keys). Keys, nulls,
 * ids of stored credentials (`cred_…`) and the rest of a URL stay readable.
 */
import { isUnsafeNumber } from "../json.ts";

export const REDACTED = "[redacted]";

export interface Masked {
  text: string;
  /** The deepest nesting of objects and arrays. */
  depth: number;
  /** Some number would change if JavaScript parsed and wrote it. */
  unsafeNumbers: boolean;
}

export type Redact = (body: string) => Masked;

/** What applies to a value: set by its key, inherited by what is inside it. */
type Mode = "plain" | "parameters" | "secret" | "webhook" | "proxy";

/** Unmistakable anywhere inside a key, once its separators are gone. */
const SECRET_STEMS =
  /passw|passphrase|passcode|secret|token|apikey|accesskey|privatekey|sshkey|signingkey|encryptionkey|masterkey|licensekey|authorization|cookie|bearer|credential|securitycode|verificationcode|accesscode|onetime|cardnumber|creditcard|securityanswer|sessionid|sessionkey|2fa|(user|client|account|app|auth|login|service|customer)key/;
/** Secret only as a word of their own: `pin`, but not `shipping`. */
const SECRET_WORDS = new Set([
  "pw",
  "pwd",
  "session",
  "sid",
  "pass",
  "pin",
  "otp",
  "totp",
  "mfa",
  "2fa",
  "jwt",
  "auth",
  "cvv",
  "cvv2",
  "cvc",
  "cvc2",
  "csc",
  "ssn",
  "sig",
  "signature",
  "passkey",
]);
/** Query parameters that give access, besides secret-looking ones. */
const SECRET_QUERY =
  /^(key|code|hash|awsaccesskeyid|googleaccessid|x-(amz|goog)-(credential|signature|security-token))$/i;
/** Keys in a cache beyond this are not kept: keys are whatever a sender likes. */
const CACHE_LIMIT = 2_000;

/** @param extraKeys `redact.keys` of relay.yaml: further secret-looking keys, matched as whole words of a key. */
export function createRedact(extraKeys: readonly string[] = []): Redact {
  const extra = extraKeys.map((key) => `_${wordsOf(key).join("_")}_`);
  const looksSecret = (key: string): boolean => {
    const words = wordsOf(key);
    const joined = `_${words.join("_")}_`;
    return (
      SECRET_STEMS.test(words.join("")) ||
      words.some((word) => SECRET_WORDS.has(word)) ||
      extra.some((name) => joined.includes(name) || joined.replaceAll("_", "") === name.replaceAll("_", ""))
    );
  };
  const secret = new Map<string, boolean>();
  const isSecretKey = (key: string): boolean => {
    const known = secret.get(key);
    if (known !== undefined) return known;
    const made = looksSecret(key);
    if (secret.size < CACHE_LIMIT && key.length < 100) secret.set(key, made);
    return made;
  };
  const modes = new Map<Mode, Map<string, Mode>>();
  const modeUnder = (mode: Mode, key: string): Mode => {
    let under = modes.get(mode);
    if (!under) modes.set(mode, (under = new Map()));
    const known = under.get(key);
    if (known !== undefined) return known;
    const made = computeMode(mode, key, isSecretKey);
    if (under.size < CACHE_LIMIT && key.length < 100) under.set(key, made);
    return made;
  };
  const mask = (text: string, mode: Mode): Masked => scan(text, mode, { modeUnder, maskString, isSecretKey });
  const maskString = (literal: string, mode: Mode): string => {
    if (literal.length < 3) return literal;
    const value = decode(literal);
    const masked = maskValue(value, mode, isSecretKey, mask);
    return masked === value ? literal : JSON.stringify(masked);
  };
  return (body) => mask(body, "plain");
}

function computeMode(mode: Mode, key: string, isSecretKey: (key: string) => boolean): Mode {
  if (mode === "secret") return "secret";
  const lower = key.toLowerCase();
  if (/(http|connect)_?headers$/.test(lower) || lower.startsWith("totp")) return "secret";
  if (mode === "proxy" && /^user(_?name)?$/.test(lower)) return "secret";
  if (lower.startsWith("proxy")) return "proxy";
  if (/^webhook.*url$/.test(lower)) return "webhook";
  if (lower === "parameters" || lower === "run_metadata" || lower === "navigation_payload") return "parameters";
  if (mode === "plain" || mode === "webhook") return "plain";
  return isSecretKey(key) ? "secret" : mode;
}

/** `portalAPIKey2` → portal, api, key2 */
const wordsOf = (key: string): string[] =>
  key
    .slice(0, 200)
    .replace(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1_$2")
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== "");

interface Rules {
  modeUnder(mode: Mode, key: string): Mode;
  maskString(literal: string, mode: Mode): string;
  isSecretKey(key: string): boolean;
}

/** One pass over JSON text (or what pretends to be), copying everything but the values the mask replaces. */
function scan(text: string, outer: Mode, { modeUnder, maskString, isSecretKey }: Rules): Masked {
  const parts: string[] = [];
  const stack: { mode: Mode; secretPair: boolean }[] = [];
  let copied = 0;
  let depth = 0;
  let unsafeNumbers = false;
  let mode = outer;
  let under: Mode | null = null;
  let key = "";
  /** In `{"name":"api_key","value":…}`, once the name was met. */
  let secretPair = false;
  /** Where the next thing is that a string of plain text must be looked at for. */
  let suspect = -1;
  const isHarmless = (start: number, end: number): boolean => {
    if (suspect < start) {
      MAY_HOLD.lastIndex = start;
      suspect = MAY_HOLD.exec(text)?.index ?? Infinity;
    }
    return suspect >= end;
  };
  const replace = (start: number, end: number, by: string) => {
    parts.push(text.slice(copied, start), by);
    copied = end;
  };
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) {
      const end = stringEnd(text, i);
      const after = skipSpace(text, end);
      if (text.charCodeAt(after) === 0x3a) {
        key = isHarmless(i, end) ? text.slice(i + 1, end - 1) : decode(text.slice(i, end));
        const isSecret =
          key === "value" && mode === "parameters" && (secretPair || isNamedSecretAfter(text, after + 1, isSecretKey));
        under = isSecret ? "secret" : modeUnder(mode, key);
        i = after + 1;
        continue;
      }
      if ((under ?? mode) === "plain" && mode !== "parameters" && isHarmless(i, end)) {
        under = null;
        i = end;
        continue;
      }
      const literal = text.slice(i, end);
      if (mode === "parameters" && (key === "name" || key === "key")) secretPair = isSecretKey(decode(literal));
      const masked = maskString(literal, under ?? mode);
      if (masked !== literal) replace(i, end, masked);
      under = null;
      i = end;
    } else if (c === 0x7b || c === 0x5b) {
      stack.push({ mode, secretPair });
      depth = Math.max(depth, stack.length);
      mode = under ?? mode;
      under = null;
      secretPair = false;
      i += 1;
    } else if (c === 0x7d || c === 0x5d) {
      ({ mode, secretPair } = stack.pop() ?? { mode: outer, secretPair: false });
      under = null;
      i += 1;
    } else if (c === 0x2c) {
      under = null;
      i += 1;
    } else if (c <= 0x20 || c === 0x3a) {
      i += 1;
    } else {
      const end = bareEnd(text, i);
      if ((under ?? mode) === "secret") {
        if (text.slice(i, end) !== "null") replace(i, end, JSON.stringify(REDACTED));
      } else if (!unsafeNumbers && (c === 0x2d || (c >= 0x30 && c <= 0x39)) && !isShortInteger(text, i, end))
        unsafeNumbers = isUnsafeNumber(text.slice(i, end));
      under = null;
      i = end;
    }
  }
  parts.push(text.slice(copied));
  return { text: parts.join(""), depth, unsafeNumbers };
}

/** Whether a value is followed by the name of a secret, as in `{"value":…,"name":"api_key"}`. Looks behind plain values only. */
function isNamedSecretAfter(text: string, from: number, isSecretKey: Rules["isSecretKey"]): boolean {
  const start = skipSpace(text, from);
  const comma = skipSpace(text, text.charCodeAt(start) === 0x22 ? stringEnd(text, start) : bareEnd(text, start));
  const keyStart = skipSpace(text, comma + 1);
  if (text.charCodeAt(comma) !== 0x2c || text.charCodeAt(keyStart) !== 0x22) return false;
  const keyEnd = stringEnd(text, keyStart);
  if (!/^"(name|key)"$/.test(text.slice(keyStart, Math.min(keyEnd, keyStart + 7)))) return false;
  const nameStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
  return text.charCodeAt(nameStart) === 0x22 && isSecretKey(decode(text.slice(nameStart, stringEnd(text, nameStart))));
}

/** The index after a string's closing quote, or the end of a text that was cut off. */
function stringEnd(text: string, start: number): number {
  for (let from = start + 1; ;) {
    const quote = text.indexOf('"', from);
    if (quote < 0) return text.length;
    let before = quote - 1;
    while (before > start && text.charCodeAt(before) === 0x5c) before -= 1;
    if ((quote - before) % 2 === 1) return quote + 1;
    from = quote + 1;
  }
}

function skipSpace(text: string, from: number): number {
  let i = from;
  while (i < text.length && text.charCodeAt(i) <= 0x20) i += 1;
  return i;
}

/** The scan's own idea of space: any other, such as U+FEFF or U+00A0, is a character like others here. */
function bareEnd(text: string, start: number): number {
  let i = start;
  while (i < text.length && !isBareEnd(text.charCodeAt(i))) i += 1;
  return i;
}

const isBareEnd = (c: number): boolean =>
  c <= 0x20 || c === 0x2c || c === 0x7d || c === 0x5d || c === 0x22 || c === 0x3a || c === 0x7b || c === 0x5b;

/** Up to 15 digits that begin with none of 0: written again as they were read. Most numbers are so. */
function isShortInteger(text: string, start: number, end: number): boolean {
  if (end - start > 15 || text.charCodeAt(start) === 0x30) return end - start === 1;
  for (let i = start; i < end; i += 1) {
    const c = text.charCodeAt(i);
    if (c < 0x30 || c > 0x39) return false;
  }
  return true;
}

/** The value of a string literal; its raw inside when it is no valid literal. */
function decode(literal: string): string {
  if (!literal.includes("\\")) return literal.slice(1, literal.endsWith('"') ? -1 : undefined);
  try {
    return JSON.parse(literal) as string;
  } catch {
    return literal.slice(1, -1);
  }
}

function maskValue(
  value: string,
  mode: Mode,
  isSecretKey: (key: string) => boolean,
  mask: (text: string, mode: Mode) => Masked,
): string {
  if (mode === "secret") return /^cred_\w+$/.test(value) ? value : REDACTED;
  if ((mode === "parameters" || mode === "proxy") && /^\s*[{[]/.test(value)) return mask(value, mode).text;
  if (mode === "proxy") value = value.replace(PROXY_CREDENTIALS, `$1${REDACTED}@`);
  if (mode === "webhook") value = maskQuery(value);
  // Half an address, without its host, may be a parameter too.
  if (mode === "parameters" && !value.includes("://")) value = maskPairs(value, isSecretKey);
  return maskUrls(value.replace(CREDENTIALS, `$1${REDACTED}`), isSecretKey);
}

/** An `Authorization` header in a text, or the token of one; a word after "bearer" is none unless it holds a digit. */
const CREDENTIALS =
  /\b(authorization["']?\s{0,3}[:=]\s{0,3}["']?(?:(?:bearer|basic|token)\s{1,3})?|(?:bearer|basic)\s{1,3}(?=[\w.~+/-]*\d))[\w.~+/-]{3,}=*/gi;

/** What a harmless string of plain text has none of. A backslash may hide a URL's slashes: `https:\/\/`. */
const MAY_HOLD = /:\/\/|\\|bearer|basic|authorization/gi;

/** A password may hold anything, so all before the last `@` counts. */
const PROXY_CREDENTIALS = /^([a-z][a-z0-9+.-]{0,30}:\/\/)?[^]*@/i;

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

/** Scheme, authority and the rest of each URL in a text. Linear: every part stops at a character the next one begins with. */
const URLS = /([a-z][a-z0-9+.-]{0,30}:\/\/)([^\s/?#"'<>]*)([^\s"'<>]*)/gi;
function maskUrls(text: string, isSecretKey: (key: string) => boolean): string {
  if (!text.includes("://")) return text;
  return text.replace(URLS, (_url, scheme: string, authority: string, rest: string) => {
    const at = authority.lastIndexOf("@");
    const host = at < 0 ? authority : `${REDACTED}${authority.slice(at)}`;
    const query = rest.search(/[?#]/);
    if (query < 0) return `${scheme}${host}${rest}`;
    return `${scheme}${host}${rest.slice(0, query)}${maskPairs(rest.slice(query), isSecretKey)}`;
  });
}

/**
 * A secret value goes to the next `&`, `#` or `;`. A harmless one may have a query of its own (`?next=/a?token=x`), so the
 * search goes on inside it. Linear: a name stops where the next one begins.
 */
function maskPairs(query: string, isSecretKey: (key: string) => boolean): string {
  const names = /[?&#;]([^=?&#;]*)=/g;
  const ends = /[&#;]|$/g;
  let shown = "";
  let copied = 0;
  for (let match = names.exec(query); match !== null; match = names.exec(query)) {
    const [, name = ""] = match;
    if (!SECRET_QUERY.test(name) && !isSecretKey(name)) continue;
    const start = names.lastIndex;
    ends.lastIndex = start;
    const end = ends.exec(query)?.index ?? query.length;
    shown += query.slice(copied, start) + (end > start ? REDACTED : "");
    copied = end;
    names.lastIndex = end;
  }
  return shown + query.slice(copied);
}
