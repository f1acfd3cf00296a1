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
import { bareEnd, skipSpace, stringEnd } from "../platform/json.ts";

export const REDACTED = "[redacted]";

export interface Masked {
  text: string;
  /** The deepest nesting of objects and arrays. */
  depth: number;
}

export type Redact = (body: string) => Masked;

/** What applies to a value: set by its key, inherited by what is inside it. */
type Mode = "plain" | "parameters" | "secret" | "webhook" | "proxy";

/** Unmistakable anywhere inside a key, once its separators are gone. */
const SECRET_STEMS =
  /passw|passphrase|passcode|secret|token|apikey|accesskey|privatekey|sshkey|signingkey|encryptionkey|masterkey|licensekey|authorization|cookie|bearer|credential|securitycode|verificationcode|accesscode|onetime|cardnumber|creditcard|securityanswer|sessionid|sessionkey|2fa|(user|client|account|app|auth|login|service|customer)key/;
/** Secret only as a word of their own: `pin`, but not `shipping`. */
const SECRET_WORDS =
  /_(?:pw|pwd|session|sid|pass|pin|otp|totp|mfa|2fa|jwt|auth|cvv2?|cvc2?|csc|ssn|sig|signature|passkey)_/;
/** Query parameters that give access, besides secret-looking ones. */
const SECRET_QUERY =
  /^(key|code|hash|awsaccesskeyid|googleaccessid|x-(amz|goog)-(credential|signature|security-token))$/i;

/** @param extraKeys `redact.keys` of relay.yaml: further secret-looking keys, matched as whole words of a key. */
export function createRedact(extraKeys: readonly string[] = []): Redact {
  const isSecretKey = secretKeyTest(extraKeys);
  return (body) => scan(body, "plain", isSecretKey);
}

type IsSecretKey = (key: string) => boolean;

function secretKeyTest(extraKeys: readonly string[]): IsSecretKey {
  const extra = extraKeys.map(wordsOf).map((words) => ({ words, joined: words.replaceAll("_", "") }));
  return (key) => {
    const words = wordsOf(key);
    const joined = words.replaceAll("_", "");
    return (
      SECRET_STEMS.test(joined) ||
      SECRET_WORDS.test(words) ||
      extra.some((name) => words.includes(name.words) || joined === name.joined)
    );
  };
}

/** `portalAPIKey2` → `_portal_api_key2_` */
const wordsOf = (key: string): string =>
  `_${(
    key
      .slice(0, 200)
      .replace(WORD_BEGINS, "_")
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  ).join("_")}_`;

