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
import { bareEnd, beginsNumber, isUnsafeNumberAt, skipSpace, stringEnd } from "../json-text.ts";
import { remembered } from "../remembered.ts";

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
const MODES = ["plain", "parameters", "secret", "webhook", "proxy"] as const;
type Mode = (typeof MODES)[number];

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
  const isSecretKey = remembered(looksSecret);
  const givesAccess = remembered((name) => SECRET_QUERY.test(name) || looksSecret(name));
  const modes = Object.fromEntries(
    MODES.map((mode) => [mode, remembered((key) => computeMode(mode, key, isSecretKey))]),
  ) as Record<Mode, (key: string) => Mode>;
  const rules: Rules = {
    modeUnder: (mode, key) => modes[mode](key),
    maskString: (literal, mode) => {
      if (literal.length < 3) return literal;
      const value = decode(literal);
      const masked = maskValue(value, mode, rules);
      return masked === value ? literal : JSON.stringify(masked);
    },
    isSecretKey,
    givesAccess,
  };
  return (body) => scan(body, "plain", rules);
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
  /** Whether what a query calls so is not to be seen. */
  givesAccess(name: string): boolean;
}

/** One pass over JSON text (or what pretends to be), copying everything but the values the mask replaces. */
function scan(text: string, outer: Mode, rules: Rules): Masked {
  const { modeUnder, maskString, isSecretKey } = rules;
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
  /** Where the next thing is that may make a string mean more than it shows, and the next URL. */
  let hint = -1;
  let colon = -1;
  const hasHint = (start: number, end: number): boolean => {
    if (hint < start) {
      HINTS.lastIndex = start;
      hint = HINTS.exec(text)?.index ?? Infinity;
    }
    return hint < end;
  };
  const hasUrl = (start: number, end: number): boolean => {
    if (colon < start) colon = nextUrl(text, start);
    return colon < end;
  };
  const replace = (start: number, end: number, by: string) => {
    parts.push(text.slice(copied, start), by);
    copied = end;
  };
  const hide = (start: number, end: number) => replace(start, end, REDACTED);
  for (let i = 0; i < text.length;) {
    const c = text.charCodeAt(i);
    if (c === 0x22) {
      const start = i;
      const end = stringEnd(text, start);
      const after = skipSpace(text, end);
      if (text.charCodeAt(after) === 0x3a) {
        i = after + 1;
        const isBare = !hasHint(start, end);
        if (mode === "plain" && isBare && isOrdinaryKey(text, start, end)) {
          key = "";
          under = "plain";
          continue;
        }
        key = isBare ? text.slice(start + 1, end - 1) : decode(text.slice(start, end));
        const isSecret =
          key === "value" && mode === "parameters" && (secretPair || isNamedSecretAfter(text, i, isSecretKey));
        under = isSecret ? "secret" : modeUnder(mode, key);
        continue;
      }
      const applies = under ?? mode;
      under = null;
      i = end;
      if (applies === "plain" && mode !== "parameters" && !hasHint(start, end)) {
        if (hasUrl(start, end)) maskUrls(text, { from: start + 1, to: end }, rules, hide);
        continue;
      }
      const literal = text.slice(start, end);
      if (mode === "parameters" && (key === "name" || key === "key")) secretPair = isSecretKey(decode(literal));
      const masked = maskString(literal, applies);
      if (masked !== literal) replace(start, end, masked);
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
      } else if (!unsafeNumbers && beginsNumber(c)) unsafeNumbers = isUnsafeNumberAt(text, i, end);
      under = null;
      i = end;
    }
  }
  parts.push(text.slice(copied));
  return { text: parts.join(""), depth, unsafeNumbers };
}

/**
 * Whether a key without escapes cannot mean anything but in parameters: by its first two letters, as in {@link computeMode}, and its
 * last, for `…headers`. Most keys are so, and need not be cut out of the text.
 */
function isOrdinaryKey(text: string, start: number, end: number): boolean {
  if ((text.charCodeAt(end - 2) | 0x20) === 0x73 && (text.charCodeAt(end - 3) | 0x20) === 0x72) return false;
  const first = text.charCodeAt(start + 1) | 0x20;
  const second = text.charCodeAt(start + 2) | 0x20;
  return !FIRST_TWO.has((first << 16) | second);
}

const FIRST_TWO = new Set(
  ["totp", "proxy", "webhook", "parameters", "run_metadata", "navigation_payload"].map(
    (key) => (key.charCodeAt(0) << 16) | key.charCodeAt(1),
  ),
);

/** `name` in escapes, and its quotes. */
const LONGEST_NAME = 26;

