/**
 * What a search must answer, by looking at every text of every run. It shares nothing with the search but the meaning:
 * words are compared by Intl.Collator, which knows letters and their accents from Unicode's collation, and characters
 * of scripts without spaces by their code points.
 */
import { isJsonObject, isRawNumber, type Json } from "../../src/platform/json.ts";
import type { Run } from "../../src/domain/run.ts";
import type { Question } from "./search-corpus.ts";

/** Thai to Tibetan, Myanmar, Khmer, Japanese, Chinese, Korean; by blocks, and rare Han by planes. */
const CHARACTER = String.raw`[\u0E00-\u0EFF\u1000-\u109F\u1780-\u17FF\u3005-\u30FF\u3400-\u9FFF\uAC00-\uD7AF\uFF66-\uFF9F\u{20000}-\u{3FFFF}]`;
const PIECE = new RegExp(String.raw`${CHARACTER}|(?:(?!${CHARACTER})[\p{Alphabetic}\p{M}\p{Nd}])+`, "gu");
const IS_CHARACTER = new RegExp(`^${CHARACTER}$`, "u");
const IS_ASCII = /^[\0-\x7F]*$/;
const base = new Intl.Collator("und", { sensitivity: "base" });

/** Pieces of a text: words, and characters that are words. In capitals, ı is i. */
const piecesOf = (text: string): string[] => text.normalize("NFC").replaceAll("ı", "i").match(PIECE) ?? [];

const isEqual = (one: string, other: string): boolean => {
  if (IS_ASCII.test(one) && IS_ASCII.test(other)) return one.toLowerCase() === other.toLowerCase();
  return IS_CHARACTER.test(one) || IS_CHARACTER.test(other) ? one === other : base.compare(one, other) === 0;
};
const isBeginning = (word: string, beginning: string): boolean => {
  if (IS_ASCII.test(word) && IS_ASCII.test(beginning)) return word.toLowerCase().startsWith(beginning.toLowerCase());
  const letters = Array.from(word);
  return letters.some((_letter, i) => base.compare(letters.slice(0, i + 1).join(""), beginning) === 0);
};

function textsOf(run: Run): string[] {
  const inJson = (value: Json): string[] => {
    if (typeof value === "string") return [value];
    if (typeof value === "number") return [`${value}`];
    if (isRawNumber(value)) return [value.rawJSON];
    if (Array.isArray(value)) return value.flatMap(inJson);
    if (!isJsonObject(value)) return [];
    return Object.entries(value).flatMap(([key, inside]) =>
      typeof inside === "object" && !isRawNumber(inside)
        ? [key, ...inJson(inside)]
        : [[key, ...inJson(inside)].join(" ")],
    );
  };
  const { run_id, workflow, title, prompt, summary, failure, output } = run;
  const names = [run_id, workflow?.run_id, workflow?.permanent_id, title, prompt, summary, failure?.reason];
  return [
    ...names.filter((text) => typeof text === "string"),
    ...(failure?.codes ?? []),
    ...(failure?.categories ?? []),
    ...inJson(failure?.errors ?? null),
    ...inJson(output),
  ];
}

export interface Scan {
  /** Ids of the runs, newest first. */
  ids: string[];
  /** How many words the widest of its terms may mean. */
  breadth: number;
}

export function scanner(runs: readonly Run[]): (question: Question) => Scan {
  /** Every piece there is, and texts as numbers of theirs. */
  const pieces = new Map<string, number>();
  const numberOf = (piece: string): number => {
    if (!pieces.has(piece)) pieces.set(piece, pieces.size);
    return pieces.get(piece) ?? 0;
  };
  const texts = runs.map((run) => textsOf(run).map((text) => piecesOf(text).map(numberOf)));
  const known = new Map<string, Uint8Array>();
  /** Which of all pieces fit. */
  const fitting = (piece: string, prefix: boolean): Uint8Array => {
    const name = `${piece}${prefix ? "*" : ""}`;
    const before = known.get(name);
    if (before) return before;
    const fits = Uint8Array.from(pieces.keys(), (one) =>
      Number(prefix ? isBeginning(one, piece) : isEqual(one, piece)),
    );
    known.set(name, fits);
    return fits;
  };
  const has = (text: number[], term: Uint8Array[]): boolean =>
    text.some((_piece, at) => term.every((fits, i) => fits[text[at + i] ?? -1] === 1));
  const fits = (run: Run, { filter }: Question): boolean => {
    const { status, channel, workflow, since = 0, until = Infinity } = filter;
    const names = new Set([run.workflow?.permanent_id, run.title]);
    return (
      (status?.includes(run.status) ?? true) &&
      (channel?.includes(run.channel ?? "") ?? true) &&
      (workflow?.some((one) => names.has(one)) ?? true) &&
      run.received_at >= since &&
      run.received_at < until
    );
  };
  const differing = (fits: Uint8Array): number => {
    const words = [...pieces.keys()].filter((_piece, i) => fits[i] === 1).toSorted(base.compare);
    return words.filter((word, i) => i === 0 || !isEqual(word, words[i - 1] ?? "")).length;
  };
  return (question) => {
    const terms = (question.q.match(/"[^"]*"|\S+/g) ?? []).map((term) => {
      const found = piecesOf(term);
      // What follows a character is not its ending.
      const prefix = term.endsWith("*") && !IS_CHARACTER.test(found.at(-1) ?? "");
      return { prefix, each: found.map((piece, i) => fitting(piece, prefix && i === found.length - 1)) };
    });
    const breadths = terms.filter(({ prefix }) => prefix).map(({ each }) => differing(each.at(-1) ?? new Uint8Array()));
    const found = runs.filter(
      (run, i) => fits(run, question) && terms.every(({ each }) => texts[i]?.some((text) => has(text, each))),
    );
    return { ids: found.map(({ run_id }) => run_id).toReversed(), breadth: Math.max(0, ...breadths) };
  };
}
