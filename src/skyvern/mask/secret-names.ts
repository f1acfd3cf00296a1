/** The names whose values are secrets: the mask's list, as data. `redact.keys` of relay.yaml adds to it. */

/** What a name means for its value. Several may apply. */
export const Named = {
  /** A secret: always among parameters, elsewhere where the value looks like one. */
  secret: 1,
  /** A password: nothing else has such a name, so a weaker look of the value is enough. */
  password: 2,
  /** Gives access when it is in the query of a URL. */
  query: 4,
  /** A set of HTTP headers. */
  headers: 8,
  /** `Authorization`: a scheme and then a secret. */
  authorization: 16,
  /** `Cookie`: pairs, each of them a secret. */
  cookie: 32,
  /** A one-time code, which has digits alone. */
  code: 64,
} as const;

/** Unmistakable anywhere inside a name, once its separators are gone. Sources of expressions. */
const STEMS = [
  "passw",
  "passphrase",
  "passcode",
  "secret",
  "token(?!i[sz])",
  "apikey",
  "accesskey",
  "privatekey",
  "sshkey",
  "signingkey",
  "encryptionkey",
  "masterkey",
  "licensekey",
  "authorization",
  "cookie",
  "bearer",
  "credential",
  "(?:security|verification|authentication|access|login|signin|recovery|backup)code",
  "onetime(?:code|pass|pin|token|key|link|url|$)",
  "cardnumber",
  "creditcard",
  "securityanswer",
  "sessionid",
  "sessionkey",
  "2fa(?!il)",
  "userkey",
  "clientkey",
  "accountkey",
  "appkey",
  "authkey",
  "loginkey",
  "servicekey",
  "customerkey",
];

/** Secret only as a whole word: `pin`, but not `shipping`. */
const WORDS = [
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
];

/** Endings of names that are about a secret without holding one, and counted `tokens`. */
const ABOUT_SECRETS =
  /_(?:file|path|dir|count|type|limit|length|policy|usage|ttl|expiry|expiration|expires(?:_(?:in|at))?|required|enabled|consent|algorithm|field|selector|strength|status|reset|incorrect|invalid|wrong|missing|failed|failure|error|changed|page|settings)_$|_(?:max|min|total|num|prompt|completion|input|output|cached|reasoning|used|context)_tokens_$/;

/** Names of query parameters that give access, besides the secret ones. */
const QUERY_NAMES =
  /^(key|code|hash|awsaccesskeyid|googleaccessid|x-(amz|goog)-(credential|signature|security-token))$/i;

/** A file of code or of a page, and no name. */
const FILE = /\.(?:py|[jt]sx?|json|html?|md|png|log)$/;

/** Names of one-time codes: of a word, and joined. */
const CODE_WORD = /_t?otp_/;
const CODES = /onetime|(?:security|verification|authentication|access|login|signin|pass)code|2fa(?!il)|mfa/;

const PASSWORDS = /passw|passphrase|passcode|pwd|secret/;

/** The flags of {@link Named} for a name in any spelling. */
export type ReadName = (name: string) => number;

/** @param extraKeys additional names, matched as whole words of a name. */
export function createReadName(extraKeys: readonly string[]): ReadName {
  const extra = extraKeys.map(splitName).map((words) => ({ words, joined: words.replaceAll("_", "") }));
  const stems = new RegExp(STEMS.join("|"));
  const singles = new RegExp(`_(?:${WORDS.join("|")})_`);
  return memoize((name) => {
    if (FILE.test(name)) return 0;
    const words = splitName(name);
    const joined = words.replaceAll("_", "");
    let flags = QUERY_NAMES.test(name) ? Named.query : 0;
    const isExtra = extra.some((item) => words.includes(item.words) || joined === item.joined);
    if (isExtra || ((stems.test(joined) || singles.test(words)) && !ABOUT_SECRETS.test(words))) flags |= Named.secret;
    if ((flags & Named.secret) !== 0 && (isExtra || PASSWORDS.test(joined))) flags |= Named.password;
    if ((flags & Named.secret) !== 0 && (CODE_WORD.test(words) || CODES.test(joined))) flags |= Named.code;
    if (words.endsWith("_headers_") || /(http|connect|request|response)headers$/.test(joined)) flags |= Named.headers;
    if (joined.endsWith("authorization")) flags |= Named.authorization;
    if (joined === "cookie" || joined === "setcookie" || joined === "cookies") flags |= Named.cookie;
    return flags;
  });
}

/**
 * Remembers what a function said of short names. Names are few and come again and again; hostile ones push them out.
 */
export function memoize<T extends object | number>(read: (name: string) => T): (name: string) => T {
  const remembered = new Map<string, T>();
  return (name) => {
    if (name.length > LONGEST_REMEMBERED) return read(name);
    let said = remembered.get(name);
    if (said === undefined) {
      said = read(name);
      if (remembered.size >= MOST_REMEMBERED) remembered.clear();
      // A slice of a body would keep the whole body in memory.
      remembered.set(` ${name}`.slice(1), said);
    }
    return said;
  };
}

const MOST_REMEMBERED = 2_000;
const LONGEST_REMEMBERED = 64;

/** `portalAPIKey2` → `_portal_api_key2_` */
const splitName = (name: string): string =>
  `_${(
    name
      .slice(0, 200)
      .replace(WORD_BEGINS, "_")
      .toLowerCase()
      .match(/[\p{L}\p{N}]+/gu) ?? []
  ).join("_")}_`;

const WORD_BEGINS = /(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g;
