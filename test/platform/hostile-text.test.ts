import { expect, it } from "vitest";
import { escapeDeceiving, onOneLine, spellDeceiving, withoutDeceiving } from "../../src/platform/hostile-text.ts";
import { buildView } from "../../src/sinks/email/view.ts";
import { buildContent } from "../../src/sinks/content.ts";
import { safeName } from "../../src/sinks/attachments.ts";
import { quote } from "../../src/sinks/http-outcome.ts";
import { inert, visible } from "../../src/sinks/slack/text.ts";
import { parseFileName } from "../../src/skyvern/artifacts/artifact-url.ts";
import { block, jsonText, line } from "../../src/web/text.ts";
import { aReport } from "../sinks/a-report.ts";

const DECEIVING: readonly (readonly [string, string])[] = [
  ["a NUL", "\0"],
  ["a bell", "\u0007"],
  ["a vertical tab", "\v"],
  ["an escape", "\u001B"],
  ["a delete", "\u007F"],
  ["a control of the upper half", "\u009B"],
  ["a soft hyphen", "\u00AD"],
  ["a combining grapheme joiner", "\u034F"],
  ["an Arabic letter mark", "\u061C"],
  ["a Hangul filler", "\u3164"],
  ["a half-width Hangul filler", "\uFFA0"],
  ["a Mongolian vowel separator", "\u180E"],
  ["a zero-width space", "\u200B"],
  ["a left-to-right mark", "\u200E"],
  ["a right-to-left mark", "\u200F"],
  ["a line separator", "\u2028"],
  ["a paragraph separator", "\u2029"],
  ["an embedding", "\u202A"],
  ["an override", "\u202E"],
  ["a word joiner", "\u2060"],
  ["an invisible plus", "\u2064"],
  ["an isolate", "\u2066"],
  ["the end of an isolate", "\u2069"],
  ["a byte order mark", "\uFEFF"],
  ["an annotation", "\uFFF9"],
  ["a tag letter", "\u{E0041}"],
];

const KEPT = ["👩\u200D💻", "نمی\u200Cخواهم", "❤\uFE0F", "葛\u{E0100}", "e\u0301", "日本語", "ß"];

/** Every way on which a text of somebody else's comes before a reader. */
const SURFACES: Record<string, (text: string) => string> = {
  "a page": (text) => block(text),
  "a page's line": (text) => line(text),
  "JSON on a page": (text) => jsonText({ text }),
  "a Slack block": visible,
  "a Slack notification": (text) => inert(text, 200).replaceAll("\u2060", ""),
  "a mail's subject": (text) => buildView(buildContent(aReport({ title: text }), "result"), LIMITS).title,
  "a mail's text": (text) => buildView(buildContent(aReport({ summary: text }), "result"), LIMITS).summary ?? "",
  "a reason": (text) => quote(text, []),
  "an attachment's name": safeName,
  "a file's name": (text) => parseFileName(`https://host/${encodeURIComponent(text)}`) ?? "",
};
const LIMITS = { field: 1_000, cell: 100, output: true };

it.each(DECEIVING)("%s reaches no reader, wherever it is shown", (_what, character) => {
  for (const [surface, show] of Object.entries(SURFACES)) {
    const shown = show(`a${character}b`);
    expect(shown, surface).not.toContain(character);
    expect(shown, surface).toMatch(/a.*b/s);
  }
});

it.each(KEPT)("%s is shown as it is, wherever it is shown", (text) => {
  for (const [surface, show] of Object.entries(SURFACES)) expect(show(`a ${text} b`), surface).toContain(text);
});

it("a page parts lines where a text from elsewhere does", () => {
  expect(block("a\r\nb\rc\u2028d\u2029e\u0085f")).toBe("a\nb\nc\nd\ne\nf");
});

it("a text from elsewhere has each line ended by a line feed, keeps tabs, and loses all but one of its empty lines", () => {
  expect(withoutDeceiving(" a\r\nb\rc\u2028d\u0085e\n\n\n\n\tf ")).toBe("a\nb\nc\nd\ne\n\n\tf");
});

it("a deceiving character is spelled out where a reader should know of it", () => {
  expect(spellDeceiving("photo\u202Egpj.exe\u{E0041}\uD800")).toBe("photo[U+202E]gpj.exe[U+E0041]\uFFFD");
});

it("a deceiving character in JSON is escaped, and the JSON means the same", () => {
  const value = { [`k\u202E`]: "\u{E0041}\u200B é" };
  const text = escapeDeceiving(JSON.stringify(value));
  expect(text).toBe(String.raw`{"k\u202e":"\udb40\udc41\u200b é"}`);
  expect(JSON.parse(text)).toEqual(value);
});

it("a text from elsewhere can be put on one line with single spaces", () => {
  expect(onOneLine(" a\r\n\u0000\u202Eb\t \uD800c ")).toBe("a b c");
});
