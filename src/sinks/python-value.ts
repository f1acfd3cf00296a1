/** A value as Python prints it (`{'error': None}`): Skyvern writes a server's JSON so into a reason. Pure. */
import { parseJson, type Json } from "../platform/json.ts";

/** Of longer texts nothing is read; this also limits how deep a hostile value nests. */
const MAX_READ = 4_000;

const TOKEN = /\s*(?:(["'])((?:(?!\1)[^\\]|\\.)*)\1|(True|False|None)\b|(-?\d[\d.e+-]*|[{}[\],:]))\s*/sy;
const WORDS = new Map([
  ["True", "true"],
  ["False", "false"],
  ["None", "null"],
]);

/** Undefined for a text that is no such value. */
export function parsePython(text: string): Json | undefined {
  if (text.length > MAX_READ) return undefined;
  const json: string[] = [];
  for (TOKEN.lastIndex = 0; TOKEN.lastIndex < text.length;) {
    const [whole, , string, word, other = ""] = TOKEN.exec(text) ?? [];
    if (whole === undefined) return undefined;
    json.push(string === undefined ? ((word && WORDS.get(word)) ?? other) : JSON.stringify(unescape(string)));
  }
  try {
    return parseJson(json.join(""));
  } catch {
    return undefined;
  }
}

const ESCAPES = new Map([
  ["n", "\n"],
  ["r", "\r"],
  ["t", "\t"],
]);

const unescape = (text: string): string =>
  text.replace(
    /\\(?:x([\da-f]{2})|u([\da-f]{4})|U([\da-f]{8})|(.))/gs,
    (_, x?: string, u?: string, U?: string, one = "") => {
      const code = Number.parseInt(x ?? u ?? U ?? "", 16);
      if (Number.isNaN(code)) return ESCAPES.get(one) ?? one;
      return code > 0x10ffff ? "" : String.fromCodePoint(code).toWellFormed();
    },
  );
