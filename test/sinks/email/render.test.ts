import { describe, expect, test } from "vitest";
import type { Json } from "../../../src/platform/json.ts";
import { buildContent } from "../../../src/sinks/content.ts";
import { renderMail, MAX_BODY_BYTES } from "../../../src/sinks/email/render.ts";
import { MESSAGE_AMOUNT, PAGE_AMOUNT, type Amount } from "../../../src/sinks/readable-output.ts";
import type { Report } from "../../../src/domain/report.ts";
import type { Job } from "../../../src/sinks/sink.ts";
import { aReport } from "../a-report.ts";

const mailFor = (
  given: Partial<Report> = {},
  job: Partial<Pick<Job, "cause" | "previous">> = {},
  amount: Amount = MESSAGE_AMOUNT,
) => {
  const report = aReport(given);
  const { cause = "result", previous = null } = job;
  return renderMail(buildContent(report, cause, amount), report, { cause, previous });
};
/** With more in it than the relay puts into a mail. */
const mailOfAll = (given: Partial<Report>) => mailFor(given, {}, PAGE_AMOUNT);

describe("a mail", () => {
  test.each([
    ["completed", "good"],
    ["failed", "bad"],
    ["terminated", "bad"],
    ["timed_out", "bad"],
    ["canceled", "plain"],
    ["retrying", "warn"],
    ["a_new_one", "plain"],
  ])("a mail has the colour of a run that is %s: %s", (status, tone) => {
    expect(mailFor({ status }).html).toMatch(new RegExp(`<body[^]+?<p class="${tone}"`));
  });

  test("a mail says how long a short run took", () => {
    for (const [ms, words] of [
      [45, "45 ms"],
      [120, "0.1 s"],
      [3_200, "3.2 s"],
      [141_000, "2 min 21 s"],
    ] as const)
      expect(mailFor({ duration_ms: ms }).text).toContain(` · ${words}`);
  });

  test("a mail says a reason once, and without Skyvern's words before it", () => {
    const reason = "http_request block failed. failure reason: HTTP 404: no";
    const attempt = { codes: [], started_at: null, finished_at: null, decision: null };
    const { text } = mailFor({
      status: "failed",
      attempt: 2,
      failure: {
        reason,
        codes: [],
        categories: [],
        errors: [],
        block: { label: "rates", type: "code", index: 1, of: 2 },
      },
      attempts: [
        { ...attempt, attempt: 1, status: "failed", reason: "http_request block failed. failure reason: HTTP 500" },
        { ...attempt, attempt: 2, status: "failed", reason },
      ],
    });
    expect(text).toContain("Failed at rates (block 1 of 2)\n  HTTP 404: no\n");
    expect(text).toContain("  1: Failed: HTTP 500\n  2: Failed: the reason above\n");
  });

  test("a mail says that a run was canceled after a block, and not that the block worked", () => {
    const block = { label: "pause", type: "wait", status: "completed", attempt: 1, depth: 0, started_at: null };
    const { text } = mailFor({
      status: "canceled",
      output: { pause_output: { success: true } },
      blocks: [{ ...block, duration_ms: null, reason: null, codes: [], screenshot_url: null }],
    });
    expect(text).toContain("\nCanceled after pause\n  Skyvern gives no reason.\n");
    expect(text).not.toContain("success");
    const wentOn = { ...block, started_at: "2026-01-20T11:59:59.000Z", duration_ms: 15_000 };
    const during = mailFor({
      status: "canceled",
      finished_at: "2026-01-20T12:00:00.000Z",
      blocks: [{ ...wentOn, reason: null, codes: [], screenshot_url: null }],
    });
    expect(during.text).toContain("\nCanceled at pause\n");
  });

  test("a mail says of a run that ended without a reason or an output that there is none", () => {
    const nothing = { output: null, summary: null, files: [] };
    expect(mailFor({ ...nothing, status: "timed_out" }).text).toContain(
      "Why it did not complete\n  Skyvern gives no reason.\n",
    );
    expect(mailFor(nothing).text).toContain("Output\n  The run has no output.\n");
    expect(mailFor({ status: "running", output: null }).text).not.toMatch(/no (reason|output)/);
  });

  test("a mail says the same as text and as HTML", () => {
    const mail = mailFor({
      status: "failed",
      reported_status: "failed",
      failure: {
        reason: "Login was refused",
        codes: ["LOGIN_FAILED"],
        categories: ["AUTH_FAILURE"],
        errors: [],
        block: null,
      },
      output: {
        rows: [
          { no: "R-1", amount: 12 },
          { no: "R-2", amount: 30 },
        ],
        note: "kept",
      },
    });
    for (const body of [mail.text, mail.html]) {
      for (const shown of [
        "Failed",
        "Download invoices",
        "wr_491230000000000001",
        "Two invoices were downloaded.",
        "Login was refused",
        "LOGIN_FAILED",
        "Auth failure",
        "R-2",
        "kept",
        "invoice.\u2060pdf",
        "91 kB",
        "https://relay.example.com/runs/wr_491230000000000001",
        "Recording",
      ]) {
        expect(body).toContain(shown);
      }
    }
  });

  test("a mail shows a list of objects as a table", () => {
    const { html, text } = mailFor({
      output: {
        wr: [
          { no: "R-1", amount: 12 },
          { no: "R-2", amount: 14 },
        ],
      },
    });
    expect(html).toMatch(/<th[^>]*>no<\/th>/);
    expect(html).toMatch(/<td[^>]*>R-1<\/td>/);
    expect(text).toContain("no: R-1 | amount: 12");
  });

  test("a mail reads in the dark and on a telephone, and fetches nothing", () => {
    const { html } = mailFor();
    expect(html).toMatch(/<meta name="color-scheme" content="light dark"/);
    expect(html).toContain("@media (prefers-color-scheme: dark)");
    expect(html).toContain('name="viewport"');
    expect(html).not.toMatch(/<img|<script|<link|url\(|@import|src=/i);
  });

  test("a mail has a subject with status and title", () => {
    expect(mailFor().subject).toBe("✅ Completed: Download invoices");
    expect(mailFor({}, { cause: "test" }).subject).toBe("🧪 Test: Download invoices");
  });

  test("a mail that corrects answers the one before", () => {
    const mail = mailFor({}, { cause: "correction", previous: { message_id: "<dlv_0@example.com>" } });
    expect(mail.subject).toBe("Correction: ✅ Completed: Download invoices");
    expect(mail.headers).toMatchObject({ "In-Reply-To": "<dlv_0@example.com>", References: "<dlv_0@example.com>" });
  });

  test("a mail that corrects answers the id the server gave, when it gave its own", () => {
    const previous = { message_id: "<dlv_0@example.com>", server_message_id: "<0102-x@eu-west-1.amazonses.com>" };
    expect(mailFor({}, { cause: "correction", previous }).headers["In-Reply-To"]).toBe(
      "<0102-x@eu-west-1.amazonses.com>",
    );
  });

  test("a mail is marked as made by a machine, with the run's id", () => {
    expect(mailFor().headers).toMatchObject({
      "Auto-Submitted": "auto-generated",
      "X-Skyvern-Run-Id": "wr_491230000000000001",
    });
  });
});

describe("hostile text", () => {
  const EVIL = `"><img src=x onerror=alert(1)><a href="javascript:alert(1)">click</a> & '`;

  test("hostile text never becomes markup in a mail, wherever it stands", () => {
    const failure = { reason: EVIL, codes: [EVIL], categories: [EVIL], errors: [EVIL as Json], block: null };
    const { html } = mailFor({
      status: EVIL,
      title: EVIL,
      prompt: EVIL,
      url: EVIL,
      channel: EVIL,
      summary: EVIL,
      run_type: EVIL,
      failure,
      app_url: EVIL,
      recording_url: `https://relay.example.com/"onmouseover="alert(1)`,
      output: { [EVIL]: EVIL, list: [{ [EVIL]: EVIL }], text: [EVIL] },
      files: [{ name: EVIL, size: 1, checksum: null, artifact_id: null, url: "javascript:alert(1)" }],
    });
    expect(html).not.toMatch(/<img|<a href="javascript|onerror=alert\(1\)>|"onmouseover/);
    const links = [...html.matchAll(/href="([^"]*)"/g)].map((match) => match[1] ?? "");
    expect(links.length).toBeGreaterThan(0);
    expect(links.filter((link) => !/^https?:\/\//.test(link))).toEqual([]);
  });

  test("hostile text cannot break out of a mail's subject or headers", () => {
    const evil = "x\r\nBcc: victim@example.com\u2028\u0000y";
    const mail = mailFor(
      { title: evil, status: evil, run_id: evil },
      { cause: "correction", previous: { message_id: `<a@b>\r\nBcc: c@d` } },
    );
    for (const value of [mail.subject, ...Object.values(mail.headers)]) expect(value).not.toMatch(/[\r\n\0\u2028]/);
    expect(mail.headers).not.toHaveProperty("In-Reply-To");
    expect(mail.subject.length).toBeLessThanOrEqual(150);
  });

  test("hostile text loses its controls and the marks that turn or hide text", () => {
    const summary = "safe\u202egpj.exe\u2066\u200b\u0007\u009b\ufeff\ud800 end";
    for (const body of [mailFor({ summary }).text, mailFor({ summary }).html]) {
      expect(body).toContain("safegpj.\u2060exe");
      expect(body).not.toMatch(/[[\p{Cc}\u202a-\u202e\u2066-\u2069\u200b\ufeff]--[\n\t]]/v);
      expect(body.isWellFormed()).toBe(true);
    }
  });

  test("hostile text cannot pass for the mail's own lines", () => {
    const { text } = mailFor({ summary: "fine\nRun page: https://evil.example/" });
    expect(text).not.toMatch(/^Run page: https:\/\/\u2060?evil/m);
    expect(text).toMatch(/^ {2}Run page: https:\/\/\u2060evil/m);
  });
});

describe("over-long text", () => {
  test("a mail fits one screen of a phone: 500 characters of a summary or reason", () => {
    const reason = "r".repeat(5_000);
    const failure = { reason, codes: [], categories: [], errors: [], block: null };
    const { text } = mailFor({ summary: "s".repeat(5_000), failure, status: "failed" });
    expect(text).toContain(`${"s".repeat(499)}…`);
    expect(text).toContain(`${"r".repeat(499)}…`);
  });

  test("over-long text in a mail is cut at 2,000 characters a field, with a mark", () => {
    const { text } = mailOfAll({ summary: "a".repeat(5_000) });
    expect(text).toContain(`${"a".repeat(1_999)}…`);
    expect(text).not.toContain("a".repeat(2_000));
  });

  test("the subject of a mail is cut at 150 characters", () => {
    const { subject } = mailFor({ title: "t".repeat(1_000) });
    expect(subject).toHaveLength(150);
    expect(subject.endsWith("…")).toBe(true);
  });

  test("both bodies of a mail stay below 100 kB, whatever comes", () => {
    const big = `&"<>'€`.repeat(5_000);
    const row = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`${big}${i}`, big]));
    const mail = mailOfAll({
      title: big,
      prompt: big,
      url: big,
      channel: big,
      summary: big,
      run_type: big,
      status: big,
      reported_status: big,
      workflow: { run_id: null, permanent_id: big, id: null, title: null },
      failure: { reason: big, codes: [big, big], categories: [big], errors: [], block: null },
      app_url: `https://app.skyvern.com/?${"&".repeat(50_000)}`,
      output: Object.fromEntries(
        Array.from({ length: 10 }, (_, i) => [`b${i}_output`, { ...row, a: [row, row], b: [row, row], c: [row, row] }]),
      ),
      files: Array.from({ length: 500 }, () => ({
        name: big,
        size: 1,
        checksum: null,
        artifact_id: null,
        url: "https://relay.example.com/a",
      })),
    });
    expect(Buffer.byteLength(mail.html)).toBeLessThanOrEqual(MAX_BODY_BYTES);
    expect(Buffer.byteLength(mail.text)).toBeLessThanOrEqual(MAX_BODY_BYTES);
    expect(mail.text).toContain("The output is too long for a mail …");
    expect(mail.text).toContain("… and 480 more");
    expect(mail.text).toContain("Run page: https://relay.example.com/runs/");
  });
});
