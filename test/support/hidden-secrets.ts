/**
 * Hides secrets as payloads do: in random forms, under random names, in up to three random wrappings, in random places.
 * It shares no list and no code with the mask.
 */

/** Mulberry32: the same numbers for the same seed. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const NAMES = ["password", "api_key", "apiKey", "access_token", "client_secret", "X-Api-Key", "pwd", "passphrase"];
NAMES.push("refresh_token", "iban", "otp", "auth_token");

const FORMS: ((name: string, secret: string) => string)[] = [
  (n, s) => `see https://h.example/p?page=2&${n}=${s}&x=1 now`,
  (n, s) => `https://h.example/?${n}=${s}`,
  (n, s) => `https://h.example/#${n}=${s}`,
  (n, s) => `${n}=${s}&user=bob`,
  (n, s) => `user=bob&${n}=${s}`,
  (n, s) => `the ${n}: ${s}, then go on`,
  (n, s) => `got {"${n}":"${s}","a":1} back`,
  (n, s) => `{'${n}': '${s}'}`,
  (_n, s) => `https://bob:${s}@h.example/x`,
  (n, s) => `run --${n} ${s} --quiet`,
  (_n, s) => `Authorization: Bearer ${s}`,
  (_n, s) => `Authorization: Basic ${s}`,
  (_n, s) => `Authorization: Custom-Scheme ${s}`,
  (_n, s) => `Authorization: Digest username="bob", response="${s}"`,
  (_n, s) => `Cookie: sid=${s}; theme=dark`,
  (n, s) => `/p;${n}=${s}?a=1`,
  (_n, s) => `curl -H 'X-Api-Key: ${s}' https://h.example`,
  (n, s) => `const ${n.replaceAll("-", "_")} = "${s}";`,
  (n, s) => `the ${n} is ${s}, then go on`,
  (n, s) => `${n} for the portal: ${s}`,
  (n, s) => `**${n}**: ${s}`,
  (n, s) => `${n}:\n\n${s}`,
  (n, s) => `Your new ${n}\n${s}\nCopy`,
  (n, s) => `${n}\t${s}`,
  (n, s) => `user\t${n}\trole\nbob\t${s}\tadmin`,
  (n, s) => `id,user,${n}\n1,bob,${s}`,
  (n, s) => `| ${n} | ${s} |`,
  (n, s) => `| User | ${n} |\n|---|---|\n| bob | ${s} |`,
  (n, s) => `<tr><td>${n}</td><td>${s}</td></tr>`,
  (n, s) => `<table><tr><th>User</th><th>${n}</th></tr>\n<tr><td>bob</td><td>${s}</td></tr></table>`,
  (n, s) => `<dt>${n}</dt>\n<dd>${s}</dd>`,
  (n, s) => `<label>${n}</label> <input value="${s}">`,
];

const each = (text: string, write: (code: string) => string): string =>
  Array.from(text, (c) => write(c.charCodeAt(0).toString(16).padStart(2, "0"))).join("");

const WRAPPINGS: ((text: string) => string)[] = [
  (text) => encodeURIComponent(text),
  (text) => `https://r.example/?next=${encodeURIComponent(text)}`,
  (text) => (text.length > 400 ? text : each(text, (code) => `%${code}`)),
  (text) => (text.length > 400 ? text : each(text, (code) => `\\u00${code}`)),
  (text) => text.replaceAll("&", "&amp;").replaceAll('"', "&quot;").replaceAll("<", "&lt;"),
  (text) => text.replace(/[^A-Za-z0-9 ]/g, (c) => `&#${c.charCodeAt(0)};`),
  (text) => JSON.stringify(text),
  (text) => JSON.stringify({ note: text }),
  (text) => text.replaceAll("/", "\\/"),
];

const PLACES: ((text: string) => string)[] = [
  (text) => JSON.stringify({ run_id: "wr_1", output: { a: [{ b: text }] } }),
  (text) => JSON.stringify({ output: { [text]: 1 } }),
  (text) => JSON.stringify({ failure_reason: text }),
  (text) => JSON.stringify({ parameters: { note: text } }),
  (text) => JSON.stringify({ inner: JSON.stringify({ text }) }),
  (text) => `oops ${text}`,
  (text) => JSON.stringify({ a: 1, b: text }).slice(0, -1),
];

/** What every hidden secret begins with. Nothing else holds it. */
export const SECRET_MARK = "Zq7";
const LETTERS = Array.from("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789");

export interface Hidden {
  secret: string;
  /** A text that holds it. */
  text: string;
}

/** The same secrets for the same seed. */
export class Hider {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = numbers(seed);
  }

  hide(): Hidden {
    const secret = `${SECRET_MARK}${Array.from({ length: 9 + this.#below(12) }, () => this.#pick(LETTERS)).join("")}`;
    let text = this.#pick(FORMS)(this.#pick(NAMES), secret);
    for (let layers = this.#below(4); layers > 0; layers -= 1) text = this.#pick(WRAPPINGS)(text);
    return { secret, text };
  }

  /** A body with the text somewhere in it; it need not be JSON. */
  place(text: string): string {
    return this.#pick(PLACES)(text);
  }

  #below(n: number): number {
    return Math.floor(this.#next() * n);
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }
}

/** A text without the wrappings that spell every character, so that a secret shows that is in it. */
export function spellOut(text: string): string {
  let plain = text;
  for (let round = 0; round < 9; round += 1) {
    plain = plain.replace(/%([0-9a-f]{2})|\\+u00([0-9a-f]{2})/gi, (_all, a?: string, b?: string) =>
      String.fromCharCode(Number.parseInt(a ?? b ?? "", 16)),
    );
  }
  return plain;
}
