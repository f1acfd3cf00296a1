/** What people read of a run in Slack and in mail, and in which order. */
import { expect, it } from "vitest";
import { emptyReport, type Report } from "../../src/domain/report.ts";
import type { Json } from "../../src/platform/json.ts";
import { buildContent } from "../../src/sinks/content.ts";
import { renderMail } from "../../src/sinks/email/render.ts";
import { renderMessage, renderPlainMessage } from "../../src/sinks/slack/blocks.ts";
import type { Job } from "../../src/sinks/sink.ts";
import { cpuMs } from "../support/cpu.ts";
import { aReport } from "./a-report.ts";

const PICTURE = { file: "F1", cid: "picture@relay", caption: "a login page" };

/** The run as Slack, a mail's HTML and a mail's text say it, without invisible characters. */
function readers(given: Partial<Report>, cause: Job["cause"] = "result", shown = false): Record<string, string> {
  const report = aReport(given);
  const content = buildContent(report, cause);
  const picture = shown ? PICTURE : null;
  const { html, text } = renderMail(content, report, { cause, previous: null }, picture);
  const slack = JSON.stringify(renderMessage(content, picture).blocks);
  const body = html.slice(html.indexOf("<body"));
  return Object.fromEntries(
    Object.entries({ slack, html: body, text }).map(([name, words]) => [name, words.replaceAll("\u2060", "")]),
  );
}

const FAILURE = { reason: "No such button", codes: [], categories: [], errors: [], block: null };
const RELATED = { retried_from: null, retried_by: null, parent: null, children: [], schedule: null, group: null };
const ATTEMPT = { codes: [], started_at: null, finished_at: null, decision: null };
const ATTEMPTS = [
  { ...ATTEMPT, attempt: 1, status: "failed", reason: "The first try broke" },
  { ...ATTEMPT, attempt: 2, status: "completed", reason: null },
];
const FULL: Partial<Report> = {
  summary: "The summary",
  output: { first_output: { seen: "an earlier block" }, last_output: { seen: "the last block" } },
  attempt: 2,
  attempts: ATTEMPTS,
  artifacts_status: "partial",
};

const placesIn = (words: string, marks: readonly string[]): string[] =>
  marks.filter((mark) => words.includes(mark)).toSorted((a, b) => words.indexOf(a) - words.indexOf(b));

it.each([
  [
    "completed",
    FULL,
    [
      "The summary",
      "the last block",
      PICTURE.caption,
      "an earlier block",
      "The first try",
      "invoice.pdf",
      "its webhook",
    ],
  ],
  [
    "only downloaded files",
    { ...FULL, summary: null, output: null },
    ["invoice.pdf", PICTURE.caption, "The first try", "its webhook"],
  ],
  [
    "failed",
    { ...FULL, status: "failed", reported_status: "failed", failure: FAILURE },
    ["No such button", PICTURE.caption, "The summary", "the last block", "The first try", "invoice.pdf", "its webhook"],
  ],
] as const)(
  "a message about a run that %s shows the outcome first and remarks last, in Slack as in mail",
  (_what, given, marks) => {
    const { slack, html, text } = readers(given, "result", true);
    const order = ["Download invoices", ...marks];
    expect(placesIn(slack ?? "", order)).toEqual(order);
    expect(placesIn(html ?? "", order)).toEqual(order);
    // The text of a mail has no pictures.
    const inText = order.filter((mark) => mark !== PICTURE.caption);
    expect(placesIn(text ?? "", inText)).toEqual(inText);
  },
);

it("a message names types, triggers, categories and statuses in words of people", () => {
  const given: Partial<Report> = {
    run_type: "anthropic_cua",
    trigger: "scheduled",
    status: "failed",
    reported_status: "timed_out",
    failure: { ...FAILURE, categories: ["PAGE_LOAD_TIMEOUT", "my own"] },
  };
  for (const words of Object.values(readers(given))) {
    for (const said of ["Anthropic CUA", "started by a schedule", "Page load timeout", "my own", "as timed out only"])
      expect(words).toContain(said);
    expect(words).not.toMatch(/anthropic_cua|trigger|PAGE_LOAD|timed_out/);
  }
});

it("a failure that names its block only in Skyvern's words is shown under that block", () => {
  const reason = "code block failed. failure reason: Failed to execute code block. Reason: Exception: locked";
  const { text } = readers({ status: "failed", failure: { ...FAILURE, reason } });
  expect(text).toContain("\nFailed at its code block\n  locked\n");
  const http = "http_request block failed. failure reason: HTTP 404: no";
  expect(readers({ status: "failed", failure: { ...FAILURE, reason: http } })["text"]).toContain(
    "\nFailed at its HTTP request block\n  HTTP 404: no\n",
  );
});

