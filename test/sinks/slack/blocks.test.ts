import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { findPings, checkMessage } from "../../../src/stand-ins/slack/message-rules.ts";
import type { Json } from "../../../src/platform/json.ts";
import type { Report } from "../../../src/domain/report.ts";
import type { Cause } from "../../../src/domain/run.ts";
import { buildContent } from "../../../src/sinks/content.ts";
import { PAGE_AMOUNT } from "../../../src/sinks/readable-output.ts";
import {
  MAX_BLOCKS_BYTES,
  MAX_TEXT,
  renderMessage,
  renderPlainMessage,
  renderReply,
  type SlackMessage,
} from "../../../src/sinks/slack/blocks.ts";
import { aFailure, aReport } from "./reports.ts";
import { ANY_CHARACTER } from "../../support/any-character.ts";

const render = (given: Partial<Report> = {}, cause: Cause = "result"): SlackMessage =>
  renderMessage(buildContent(aReport(given), cause));
/** With more in it than the relay puts into a message. */
const renderAll = (given: Partial<Report>): SlackMessage =>
  renderMessage(buildContent(aReport(given), "result", PAGE_AMOUNT));

const typesOf = ({ blocks }: SlackMessage): string[] => blocks.map(({ type }) => type);

/** Every string below a key, wherever it stands. */
function stringsAt(value: unknown, key: string): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => stringsAt(item, key));
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    typeof inner === "string" ? (name === key ? [inner] : []) : stringsAt(inner, key),
  );
}
const words = (message: SlackMessage): string => stringsAt(message.blocks, "text").join("\n");

const HOSTILE = [
  "<!channel> <!here> <!everyone>",
  "@channel @here @everyone #general",
  "<@U012AB3CD> <!subteam^SAZ94GDB8>",
  "<https://evil.example|Click to log in>",
  "*bold* _it_ ~no~ `code` ```block```",
  "> quoted\n>>> all quoted",
  "&lt;!channel&gt; &amp;lt;",
  "\u202Egnp.exe\u202C \u2066x\u2069 \u200F\u200E",
  "\u0000\u0007\u001B[31mred",
  "\uD83D lone \uDE00",
  "   ",
  "\u200E",
  "",
  "https://evil.example www.evil.example mailto:a@b.example",
  "a".repeat(20_000),
  '"\\'.repeat(5_000),
  "日本語".repeat(3_000),
  "😀".repeat(3_000),
  "&<>".repeat(3_000),
  "\n".repeat(500),
];

describe("what a message shows", () => {
  it("a Slack message opens with status and title, then who and what, and ends with buttons to the relay's own links", () => {
    const message = render({ summary: "Three invoices were found." });
    expect(message.blocks[0]).toMatchObject({ type: "header", text: { text: "✅ Completed: Fetch the invoices" } });
    expect(words(message)).toContain("2026-01-20 12:02:06 UTC · 2 min 5 s");
    expect(words(message)).toContain("tsk_v2_440790433182073998 · Task 2.0 · 7 steps");
    expect(words(message)).toContain("Three invoices were found.");
    expect(typesOf(message).at(-1)).toBe("actions");
    const buttons = stringsAt(message.blocks.at(-1), "text");
    expect(buttons).toEqual(["Run page", "Open in Skyvern", "Recording", "Screenshot"]);
    expect(message.text).toBe("✅ Completed – Fetch the invoices – Three invoices were found.");
  });

  it("a Slack message says why a run failed, with its codes and categories, also in the notification", () => {
    const failure = aFailure({ codes: ["LOGIN_FAILED"], categories: ["AUTH_FAILURE"] });
    const message = render({ status: "failed", reported_status: "failed", failure });
    expect(words(message)).toContain("The login page never loaded");
    expect(words(message)).toMatch(/Error code:\s+LOGIN_FAILED\s+Category:\s+Auth failure/);
    expect(message.text).toContain("❌ Failed – Fetch the invoices – The login page never loaded");
  });

  it("a Slack message shows a list of objects as a table, its numbers digit for digit", () => {
    const output = [{ number: "R-1", total: JSON.rawJSON("1.10") }, { number: "R-2" }];
    const table = render({ output }).blocks.find(({ type }) => type === "table");
    expect(table).toMatchObject({
      rows: [
        [{ type: "raw_text", text: "number" }, { text: "total" }],
        [{ text: "R-1" }, { text: "1.10" }],
        [{ text: "R-2" }, { text: "–" }],
      ],
    });
  });

  it("a Slack message shows a workflow's second table as text, since Slack takes one", () => {
    const output = { first_output: [{ a: "one" }, { a: "1" }], second_output: [{ b: "two" }, { b: "2" }] };
    const message = render({ kind: "workflow", output });
    expect(typesOf(message).filter((type) => type === "table")).toHaveLength(1);
    expect(JSON.stringify(message.blocks)).toContain('"rich_text_preformatted"');
    expect(words(message)).toContain("two");
  });

  it("a Slack message names files in text and links them under its own word, so that no file's name can pose as an address", () => {
    const url = "https://relay.example/artifacts/tsk/file-1?sig=1";
    const message = render({
      files: [{ name: "https://bank.example", size: 91_000, checksum: null, artifact_id: null, url }],
    });
    expect(words(message)).toContain("https://\u2060bank.\u2060example");
    expect(JSON.stringify(message.blocks)).toContain(`{"type":"link","url":"${url}","text":"Open"}`);
  });

  it("a Slack message says what is special about it in its context", () => {
    expect(words(render({}, "test"))).toContain("This is a test message. No run happened.");
  });

  it("a Slack message leaves a button out whose address Slack would refuse", () => {
    for (const app_url of ["https://", "https://a b", `https://app.example/${"x".repeat(3_000)}`]) {
      expect(stringsAt(render({ app_url }).blocks.at(-1), "text")).toEqual(["Run page", "Recording", "Screenshot"]);
    }
  });
});

