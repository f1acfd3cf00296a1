/** Judges by its form whether a value is a secret, where its name alone does not settle it. */
import { Named } from "./secret-names.ts";

/**
 * Whether a value that stands under a secret's name looks like a secret and not like a word, a number, a date or code.
 * @param weak under the name of a password, where letters and a single digit do
 */
export function looksSecret(value: string, weak: boolean): boolean {
  const text =
    value.length > MOST_LOOKED_AT ? value.slice(0, MOST_LOOKED_AT) : value.replace(/^\*{1,2}|[),.;:!?\]}*]+$/g, "");
  if (text.length < (weak ? 4 : 6) || /\s/.test(text) || text.includes("[redacted]")) return false;
  if (
    PLACEHOLDER.test(text) ||
    SKYVERN_ID.test(text) ||
    TERM.test(text) ||
    CALL.test(text) ||
    AMOUNT.test(text) ||
    PLACE.test(text)
  )
    return false;
  const hasLetter = /\p{L}/u.test(text);
  const hasDigit = /\d/.test(text);
  if (!hasLetter) return false;
  if (hasDigit) return weak || text.length >= 8 || /\d[a-z]|[A-Z].*[a-z]|[a-z].*[A-Z]/.test(text);
  if (weak)
    return (
      /[!$^*+%&?~|@#]/.test(text) ||
      (text.length >= 16 && /[-_.]/.test(text)) ||
      /[A-Z][a-z]+[A-Z].*[a-z][A-Z]/.test(text)
    );
  return text.length >= 20 && /[A-Z]/.test(text) && /[a-z]/.test(text) && /[+/=]/.test(text);
}

const MOST_LOOKED_AT = 500;

/** Whether it may be a one-time code. */
export const isCode = (value: string): boolean => /^(?:\d{4,8}|\d{3}[ -]\d{3,4})$/.test(value);

/** How much of a value is examined to judge it. */
export const MOST_JUDGED = 500;

/** Whether it is a secret under a name of these flags. */
export const isSecretValue = (value: string, flags: number): boolean =>
  looksSecret(value, (flags & Named.password) !== 0) || ((flags & Named.code) !== 0 && isCode(value));

/** Whether something only stands for a secret. */
export const isPlaceholder = (value: string): boolean => PLACEHOLDER.test(value);
/** `{{ token }}` */
export const TEMPLATE = /\{\{\s*[\w.]+\s*\}\}/y;
/** Whether it is a URL, a path or a file. */
export const namesPlace = (value: string): boolean => PLACE.test(value) || DOTFILE.test(value);

/** `{{ token }}`, `${TOKEN}`, `$TOKEN`, `<token>`, `%s`, `****`, `xoxb-…` */
const PLACEHOLDER =
  /^(?:\{\{|.*\$\{|\{[%\w]*\}|\$[A-Za-z_]+$|<|%[a-z]$|[*•.x]{3,}$|true$|false$|null$|none$|[\w.-]*…$)/i;

/** Ids give no access by themselves. */
const SKYVERN_ID = /^[a-z]{1,4}_(?:v2_|sched_)?(?:\d{15,}|[0-9a-f]{32})$|^cred_\w+$/;

/** Names of algorithms, formats and versions. */
const TERM =
  /^(?:(?:sha|md|aes|rsa|ecdsa|base|utf|oauth|iso|rs|hs|es|ps|x|tls|ssl|http\/?|ipv|v|h|oidc|saml|fido|u2f|p|argon|pbkdf|[bs]crypt|ed|ascii|mp|s|f)[-_]?\d[\d.+/-]*(?:[-_/](?:gcm|cbc|sha|hmac|pss|bit)\d*)*(?:sum|url|-(?:encoded|hashed|encrypted|signed|based))?|hmac-?sha\d+|\d+(?:st|nd|rd|th))$/i;

/** Code: `get_token2(…`, `tokens[0…`, `config.token1`. */
const CALL =
  /^\/.*[|([\\^]|^[a-z_]\w*(?:\.[a-z_]{3,})+$|^[A-Za-z_$][\w$.]*[([]|^(?:process|os|env|config|self|this|request|response|req|res|data|ctx|context|options|args|params|secrets|vars|settings|credentials|session|user|event|props|state|row|item|github|inputs)\.[\w$.]+$/;

/** `8-20`, `30min`, `16-digit`, `2026-01-20T12:00:31`, `0.1e5`, `4,096`, `12:30` */
const AMOUNT =
  /^[\d.,:+/~<>=€$£%-]*(?:[a-zµ°]{1,8}|-?(?:digits?|characters?|chars?|words?|letters?|minutes?|hours?|days?|bits?|bytes?|tokens?))?$|^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-][\d:]+)?)?$/i;

/** A URL, a path, a file, an element of a page. */
const PLACE =
  /:\/\/|^#[a-z][a-z_-]*$|^\.{0,2}\/[\w.-]+(?:\/|$)|\.(?:pdf|csv|json|txt|png|jpe?g|html?|js|ts|py|ya?ml|xml|zip|docx?|xlsx?|md)(?::[\d:-]{1,20})?$/i;

/** `.env` */
const DOTFILE = /^\.[a-z][\w.-]*$/;

/** Tokens that are secret under any name. */
export const SECRET_FORMS =
  /(?<![\w-])eyJ[\w-]{8,}\.[\w-]{4,}(?:\.[\w-]*)?|(?=[srgxAwnS])(?<![A-Za-z0-9])(?:(?:sk|rk)_(?:live|test)_\w{8,}|sk-[\w-]{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|xox[abeoprs]-(?=[\w-]*\d)[\w-]{8,}|A[KS]IA[0-9A-Z]{16}(?![0-9A-Za-z])|AIza[\w-]{30,}|whsec_[\w+/=]{8,}|glpat-[\w-]{16,}|npm_\w{30,}|SG\.[\w-]{16,}\.[\w-]{16,})|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}PRIVATE KEY-----)?/g;

/** The source of an expression for one character of each of these. */
export const SECRET_FORMS_HINT = [
  String.raw`_(?<=(?<![A-Za-z0-9])(?:[sr]k|gh[pousr]|github_pat|whsec|npm)_)`,
  String.raw`-(?<=(?<![A-Za-z0-9])(?:sk|xox[abeoprs]|glpat)-)`,
  "-(?=----BEGIN )",
  String.raw`\.(?<=SG\.)`,
  "J(?<=eyJ)",
  "I(?=(?<=A[KS]I)A|(?<=AI)za)",
].join("|");
