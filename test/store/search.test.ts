import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isJsonObject, isRawNumber, parseJson, type Json } from "../../src/platform/json.ts";
import { indexedText, buildMatch, readSearch } from "../../src/store/search/search.ts";
import { toWords } from "../../src/store/search/text-words.ts";
import { aRun } from "../support/a-run.ts";
import { ANY_CHARACTER } from "../support/any-character.ts";

describe("typed searches", () => {
  const term = (...words: string[]) => ({ words, prefix: false });

  it.each([
    ["invoice", [term("invoice")]],
    ["  two   words ", [term("two"), term("words")]],
    ['"a phrase" and', [term("a", "phrase"), term("and")]],
    ['"never closed', [term("never", "closed")]],
    ["INV-2026-0042", [term("inv", "2026", "0042")]],
    ["1e-07 -5.50", [term("1e", "07"), term("5", "50")]],
    ["inv*", [{ words: ["inv"], prefix: true }]],
    ["tsk_v2_565*", [{ words: ["tsk", "v2", "565"], prefix: true }]],
    ["Kaf*fee", [term("kaf", "fee")]],
    ["Żół*", [{ words: ["zoł"], prefix: true }]],
    ["счёт*", [{ words: ["счет"], prefix: true }]],
    ["東京都", [term("東", "京", "都")]],
    ["東京* 第2024*", [term("東", "京"), { words: ["第", "2024"], prefix: true }]],
    ['a"b', [term("a"), term("b")]],
    ["- & 🎉 x", [term("x")]],
    ["a\0b \uE000c", [term("a", "b"), term("c")]],
  ])("the typed search %j is read as its terms, and all else is text", (typed, terms) => {
    expect(readSearch(typed)).toEqual(terms);
  });

  it.each([
    ["", /no letter or digit/],
    ["   ", /no letter or digit/],
    ['""', /no letter or digit/],
    ["*", /no letter or digit/],
    ["-- ' ( ) : ^ + 🎉", /no letter or digit/],
    ["\uE000 \u{F0000}", /no letter or digit/],
    ["in*", /at least 3/],
    ["INV-20*", /at least 3/],
    ["invoice-*", /at least 3/],
    ["e\u0301e\u0301*", /at least 3/],
    ["a b c d e f g h i j k", /more than 10 terms/],
    ["one* two* three*", /more than 2 terms/],
    ["a-b-c-d-e-f-g-h-i-j-klm*", /more than 10 words/],
  ])("the typed search %j is refused, and the reason says why", (typed, reason) => {
    expect(readSearch(typed)).toMatch(reason);
  });

  it("a typed search never reaches SQLite as anything but quoted text", () => {
    fc.assert(
      fc.property(fc.string({ unit: ANY_CHARACTER, maxLength: 60 }), (typed) => {
        const search = readSearch(typed);
        if (typeof search === "string") return;
        const match = buildMatch({ search }, new Map(search.map((term) => [term, [term.words.at(-1) ?? ""]]))) ?? "";
        // What stands outside of the quotes is ours.
        expect(match.replaceAll(/"[^"]+"/g, "")).toMatch(/^( AND |[()])*$/);
        expect(match).not.toMatch(/[\0\uE000-\uF8FF]/);
      }),
    );
  });
});

describe("the search text", () => {
  /** Without the marks: each text by itself. */
  const textsOf = (indexed: string) =>
    indexed
      .slice(indexed.indexOf("\n") + 1)
      .split(/\n[\uE100-\uF8FF]\n/)
      .filter((text) => text !== "");

  it("the search text has ids, title, prompt, summary, failure and output of a run, numbers digit for digit", () => {
    const text = indexedText(
      aRun({
        run_id: "tsk_9",
        workflow: { run_id: "wr_9", permanent_id: "wpid_9", id: "w_9", title: "T" },
        title: "Title",
        prompt: "Prompt",
        summary: "Summary",
        failure: { reason: "Reason", codes: ["CODE"], categories: ["CATEGORY"], errors: [{ message: "Error" }] },
        output: parseJson('{"order":[{"number":12345678901234567890,"sum":1.50,"paid":true,"left":null}]}'),
      }),
    );
    expect(textsOf(text)).toEqual(
      [
        "tsk_9 wr_9 wpid_9 Title Prompt Summary Reason CODE CATEGORY message\nError",
        "order number\n12345678901234567890 sum\n1.50 paid left",
      ].flatMap((line) => line.split(" ")),
    );
  });

  it("the search text has the words of every key, text and number of an output in order, a key beside its value", () => {
    const isText = (value: Json | undefined) =>
      typeof value === "string" || typeof value === "number" || isRawNumber(value);
    const piecesOf = (value: Json): string[] => {
      if (typeof value === "string") return [value];
      if (typeof value === "number") return [String(value)];
      if (isRawNumber(value)) return [value.rawJSON];
      if (Array.isArray(value)) return value.flatMap(piecesOf);
      if (!isJsonObject(value)) return [];
      return Object.entries(value).flatMap(([key, inside]) => {
        const [first = "", ...others] = piecesOf(inside);
        return isText(inside) ? [`${key} ${first}`, ...others] : [key, ...piecesOf(inside)];
      });
    };
    const split = (text: string) => text.match(/[a-z0-9\u0080-\u{10FFFF}]+/gu) ?? [];
    const words = (texts: string[]) => texts.map(toWords).filter((found) => found.length > 0);
    const text = fc.oneof(
      fc.string({ unit: ANY_CHARACTER, maxLength: 5 }),
      fc.constantFrom("\0", "\uE000", "\uD83D", "é", "1.0"),
    );
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "medium" },
        text,
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        fc.constantFrom(null, true),
        fc.constant(JSON.rawJSON("1.50")),
        fc.array(tie("value")),
        fc.dictionary(text, tie("value")),
      ),
    })).value as fc.Arbitrary<Json>;
    fc.assert(
      fc.property(json, (output) => {
        const found = textsOf(indexedText(aRun({ output })).toLowerCase());
        expect(
          found
            .slice(1)
            .map(split)
            .filter((text) => text.length > 0),
        ).toEqual(words(piecesOf(output).flatMap((piece) => piece.split("\0"))));
      }),
      { numRuns: 1000 },
    );
  });

  it("the search text begins with marks of six columns, which never change, as they are on disk", () => {
    const run = aRun({ status: "failed", channel: "a", title: "A title", organization_id: "o_1", workflow: null });
    const title = createHash("sha256").update("workflow\0A title").digest("hex").slice(0, 12);
    const marks = ["sfailed", "ttask\uE002v1", title, "oo\uE0021", "ca", "rwebhook"];
    const begun = marks.map((mark) => `${mark === title ? "\uE000" : "\uE003"}${mark}`);
    expect(indexedText(run).split("\n")[0]).toBe(begun.join(" "));
  });

  it("the search text is cut, so that a huge output costs no more than a large one", () => {
    const output = Array.from({ length: 5_000 }, (_none, i) => ({ [`key ${i}`]: "x".repeat(1_000) }));
    expect(indexedText(aRun({ output })).length).toBeLessThan(33_000);
  });

  it.each(["word ", "東京", "é ", "longe\u0301 ", "a"])(
    "the search text is cut between words, so that a cut text of %j has no other word",
    (piece) => {
      const text = textsOf(indexedText(aRun({ prompt: `a${piece.repeat(40_000)}` })))[1] ?? "";
      expect(new Set(toWords(text))).toEqual(new Set(piece === "a" ? [] : toWords(`a${piece.repeat(2)}`)));
      expect(text.length).toBeGreaterThan(piece === "a" ? -1 : 25_000);
    },
  );

  it("the search text has no more words than PostgreSQL has positions, whatever the output is", () => {
    for (const item of [1, "a", "東", "東京", "é"]) {
      const text = indexedText(aRun({ output: Array.from({ length: 40_000 }, () => item) }));
      expect(text.split(/[ \n]+/).length).toBeLessThan(16_383);
    }
  });

  it("the search text has no mark that a run's text made up", () => {
    const mark = indexedText(aRun()).split(/[ \n]/)[0] ?? "";
    expect(mark).toBe("\uE003scompleted");
    const digest = indexedText(aRun({ title: "A title" })).match(/\uE000[0-9a-f]{12}/)?.[0] ?? "";
    const texts = textsOf(indexedText(aRun({ prompt: `see ${mark} and ${digest}` }))).join("");
    expect(texts).not.toMatch(/[\uE000\uE002\uE003]/);
  });
});

describe("the plan of a filter", () => {
  it.each([
    [{}, null],
    [{ since: 1, until: 2 }, null],
  ])("the filter %j needs no more than the index of runs by time", (filter, match) => {
    expect(buildMatch(filter)).toBe(match);
  });

  it.each([
    { status: ["failed"] },
    { channel: ["a"], since: 1 },
    { status: ["failed", "terminated"] },
    { status: ["failed"], channel: ["a"] },
    { workflow: ["wpid_1"] },
    { source: ["webhook"] },
    { search: [{ words: ["x"], prefix: false }] },
  ])("the filter %j is asked of the full-text index", (filter) => {
    expect(buildMatch(filter)).not.toBeNull();
  });
});