describe("limits", () => {
  it("a Slack message cuts a long title to the header's 150 characters with a mark", () => {
    const [header] = stringsAt(render({ title: "x".repeat(500) }).blocks[0], "text");
    expect(header).toHaveLength(150);
    expect(header).toMatch(/x…$/);
  });

  it("a Slack message gives up output before the reason of a failure, and says that it was shortened", () => {
    const columns = ["b", "c", "d", "e"].map((name) => [name, "z".repeat(400)] as const);
    const rows = Array.from({ length: 20 }, (_, i) => ({
      a: `row${i} ${"y".repeat(400)}`,
      ...Object.fromEntries(columns),
    }));
    const failure = aFailure({ reason: `${"r".repeat(2_000)}END` });
    const message = renderAll({ status: "failed", output: rows, failure });
    expect(Buffer.byteLength(JSON.stringify(message.blocks))).toBeLessThanOrEqual(MAX_BLOCKS_BYTES);
    expect(words(message)).toContain("END");
    expect(words(message)).toContain("Shortened to fit Slack");
    expect(words(message)).toContain("row0");
  });

  it("a Slack message does not speak of shortening where nothing was shortened", () => {
    expect(words(render({ output: { a: "b" } }))).not.toContain("Shortened");
  });

  it("a Slack message counts the rows it leaves out", () => {
    const rows = Array.from({ length: 33 }, (_, i) => ({ n: i }));
    expect(words(render({ output: rows }))).toContain("… and 27 more rows");
  });
});

const everywhere = (text: string): Partial<Report> => ({
  title: text,
  prompt: text,
  url: text,
  channel: text,
  summary: text,
  status: text,
  reported_status: text,
  run_type: text,
  output: [{ [text]: text, other: text }],
  failure: aFailure({ reason: text, codes: [text], categories: [text] }),
  files: [{ name: text, size: null, checksum: null, artifact_id: null, url: text }],
});

describe("hostile text", () => {
  it.each(HOSTILE.map((text) => [JSON.stringify(text).slice(0, 40), text]))(
    "hostile text in a Slack message cannot ping, link or be refused: %s",
    (_name, text) => {
      for (const make of [renderMessage, renderPlainMessage, renderReply])
        expect(harmOf(make(buildContent(aReport(everywhere(text)), "result")))).toEqual([]);
    },
  );

  it("hostile text in a Slack message stays readable, its markup shown as the page wrote it", () => {
    const message = render({ summary: "5 < 6 & *stars* _under_ `code` @channel" });
    expect(words(message)).toContain("5 < 6 & *stars* _under_ `code` @\u2060channel");
  });

  it("hostile text stays readable in the notification, where it is escaped and its marks are replaced", () => {
    const { text } = render({ title: "5 < 6 & *stars* run_id_1 > it" });
    expect(text).toBe("✅ Completed – 5 &lt; 6 &amp; ∗stars∗ run_id_1 &gt; it");
  });

  it("hostile text in the notification neither pings nor starts a quote", () => {
    const { text } = render({ title: "> @channel #general <!here>" });
    expect(text).toBe("✅ Completed – › @\u2060channel #\u2060general &lt;\u2060!here&gt;");
  });

  it("hostile text loses the characters that reorder or hide text", () => {
    const message = render({ title: "invoice\u202Efdp.exe", summary: "a\u2066b\u200Fc\u0007d" });
    expect(stringsAt(message.blocks[0], "text")).toEqual(["✅ Completed: invoicefdp.\u2060exe"]);
    expect(words(message)).toContain("abcd");
  });

  it("a status that is named like something every object inherits is shown like any other", () => {
    for (const [status, words] of [
      ["valueOf", "valueOf"],
      ["__proto__", "proto"],
      ["constructor", "constructor"],
      ["toString", "toString"],
    ] as const)
      expect(stringsAt(render({ status }).blocks[0], "text")[0]).toBe(`ℹ️ ${words}: Fetch the invoices`);
  });

  it("a Slack message has the status alone where a title has nothing visible", () => {
    expect(stringsAt(render({ title: "\u200E\u202E" }).blocks[0], "text")).toEqual(["✅ Completed"]);
  });
});

