/**
 * P6 against secrets that a generator hides: in random forms, under random names, in up to three random wrappings, in
 * random places. It shares no list and no code with the mask.
 */
import { describe, expect, it } from "vitest";
import { createRedact } from "../../src/skyvern/redact.ts";

const redact = createRedact(["iban"]);

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

/** Alphanumeric secrets are spelt differently by the two wrappings of every character only. */
function spelledOut(text: string): string {
  let plain = text;
  for (let round = 0; round < 9; round += 1) {
    plain = plain.replace(/%([0-9a-f]{2})|\\+u00([0-9a-f]{2})/gi, (_all, a?: string, b?: string) =>
      String.fromCharCode(Number.parseInt(a ?? b ?? "", 16)),
    );
  }
  return plain;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("of 10,000 secrets that a generator hides", () => {
  const next = numbers(20_261_128);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(next() * list.length)] as T;
  const LETTERS = Array.from("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789");

  it("none is left, what is JSON stays JSON, and masking again changes nothing", () => {
    const left: string[] = [];
    const broken: string[] = [];
    const changed: string[] = [];
    for (let n = 0; n < 10_000; n += 1) {
      const secret = `Zq7${Array.from({ length: 9 + Math.floor(next() * 12) }, () => pick(LETTERS)).join("")}`;
      let text = pick(FORMS)(pick(NAMES), secret);
      for (let layers = Math.floor(next() * 4); layers > 0; layers -= 1) text = pick(WRAPPINGS)(text);
      const body = pick(PLACES)(text);
      const masked = redact(body).text;
      if (spelledOut(masked).includes(secret)) left.push(`${body} => ${masked}`);
      if (isJson(body) && !isJson(masked)) broken.push(`${body} => ${masked}`);
      if (redact(masked).text !== masked) changed.push(masked);
    }
    expect({ left, broken, changed }).toEqual({ left: [], broken: [], changed: [] });
  }, 60_000);
});