it("a message gives every time of day on the 24-hour clock, in UTC, and says so", () => {
  const times = { started_at: "2026-01-20T21:58:10.000Z", finished_at: "2026-01-20T22:00:31.000Z" };
  const given = {
    ...times,
    status: "retrying",
    reported_status: "failed",
    next_attempt_at: "2026-01-20T23:30:00.000Z",
  };
  for (const words of Object.values(readers(given))) {
    const found = words.match(/\d\d?:\d\d(?::\d\d)?[^·."<\\]*/g) ?? [];
    expect(found.length).toBeGreaterThanOrEqual(2);
    for (const time of found) expect(time).toMatch(/^2\d:\d\d:\d\d UTC/);
  }
});

it("a test message says nothing of a run, and names what its link leads to", () => {
  const report = {
    ...emptyReport("test_1", "test", "2026-01-20T12:00:31.000Z"),
    title: "This sink works",
    output: { test: true },
    run_url: "https://relay.example.com/sinks",
  };
  const { slack = "", html = "", text = "" } = readers(report, "test");
  for (const words of [slack, html, text]) {
    expect(words).toContain("This is a test message. No run happened.");
    expect(words).toContain("Sinks");
    expect(words).not.toMatch(/Run page|Output|\d ms|\byes\b|2026/);
  }
  const { subject } = renderMail(buildContent(report, "test"), report, { cause: "test", previous: null });
  expect(subject).toBe("🧪 Test: This sink works");
});

it("a message links related runs by their ids, and shows an id that could deceive as text", () => {
  const related = { ...RELATED, parent: "wr_1", retried_from: "wr_2|x>" };
  const { slack, html, text } = readers({ related });
  expect(slack).toContain(
    '{"type":"mrkdwn","text":"· started by <https://relay.example.com/runs/wr_1|wr_1>","verbatim":true}',
  );
  expect(slack).not.toContain("/runs/wr_2");
  expect(slack).toContain("retry of wr_2|x>");
  expect(html).toContain('started by <a href="https://relay.example.com/runs/wr_1" style="color:inherit">wr_1</a>');
  expect(html).toContain("retry of wr_2|x&gt;");
  expect(text).toContain("started by wr_1 · retry of wr_2|x>");
  const plain = renderPlainMessage(buildContent(aReport({ related }), "result")).text;
  expect(plain).toContain("started by wr_1 · retry of wr_2|x&gt;");
});

it("a message has no button to the screenshot that it shows", () => {
  const given = { screenshot_urls: ["https://relay.example.com/artifacts/wr_1/a_9"] };
  for (const words of Object.values(readers(given))) expect(words).toContain("/artifacts/wr_1/a_9");
  for (const words of Object.values(readers(given, "result", true))) expect(words).not.toContain("/artifacts/wr_1/a_9");
});

it.each([
  [
    "its download, in a block of its own",
    { output: { get_output: [{ url: "x", filename: "invoice.pdf", file_size: 91_000 }] } },
  ],
  ["its summary, in its output", { output: "Two invoices were downloaded." }],
  ["its summary, in a field of it", { output: { said: "Two invoices were downloaded.", n: 1 } }],
])("a message says once what stands in two places: %s", (_what, given) => {
  const { text = "" } = readers(given);
  expect(text.split(/Two invoices were downloaded\./)).toHaveLength(2);
  expect(text.match(/invoice\.pdf/g)).toHaveLength(1);
});

it("a message leaves out a loop that downloaded files named like its items, and keeps what only its table says", () => {
  const loopOver = (items: readonly string[]) => {
    const rounds = items.map((item, n) => [
      {
        loop_value: { id: item },
        output_parameter: { key: "download_output" },
        output_value: [{ url: "x", filename: `R-${n}.pdf`, file_size: 9 }],
      },
    ]);
    const files = items.map((_, n) => ({
      name: `R-${n}.pdf`,
      size: 9,
      checksum: null,
      artifact_id: null,
      url: "https://relay.example.com/a",
    }));
    return readers({ output: { each_output: rounds }, summary: null, files })["text"];
  };
  expect(loopOver(["R-0", "R-1"])).not.toContain("each");
  expect(loopOver(["ACME", "Nordwind"])).toContain("item: id: ACME | download: R-0.pdf (9 B)");
});

const aFile = (name: string): Report["files"][number] => ({
  name,
  size: 9,
  checksum: null,
  artifact_id: null,
  url: "https://relay.example.com/a",
});

it("a message keeps which of the downloaded files its output names, and as what", () => {
  const files = [aFile("a.pdf"), aFile("b.pdf")];
  const output = { check_output: { approved: "a.pdf", rejected: "b.pdf" }, chosen_output: "b.pdf" };
  const { text } = readers({ output, summary: null, files });
  expect(text).toContain("check\n  approved: a.pdf\n  rejected: b.pdf\n");
  expect(text).toContain("chosen\n  b.pdf\n");
});

it("a message keeps a long loop of which some rounds downloaded nothing", () => {
  const rounds = Array.from({ length: 10 }, (_, n) => [
    {
      loop_value: `R-${n}`,
      output_parameter: { key: "download_output" },
      output_value: n < 6 ? [{ url: "x", filename: `R-${n}.pdf`, file_size: 9 }] : "not found",
    },
  ]);
  const files = Array.from({ length: 6 }, (_, n) => aFile(`R-${n}.pdf`));
  const { text } = readers({ output: { each_output: rounds }, summary: null, files });
  expect(text).toMatch(/… and \d more rows/);
});

it("a message keeps a short value that is its summary, or the end of why another block failed", () => {
  const { text } = readers({ output: { first: "Paid", second: "Paid" }, summary: "Paid" });
  expect(text).toContain("Paid");
  expect(text).toMatch(/first\n? +Paid|first: Paid/);
  const block = { label: "check", type: "code", index: 1, of: 2 };
  const failure = { ...FAILURE, reason: "The page shows 5", block };
  const failed = readers({ status: "failed", failure, output: { check_2_output: "5" }, summary: null });
  expect(failed["text"]).toContain("check_2\n  5\n");
});

it("a block that only repeats a download takes no other block's place in a message", () => {
  const download = [{ url: "x", filename: "invoice.pdf", file_size: 91_000 }];
  const output = { read_output: { total: 3 }, a_output: download, b_output: download, c_output: download };
  const { text } = readers({ output, summary: null });
  expect(text).toContain("read\n  total: 3\n");
  expect(text).not.toContain("more block");
});

it("a message says once why a run failed, and not again as its summary or as its block's result", () => {
  const reason = "http_request block failed. failure reason: HTTP 404: no such rate";
  const block = { label: "rates", type: "http_request", index: 1, of: 1 };
  const answer = (response_body: Json) => ({ status_code: 404, response_body, response_headers: {} });
  const given = {
    status: "failed",
    failure: { ...FAILURE, reason, block },
    output: { rates_output: answer("no such rate") },
  };
  for (const summary of [reason, null]) {
    const { text = "" } = readers({ ...given, summary });
    expect(text.match(/no such rate/g)).toHaveLength(1);
    expect(text).not.toMatch(/Summary|rates –/);
  }
  for (const [body, python] of [
    [{ error: "no such rate" }, "{'error': 'no such rate'}"],
    [{ error: "no such rate", code: 17 }, "{'error': 'no such rate', 'code': 17}"],
  ] as const) {
    const failure = { ...given.failure, reason: `HTTP 404: ${python}` };
    const { text = "" } = readers({ ...given, failure, output: { rates_output: answer(body) } });
    expect(text.match(/no such rate/g)).toHaveLength(1);
    expect(text).not.toMatch(/rates –/);
  }
  const ended = {
    ...FAILURE,
    reason: "terminate block terminated. Reason: Nothing to pay.",
    block: { ...block, label: "stop" },
  };
  const output = { stop_output: { reason: "Nothing to pay." } };
  expect(readers({ status: "terminated", failure: ended, output })["text"]?.match(/Nothing to pay/g)).toHaveLength(1);
  const another = readers({ ...given, output: { rates_output: answer({ error: "gone", id: 1 }) } });
  expect(another["text"]).toMatch(/rates – HTTP 404\n {2}error: gone\n {2}id: 1/);
});

it("a message says a category of Skyvern's in words", () => {
  const failure = { ...FAILURE, categories: ["LLM_ERROR", "AUTH_FAILURE"] };
  expect(readers({ status: "failed", failure })["text"]).toContain("Categories: LLM error, Auth failure");
});

it("a message shows a goal once, only its rest where the title has its beginning, and no address that the goal has", () => {
  const goal = `Sign in at https://portal.example.com/x, ${"open the next page, ".repeat(5)}and read the total`;
  const { text = "" } = readers({ title: null, prompt: goal, url: "https://portal.example.com/x" });
  expect(text.match(/Sign in at/g)).toHaveLength(1);
  expect(text).toMatch(/^Goal: … .*and read the total$/m);
  const same = { title: "Read the total", prompt: "read the total.", url: null };
  expect(readers(same)["text"]).not.toContain("Goal");
  const named = { title: "Total", prompt: "Read https://portal.example.com/x", url: "https://portal.example.com/x" };
  expect(readers(named)["text"]).not.toContain("Site");
});

it("a message names a run by its goal alone where that names its site", () => {
  const named = { title: null, url: "https://portal.example.com/x" };
  const titleOf = (prompt: string) => buildContent(aReport({ ...named, prompt }), "result").title;
  expect(titleOf("Read the total")).toBe("portal.example.com: Read the total");
  expect(titleOf("Read https://portal.example.com/total")).toBe("Read https://portal.example.com/total");
});

it.each([
  ["its output", { kind: "task", output: { total: 3, vendor: "ACME" } }, "total 3, vendor ACME"],
  ["its block", { output: { rates_output: { eur: 1.1 } } }, "rates: eur 1.1"],
  ["its text", { kind: "task", output: "Three flights." }, "Three flights."],
  ["its download", { output: null }, "invoice.pdf"],
  ["nothing where it has none", { output: null, files: [] }, null],
  ["nothing where Skyvern gives no reason", { status: "canceled", output: null, files: [] }, null],
] as const)("the notification of a run without a summary says %s", (_what, given, words) => {
  const content = buildContent(aReport({ ...given, summary: null } as Partial<Report>), "result");
  const said = renderMessage(content).text.replaceAll("\u2060", "").split(" – ");
  expect(said).toEqual([expect.any(String), "Download invoices", ...(words === null ? [] : [words])]);
});

it("an error is the reason where Skyvern gives no other", () => {
  const errors = [{ error_code: "LOCKED", reasoning: "the account is locked" }, "portal_down", { reasoning: " " }, 5];
  const failure = { ...FAILURE, reason: null, codes: ["LOCKED"], errors: [...errors, errors[0] ?? null] };
  for (const words of Object.values(readers({ status: "failed", failure }))) {
    expect(words).toContain("The account is locked");
    expect(words).not.toContain("gives no reason");
  }
  const content = buildContent(aReport({ status: "failed", failure }), "result");
  expect(content.failure?.reason).toBe("The account is locked\nPortal down");
});

it.each([
  ["with a reason", "code block failed. failure reason: no such file", "Errors on the way\n  No such file\n"],
  ["without a reason", null, "Errors on the way\n  Error code: SLOW\n"],
])(
  "a completed run that had errors %s tells its answer first, and never that it did not complete",
  (_what, reason, told) => {
    const failure = { ...FAILURE, reason, codes: ["SLOW"] };
    const all = readers({ status: "completed", failure, summary: null, output: { total: 4 } });
    const { text = "", html = "" } = all;
    expect(text).toContain(told);
    expect(text.indexOf("total: 4")).toBeLessThan(text.indexOf(told));
    expect(html).not.toMatch(/<p [^>]*><\/p>/);
    for (const words of Object.values(all)) expect(words).not.toMatch(/did not complete|gives no reason|Completed at/);
  },
);

it("a completed run of which only the category UNKNOWN is said had no errors that a message could tell", () => {
  const failure = { ...FAILURE, reason: null, codes: [], errors: [], categories: ["UNKNOWN"] };
  for (const words of Object.values(readers({ status: "completed", failure })))
    expect(words).not.toContain("Errors on");
});

it("a failure of thousands of codes and categories is read at once", () => {
  const codes = Array.from({ length: 3_000 }, (_, n) => `CODE_${n}`);
  const categories = [`${"LONG_".repeat(1_000_000)}X`, ...codes.map((code) => `OTHER_${code}`)];
  const report = aReport({ status: "failed", failure: { ...FAILURE, codes, categories } });
  expect(cpuMs(() => buildContent(report, "result"))).toBeLessThan(1_000);
});

it("a summary and files take room from the output, which keeps some", () => {
  const output = { long_output: Array.from({ length: 6 }, (_, n) => ({ n, name: `row ${n}` })) };
  const file = { name: "a.pdf", size: 1, checksum: null, artifact_id: null, url: "https://relay.example.com/a" };
  const rowsOf = (given: Partial<Report>) => {
    const [section] = buildContent(aReport({ output, summary: null, files: [], ...given }), "result").output;
    return section?.kind === "table" ? section.rows.length : 0;
  };
  expect(rowsOf({})).toBe(6);
  const files = Array.from({ length: 9 }, () => file);
  expect(rowsOf({ files })).toBe(4);
});

it("a message tells attempts that all failed for one reason in a line, and others one by one", () => {
  const failure = { ...FAILURE, reason: "http_request block failed. failure reason: HTTP 404: no" };
  const failed = { ...ATTEMPT, status: "failed", reason: failure.reason };
  const attempts = [1, 2, 3].map((attempt) => ({ ...failed, attempt }));
  const given = { status: "failed", attempt: 3, failure, attempts } as const;
  for (const words of Object.values(readers(given))) {
    expect(words).toContain("All 3 failed for the reason above.");
    expect(words.match(/the reason above/g)).toHaveLength(1);
  }
  const otherCodes = attempts.map((one) => (one.attempt === 3 ? { ...one, codes: ["LOCKED"] } : one));
  expect(buildContent(aReport({ ...given, attempts: attempts.slice(1) }), "result").attempts?.alike).toMatch(/^Both /);
  expect(buildContent(aReport({ ...given, attempts: otherCodes }), "result").attempts?.alike).toBeNull();
});

it.each([
  ["MAX_STEPS_EXCEEDED", ["REACH_MAX_STEPS"], []],
  ["PAGE_LOAD_TIMEOUT", ["OTHER", "page_load_timeout"], []],
  ["CREDENTIAL_ERROR", ["INVALID_CREDENTIALS"], []],
  ["AUTH_FAILURE", ["LOGIN_FAILED"], ["AUTH_FAILURE"]],
  ["PAGE_LOAD_TIMEOUT", ["REACH_MAX_RETRIES", "OTP_TIMEOUT"], ["PAGE_LOAD_TIMEOUT"]],
  ["FAILURE", ["FAILED"], ["FAILURE"]],
])("the category %s beside the codes %j is shown only where it says more", (category, codes, shown) => {
  const report = aReport({ status: "failed", failure: { ...FAILURE, codes, categories: [category] } });
  expect(buildContent(report, "result").failure?.categories).toEqual(shown);
});

it("a message names one code and one category in the singular", () => {
  const failure = { ...FAILURE, codes: ["LOGIN_FAILED"], categories: ["AUTH_FAILURE"] };
  for (const words of Object.values(readers({ status: "failed", failure })))
    expect(words).toMatch(/Error code\b[^]+Category\b/);
});

it("a message does not repeat the words of the failing block, however its reason is written", () => {
  const reason = "code block failed. failure reason: the account is locked.";
  const failure = { ...FAILURE, reason, block: { label: "pay", type: "code", index: 1, of: 2 } };
  const output = { pay_output: "the account is locked." };
  const content = buildContent(aReport({ kind: "workflow", status: "failed", failure, output }), "result");
  expect(content.failure?.reason).toBe("The account is locked.");
  expect(content.output).toEqual([]);
});

it("in every message a colon ends the label that stands in one line with its value", () => {
  const failure = { ...FAILURE, codes: ["NO_BUTTON"], categories: ["AUTH_FAILURE"] };
  const { slack = "", html = "", text = "" } = readers({ status: "failed", title: "Bills", prompt: "Pay", failure });
  expect(html).toMatch(/Goal:<\/span>\s+Pay/);
  expect(text).toMatch(/^Goal: Pay$/m);
  expect(text).toMatch(/^ {2}Error code: NO_BUTTON\n {2}Category: Auth failure$/m);
  for (const label of ["Goal:", "Error code:", "Category:"]) expect(slack).toContain(`"${label}"`);
});

it("a message gives a failed block its place only where the workflow has others", () => {
  const failed = (of: number) => {
    const block = { label: "pay", type: "code", index: 1, of };
    return buildContent(aReport({ status: "failed", failure: { ...FAILURE, block } }), "result").failure?.at;
  };
  expect(failed(1)).toBe("Failed at pay");
  expect(failed(2)).toBe("Failed at pay (block 1 of 2)");
});

it("a message says a server's answer once, also where Skyvern does not name the block that failed", () => {
  const failure = { ...FAILURE, reason: "http_request block failed. failure reason: HTTP 500: {'error': 'first'}" };
  const answered = (status: number, error: string) => ({ status_code: status, response_body: { error } });
  const output = {
    rates_output: answered(500, "first"),
    other_output: answered(500, "second"),
    third_output: answered(200, "first"),
  };
  const content = buildContent(aReport({ kind: "workflow", status: "failed", failure, output }), "result");
  expect(content.failure?.reason).toBe("HTTP 500: error: first");
  expect(content.output.map(({ title }) => title)).toEqual(["third – HTTP 200", "other – HTTP 500"]);
});