const WORD_BEGINS = /(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g;

function modeUnder(mode: Mode, key: string, isSecretKey: IsSecretKey): Mode {
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

/** One pass over JSON text (or what pretends to be), copying everything but the values the mask replaces. */
function scan(text: string, outer: Mode, isSecretKey: IsSecretKey): Masked {
  const parts: string[] = [];
  const stack: { mode: Mode; secretPair: boolean }[] = [];
  let copied = 0;
  let depth = 0;
  let mode = outer;
  /** What the key before a value says of it; null before there is one. */
  let under: Mode | null = null;
  let key = "";
  /** In `{"name":"api_key","value":…}`, once the name was met. */
  let secretPair = false;
  const replace = (start: number, end: number, by: string) => {
    parts.push(text.slice(copied, start), by);
    copied = end;
  };
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    const start = i;
    if (c === 0x22) {
      i = stringEnd(text, start);
      const literal = text.slice(start, i);
      const value = decode(literal);
      const colon = skipSpace(text, i);
      if (text.charCodeAt(colon) === 0x3a) {
        i = colon + 1;
        key = value;
        const isSecretValue =
          key === "value" && mode === "parameters" && (secretPair || isNamedSecretAfter(text, i, isSecretKey));
        under = isSecretValue ? "secret" : modeUnder(mode, key, isSecretKey);
        continue;
      }
      if (mode === "parameters" && (key === "name" || key === "key")) secretPair = isSecretKey(value);
      const masked = literal.length < 3 ? value : maskValue(value, under ?? mode, isSecretKey);
      if (masked !== value) replace(start, i, JSON.stringify(masked));
      under = null;
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
      i = bareEnd(text, start);
      if ((under ?? mode) === "secret" && text.slice(start, i) !== "null") replace(start, i, JSON.stringify(REDACTED));
      under = null;
    }
  }
  parts.push(text.slice(copied));
  return { text: parts.join(""), depth };
}

/** `name` in escapes, and its quotes. */
const LONGEST_NAME = 26;

/** Whether a value is followed by the name of a secret, as in `{"value":…,"name":"api_key"}`. Looks behind plain values only. */
function isNamedSecretAfter(text: string, from: number, isSecretKey: IsSecretKey): boolean {
  const start = skipSpace(text, from);
  const comma = skipSpace(text, text.charCodeAt(start) === 0x22 ? stringEnd(text, start) : bareEnd(text, start));
  const keyStart = skipSpace(text, comma + 1);
  if (text.charCodeAt(comma) !== 0x2c || text.charCodeAt(keyStart) !== 0x22) return false;
  const keyEnd = stringEnd(text, keyStart);
  if (!/^(name|key)$/.test(decode(text.slice(keyStart, Math.min(keyEnd, keyStart + LONGEST_NAME))))) return false;
  const nameStart = skipSpace(text, skipSpace(text, keyEnd) + 1);
  return text.charCodeAt(nameStart) === 0x22 && isSecretKey(decode(text.slice(nameStart, stringEnd(text, nameStart))));
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

function maskValue(value: string, mode: Mode, isSecretKey: IsSecretKey): string {
  if (mode === "secret") return /^cred_\w+$/.test(value) ? value : REDACTED;
  if ((mode === "parameters" || mode === "proxy") && /^\s*[{[]/.test(value)) return scan(value, mode, isSecretKey).text;
  if (mode === "proxy") value = value.replace(PROXY_CREDENTIALS, `$1${REDACTED}@`);
  if (mode === "webhook") value = maskQuery(value);
  if (MAY_HOLD_CREDENTIALS.test(value)) value = value.replace(CREDENTIALS, `$1${REDACTED}`);
  if (value.includes("://")) return maskUrls(value, isSecretKey);
  // Half an address, without its host, may be a parameter too.
  return mode === "parameters" ? maskPairs(value, isSecretKey) : value;
}

/** An `Authorization` header in a text, or the token of one; a word after "bearer" is none unless it holds a digit. */
const CREDENTIALS =
  /\b(authorization["']?\s{0,3}[:=]\s{0,3}["']?(?:(?:bearer|basic|token)\s{1,3})?|(?:bearer|basic)\s{1,3}(?=[\w.~+/-]*\d))[\w.~+/-]{3,}=*/gi;

const MAY_HOLD_CREDENTIALS = /bearer|basic|authorization/i;

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

/** The credentials of each URL in a text, and what gives access in its query. */
const maskUrls = (text: string, isSecretKey: IsSecretKey): string =>
  text.replace(
    AFTER_SCHEME,
    (_url, authority: string, path: string, query: string) =>
      `://${authority.replace(/^.*(?=@)/s, REDACTED)}${path}${maskPairs(query, isSecretKey)}`,
  );

/** All of a URL that comes behind its scheme, to a space or quote: the authority, the path, and the query with the fragment. */
const AFTER_SCHEME = /:(?<=[a-z][a-z0-9+.-]{0,30}:)\/\/([^\s/?#"'<>]*)([^\s"'<>?#]*)([^\s"'<>]*)/gi;

/**
 * The values of `name=value` pairs whose name gives access and stands behind `?`, `&`, `#` or `;`. A secret value goes to the next `&`, `#`
 * or `;`. A harmless one may have a query of its own (`?next=/a?token=x`), so the search goes on inside it.
 */
function maskPairs(text: string, isSecretKey: IsSecretKey): string {
  const parts: string[] = [];
  let copied = 0;
  const names = /[?&#;]([^=?&#;]*)=/g;
  for (let found = names.exec(text); found !== null; found = names.exec(text)) {
    const name = found[1] ?? "";
    if (!SECRET_QUERY.test(name) && !isSecretKey(name)) continue;
    const start = names.lastIndex;
    const length = text.slice(start).search(/[&#;]|$/);
    if (length === 0) continue;
    parts.push(text.slice(copied, start), REDACTED);
    copied = start + length;
    names.lastIndex = copied;
  }
  return parts.join("") + text.slice(copied);
}
