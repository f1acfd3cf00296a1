import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isJsonObject, isRawNumber, parseJson, type Json } from "../../src/json.ts";
import { indexedText, matchOf, readSearch } from "../../src/store/search.ts";
import { aRun } from "./a-run.ts";

describe("what was typed", () => {
  const word = (text: string) => ({ text, prefix: false });

  it.each([
    ["invoice", [word("invoice")]],
    ["  two   words ", [word("two"), word("words")]],
    ['"a phrase" and', [word("a phrase"), word("and")]],
    ['"never closed', [word("never closed")]],
    ["INV-2026-0042", [word("INV-2026-0042")]],
    ["1e-07 -5.50", [word("1e-07"), word("-5.50")]],
    ["inv*", [{ text: "inv", prefix: true }]],
    ["tsk_v2_565*", [{ text: "tsk_v2_565", prefix: true }]],
    ["Kaf*fee", [word("Kaf*fee")]],
    ["żół*", [{ text: "żół", prefix: true }]],
    ['a"b', [word("a"), word("b")]],
    ["- & 🎉 x", [word("x")]],
  ])("%j is read as its terms, all else is text", (typed, terms) => {
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
    ["a b c d e f g h i j k", /more than 10 terms/],
    ["one* two* three*", /more than 2 terms/],
  ])("%j is refused, and the reason says why", (typed, reason) => {
    expect(readSearch(typed)).toMatch(reason);
  });

  it("never reaches SQLite as anything but quoted text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (typed) => {
        const search = readSearch(typed);
        if (typeof search === "string") return;
        const match = matchOf({ search }) ?? "";
        // What stands outside of the quotes is ours.
        expect(match.replaceAll(/"(?:[^"]|"")*"/g, "")).toMatch(/^( AND | \*)*$/);
        expect(match).not.toMatch(/\0|\p{Co}/u);
      }),
    );
  });
});

describe("what can be found", () => {
  const wordsOf = (text: string) => text.slice(text.indexOf("\n") + 1);

  it("is the ids, title, prompt, summary, failure and output of a run, numbers digit for digit", () => {
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
    expect(wordsOf(text).split("\n")).toEqual(
      [
        "tsk_9 wr_9 wpid_9 Title Prompt Summary Reason CODE CATEGORY message Error",
        "order number 12345678901234567890 sum 1.50 paid left",
      ].flatMap((line) => line.split(" ")),
    );
  });

  it("is every key, text and number of an output in its order, without NUL, halves of pairs and private use, whatever it holds", () => {
    const piecesOf = (value: Json): string[] => {
      if (typeof value === "string") return [value];
      if (typeof value === "number") return [String(value)];
      if (isRawNumber(value)) return [value.rawJSON];
      if (Array.isArray(value)) return value.flatMap(piecesOf);
      return isJsonObject(value) ? Object.entries(value).flatMap(([key, inside]) => [key, ...piecesOf(inside)]) : [];
    };
    const text = fc.oneof(
      fc.string({ unit: "binary", maxLength: 5 }),
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
        const before = indexedText(aRun({ output: null }));
        const pieces = piecesOf(output).map((piece) => `\n${piece}`);
        const clean = pieces
          .join("")
          .replace(/[\0\p{Co}]/gu, " ")
          .toWellFormed();
        expect(indexedText(aRun({ output }))).toBe(before + clean);
      }),
      { numRuns: 1000 },
    );
  });

  it("begins with marks of six columns, which are the same for ever: they are on disk", () => {
    const run = aRun({ status: "failed", channel: "a", title: "T", organization_id: "o_1" });
    const values = {
      status: run.status,
      run_type: run.run_type,
      title: "T",
      organization: "o_1",
      channel: "a",
      source: run.source,
    };
    const marks = Object.entries(values).map(([name, value]) => {
      const named = `${name === "title" ? "workflow" : name}\0${value}`;
      return `\uE000${createHash("sha256").update(named).digest("hex").slice(0, 12)}`;
    });
    expect(indexedText({ ...run, workflow: null }).split("\n")[0]).toBe(marks.join(" "));
  });

  it("is cut, so that a huge output costs no more than a large one", () => {
    const output = Array.from({ length: 5_000 }, (_none, i) => ({ [`key ${i}`]: "x".repeat(1_000) }));
    expect(indexedText(aRun({ output })).length).toBeLessThan(34_000);
  });

  it("holds no mark that a text made up", () => {
    const mark = indexedText(aRun()).split(/[ \n]/)[0] ?? "";
    expect(mark).toMatch(/^\uE000[0-9a-f]{12}$/);
    expect(wordsOf(indexedText(aRun({ prompt: `see ${mark}` })))).not.toContain("\uE000");
  });
});

describe("the plan of a filter", () => {
  it.each([
    [{}, null],
    [{ since: 1, until: 2 }, null],
    [{ status: ["failed"] }, null],
    [{ channel: ["a"], since: 1 }, null],
  ])("%j needs no more than an index on a column", (filter, match) => {
    expect(matchOf(filter)).toBe(match);
  });

  it.each([
    { status: ["failed", "terminated"] },
    { status: ["failed"], channel: ["a"] },
    { workflow: ["wpid_1"] },
    { source: ["webhook"] },
    { search: [{ text: "x", prefix: false }] },
  ])("%j is asked of the full-text index", (filter) => {
    expect(matchOf(filter)).not.toBeNull();
  });
});