describe("any run at all", () => {
  const text = fc.oneof(
    fc.string({ unit: ANY_CHARACTER, maxLength: 60 }),
    fc.string({ maxLength: 4_000 }),
    fc.constantFrom(...HOSTILE),
    fc.tuple(fc.constantFrom(...HOSTILE), fc.nat(4_000)).map(([part, n]) => part.repeat(1 + n / (part.length + 1))),
  );
  const maybe = fc.option(text);
  const table = fc.array(fc.dictionary(text, text, { minKeys: 1, maxKeys: 12 }), { minLength: 1, maxLength: 30 });
  const output = fc.oneof(
    fc.jsonValue(),
    text,
    table,
    fc.array(text, { maxLength: 40 }),
    fc.dictionary(text, fc.oneof(text, table, fc.jsonValue()), { maxKeys: 30 }),
  ) as fc.Arbitrary<Json>;
  const url = fc.oneof(
    fc.webUrl(),
    text.map((path) => `https://relay.example/${path}`),
    text,
  );
  const failure = fc.option(
    fc.record({
      reason: maybe,
      codes: fc.array(text, { maxLength: 100 }),
      categories: fc.array(text, { maxLength: 20 }),
      errors: fc.constant<Json[]>([]),
      block: fc.option(fc.record({ label: maybe, type: text, index: fc.nat(), of: fc.nat() })),
    }),
  );
  const file = fc.record({
    name: text,
    size: fc.option(fc.nat()),
    checksum: fc.constant(null),
    artifact_id: fc.constant(null),
    url,
  });
  const report = fc
    .record({
      run_id: text,
      run_type: text,
      kind: fc.constantFrom("task" as const, "workflow" as const),
      status: fc.oneof(fc.constantFrom("completed", "failed", "timed_out"), text),
      reported_status: text,
      channel: maybe,
      title: maybe,
      prompt: maybe,
      url: maybe,
      summary: maybe,
      app_url: fc.option(url),
      recording_url: fc.option(url),
      screenshot_urls: fc.array(url, { maxLength: 3 }),
      run_url: url,
      output,
      failure,
      files: fc.array(file, { maxLength: 40 }),
      artifacts_status: fc.constantFrom("complete" as const, "partial" as const, "unavailable" as const),
    })
    .map((given) => aReport(given));
  const cause = fc.constantFrom<Cause>("result", "correction", "redelivery", "test");

  it("every run becomes a message that Slack accepts and that notifies nobody", () => {
    fc.assert(
      fc.property(report, cause, (run, why) => {
        expect(harmOf(renderMessage(buildContent(run, why)))).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  it("every run becomes a plain message and a reply in a thread that Slack accepts and that notify nobody", () => {
    fc.assert(
      fc.property(report, cause, (run, why) => {
        expect(harmOf(renderPlainMessage(buildContent(run, why)))).toEqual([]);
        expect(harmOf(renderReply(buildContent(run, why)))).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});

/** What is wrong with a message, in words; empty when it can be sent and does nothing but be read. */
function harmOf(message: SlackMessage): string[] {
  const { text, blocks } = message;
  const refusal = checkMessage({ text, blocks }, MAX_TEXT);
  const json = JSON.stringify(message);
  const shown = [text, ...stringsAt(blocks, "text")].join("");
  const harm: [boolean, string][] = [
    [refusal !== null, `Slack refuses it: ${JSON.stringify(refusal)}`],
    [findPings(message).length > 0, `it notifies ${findPings(message).join()}`],
    [Buffer.byteLength(JSON.stringify(blocks)) > MAX_BLOCKS_BYTES, "its blocks are too many bytes"],
    // Nothing Slack reads as markup, wherever it stands.
    [/<[!@#]/.test(json), "an opening of markup is left"],
    [json.includes('"mrkdwn"'), "hostile text stands in mrkdwn"],
    // The one link of a plain message is the relay's own.
    [/[<>*~`]/.test(text.replace(/^Run page: <https?:[^<>|\s]+>$/m, "")), "its text is not escaped"],
    [INVISIBLE.test(shown), "it holds invisible characters"],
    [!shown.isWellFormed(), "it holds half characters"],
  ];
  return harm.flatMap(([is, what]) => (is ? [what] : []));
}

// oxlint-disable-next-line no-control-regex -- control characters are what this is about
const INVISIBLE = /[\u0000-\u0009\u000B-\u001F\u202A-\u202E\u2066-\u2069\u200E\u200F]/;