/** Whether a value is followed by the name of a secret, as in `{"value":…,"name":"api_key"}`. Looks behind plain values only. */
function isNamedSecretAfter(text: string, from: number, isSecretKey: Rules["isSecretKey"]): boolean {
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

function maskValue(value: string, mode: Mode, rules: Rules): string {
  if (mode === "secret") return /^cred_\w+$/.test(value) ? value : REDACTED;
  if ((mode === "parameters" || mode === "proxy") && /^\s*[{[]/.test(value)) return scan(value, mode, rules).text;
  if (mode === "proxy") value = value.replace(PROXY_CREDENTIALS, `$1${REDACTED}@`);
  if (mode === "webhook") value = maskQuery(value);
  // Half an address, without its host, may be a parameter too.
  if (mode === "parameters" && !value.includes("://"))
    value = edited(value, (hide) => maskPairs(value, { from: 0, to: value.length }, rules, hide));
  if (MAY_HOLD_CREDENTIALS.test(value)) value = value.replace(CREDENTIALS, `$1${REDACTED}`);
  return edited(value, (hide) => maskUrls(value, { from: 0, to: value.length }, rules, hide));
}

/** An `Authorization` header in a text, or the token of one; a word after "bearer" is none unless it holds a digit. */
const CREDENTIALS =
  /\b(authorization["']?\s{0,3}[:=]\s{0,3}["']?(?:(?:bearer|basic|token)\s{1,3})?|(?:bearer|basic)\s{1,3}(?=[\w.~+/-]*\d))[\w.~+/-]{3,}=*/gi;

const MAY_HOLD_CREDENTIALS = /bearer|basic|authorization/i;

/** What a plain string must be decoded and searched for. A backslash may hide anything, a URL's slashes too: `https:\/\/`. */
const HINTS = /\\|bearer|basic|authorization/gi;

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

/** A text in which pieces are hidden, told of from left to right. */
function edited(text: string, edit: (hide: Hide) => void): string {
  let shown = "";
  let copied = 0;
  edit((start, end) => {
    shown += text.slice(copied, start) + REDACTED;
    copied = end;
  });
  return shown + text.slice(copied);
}

type Hide = (start: number, end: number) => void;
interface Part {
  from: number;
  to: number;
}

/** Credentials and the query of each URL in a text: scheme, `://`, authority to the first of `/?#`, and all to a space or quote. */
function maskUrls(text: string, { from, to }: Part, rules: Rules, hide: Hide): void {
  for (let start = from; ;) {
    const colon = nextUrl(text, start);
    if (colon >= to) return;
    const hasScheme = endsScheme(text, colon);
    start = colon + 3;
    if (!hasScheme) continue;
    let at = -1;
    let query = -1;
    let inAuthority = true;
    let end = start;
    for (; end < to; end += 1) {
      const c = text.charCodeAt(end);
      // Letters, most of what there is.
      if (c > 0x40 && c < 0x80) continue;
      if (endsUrl(c)) break;
      if (c === 0x40 && inAuthority) at = end;
      else if (c === 0x2f) inAuthority = false;
      else if (c === 0x3f || c === 0x23) {
        inAuthority = false;
        if (query < 0) query = end;
      }
    }
    if (at >= 0) hide(start, at);
    if (query >= 0) maskPairs(text, { from: query, to: end }, rules, hide);
    start = end;
  }
}

/** Where the next `://` stands; `Infinity`: nowhere. By its slashes, as JSON is full of colons. */
function nextUrl(text: string, from: number): number {
  for (let slashes = text.indexOf("//", from + 1); slashes >= 0; slashes = text.indexOf("//", slashes + 1))
    if (text.charCodeAt(slashes - 1) === 0x3a) return slashes - 1;
  return Infinity;
}

/** Whether a URL's scheme stands before this colon. */
function endsScheme(text: string, colon: number): boolean {
  for (let i = colon - 1; i >= 0 && i >= colon - 31; i -= 1) {
    const c = text.charCodeAt(i);
    const lower = c | 0x20;
    if (lower >= 0x61 && lower <= 0x7a) return true;
    if (!(c >= 0x30 && c <= 0x39) && c !== 0x2b && c !== 0x2d && c !== 0x2e) return false;
  }
  return false;
}

/** Any space, quotes and angle brackets. */
const endsUrl = (c: number): boolean =>
  c === 0x20 ||
  c === 0x22 ||
  c === 0x27 ||
  c === 0x3c ||
  c === 0x3e ||
  (c >= 0x09 && c <= 0x0d) ||
  (c >= 0xa0 && /\s/.test(String.fromCharCode(c)));

/**
 * The values of `name=value` pairs whose name gives access and stands behind `?`, `&`, `#` or `;`. A secret value goes to the next `&`, `#`
 * or `;`. A harmless one may have a query of its own (`?next=/a?token=x`), so the search goes on inside it.
 */
function maskPairs(text: string, { from, to }: Part, { givesAccess }: Rules, hide: Hide): void {
  /** Where what may be a name begins; 0: nowhere. */
  let name = 0;
  for (let i = from; i < to;) {
    const c = text.charCodeAt(i);
    i += 1;
    if (c === 0x3f || endsPair(c)) name = i;
    if (c !== 0x3d || name === 0) continue;
    const isSecret = givesAccess(text.slice(name, i - 1));
    name = 0;
    if (!isSecret) continue;
    const start = i;
    while (i < to && !endsPair(text.charCodeAt(i))) i += 1;
    if (i > start) hide(start, i);
  }
}

const endsPair = (c: number): boolean => c === 0x26 || c === 0x23 || c === 0x3b;
