/** What a mail carries besides words. */
import PostalMime, { type Email } from "postal-mime";
import { describe, expect, onTestFinished, test } from "vitest";
import { startSmtp, type SmtpStandIn, type SmtpStandInOptions } from "../../support/smtp.ts";
import { TINY_PNG } from "../../../src/stand-ins/skyvern.ts";
import type { Outcome } from "../../../src/domain/run.ts";
import email from "../../../src/sinks/email/index.ts";
import { aJob, depsWith, noAbort, noHttp } from "../a-report.ts";
import { anEvidence } from "../an-attachment.ts";

interface Sent {
  outcome: Outcome;
  server: SmtpStandIn;
  mail: Email;
  raw: string;
}

async function send(parts: Parameters<typeof anEvidence>[0], options: SmtpStandInOptions = {}): Promise<Sent> {
  const server = await startSmtp(options);
  onTestFinished(() => server.close());
  const config = email.config.parse({ smtp: server.url, from: "relay@example.com", to: "ap@example.com" });
  const sink = email.create("finance", config, depsWith(noHttp));
  const outcome = await sink.deliver({ ...aJob(), evidence: anEvidence(parts) }, noAbort());
  const raw = server.messages[0]?.raw ?? "";
  return { outcome, server, raw, mail: await PostalMime.parse(raw) };
}

const namesOf = ({ mail }: Sent) => mail.attachments.map(({ filename }) => filename);
const bytesOf = (content: string | ArrayBuffer | Uint8Array | undefined): Buffer =>
  content instanceof ArrayBuffer ? Buffer.from(content) : Buffer.from(content ?? "");

describe("the decisive screenshot", () => {
  test("the decisive screenshot is inside the mail, whose HTML shows it by its content id", async () => {
    const { mail, raw } = await send({ screenshots: ["a_1", "a_2"] });
    const [picture, ...more] = mail.attachments;
    expect(more).toEqual([]);
    expect(picture).toMatchObject({ filename: "screenshot.png", mimeType: "image/png", disposition: "inline" });
    expect(bytesOf(picture?.content)).toEqual(Buffer.from(TINY_PNG));
    const cid = /^<([^<>\s]+@[^<>\s]+)>$/.exec(picture?.contentId ?? "")?.[1];
    expect(mail.html).toContain(`src="cid:${cid}"`);
    expect(mail.html).toMatch(/alt="Screenshot[^"]+"/);
    expect(raw).toMatch(/^Content-Type: multipart\/related/m);
  });

  test("the decisive screenshot in a mail says the block and the moment it comes from", async () => {
    const at = Date.parse("2026-11-28T15:33:48.830Z");
    const { mail } = await send({ screenshots: ["a_1"], origins: { a_1: { block: "get_pdf <b>", at } } });
    expect(mail.html).toContain(">get_pdf &lt;b&gt;, 15:33:48 UTC</p>");
  });

  test("the decisive screenshot in a mail fits a narrow screen, and asks nothing of a network", async () => {
    const { mail } = await send({ screenshots: ["a_1"] });
    expect(mail.html).toMatch(/<img[^>]+max-width:592px;height:auto/);
    expect(mail.html).not.toMatch(/src="(?!cid:)|url\(|@import|<link/i);
    expect(mail.html).toContain("prefers-color-scheme: dark");
  });

  test("a decisive screenshot that cannot be had leaves the mail whole, which says so", async () => {
    const sent = await send({ screenshots: ["a_1"], found: { a_1: { kind: "unavailable" } } });
    expect(sent.outcome.kind).toBe("delivered");
    expect(namesOf(sent)).toEqual([]);
    expect(sent.mail.html).not.toContain("<img");
    expect(sent.mail.text).toContain("The screenshot is not shown: the relay could not get it from Skyvern.");
  });
});

describe("downloads", () => {
  test("downloads are attached to the mail under safe names", async () => {
    const files = { "../invoice März.pdf": 30, 'a"\r\nX: y.csv': 40, "page.html": 5 };
    const sent = await send({ screenshots: ["a_1"], files });
    expect(namesOf(sent)).toEqual(["screenshot.png", "invoice März.pdf", "a_X_ y.csv", "page.html"]);
    const types = sent.mail.attachments.map(({ mimeType, disposition }) => [mimeType, disposition]);
    expect(types).toEqual([
      ["image/png", "inline"],
      ["application/pdf", "attachment"],
      ["text/csv", "attachment"],
      ["application/octet-stream", "attachment"],
    ]);
    expect(sent.mail.headers.find(({ key }) => key === "x")).toBeUndefined();
  });

  test("downloads that are too large are linked, and the mail says how many", async () => {
    const files = { "a.pdf": 30, "large.zip": 500, "b.pdf": 31 };
    const sent = await send({ files, limits: { each: 100, total: 1_000 } });
    expect(namesOf(sent)).toEqual(["a.pdf", "b.pdf"]);
    expect(sent.mail.text).toContain("1 file is not attached, only linked.");
  });

  test("downloads never make a mail larger than 10 MB, whatever is allowed", async () => {
    const files = { "a.bin": 4_000_000, "b.bin": 4_000_000, "c.bin": 2_500_000 };
    const sent = await send({ screenshots: ["a_1"], files, limits: { each: 50_000_000, total: 100_000_000 } });
    expect(namesOf(sent)).toEqual(["screenshot.png", "a.bin", "c.bin"]);
    expect(sent.raw.length).toBeLessThan(10_000_000);
  });

  test.each([
    ["announces its limit", { maxBytes: 20_000 }],
    ["tells it only afterwards", { maxBytes: 20_000, silentLimit: true }],
  ])("downloads make no mail undeliverable, as a server that %s gets it without them", async (_what, options) => {
    const sent = await send({ screenshots: ["a_1"], files: { "a.pdf": 30_000 } }, options);
    expect(sent.outcome.kind).toBe("delivered");
    expect(sent.server.messages).toHaveLength(1);
    expect(namesOf(sent)).toEqual([]);
    expect(sent.mail.text).toContain("The mail server rejected this message as too large");
    expect(sent.mail.messageId).toBe("<dlv_019bdb1c2f3a4b5c6d7e8f90@example.com>");
  });
});

test("a mail about a run without pictures or files has no attachment", async () => {
  const sent = await send({});
  expect(sent.raw).toMatch(/^Content-Type: multipart\/alternative/m);
  expect(namesOf(sent)).toEqual([]);
});

describe("a server that refuses what a mail carries", () => {
  const withFile = { pattern: /^Content-Disposition: attachment/m };
  const parts = { screenshots: ["a_1"], files: { "macro.xlsm": 30 } };

  test.each([
    [554, "5.7.1 Attachment type is not allowed"],
    [550, "5.7.1 Message content rejected"],
    [552, "5.7.0 This message was blocked because its content presents a potential security issue"],
  ])(
    "a mail whose attachments a server refuses with %i %s goes once more without them, and says so",
    async (code, text) => {
      const sent = await send(parts, { refuses: { ...withFile, code, text } });
      expect(sent.outcome).toMatchObject({ kind: "delivered" });
      expect(namesOf(sent)).toEqual([]);
      expect(sent.mail.text).toMatch(
        /refused this message with its screenshot and files|rejected this message as too large|takes no mail as large/,
      );
      expect(sent.server.messages).toHaveLength(1);
    },
  );

  /** Attempts the same mail at a server, and closes it at the end of the test. */
  function attemptsAt(server: Awaited<ReturnType<typeof startSmtp>>, to = "ap@example.com") {
    onTestFinished(() => server.close());
    const config = email.config.parse({ smtp: server.url, from: "relay@example.com", to });
    const sink = email.create("finance", config, depsWith(noHttp));
    return (n: number) => sink.deliver({ ...aJob({ attempt: n }), evidence: anEvidence(parts) }, noAbort());
  }

  test("a mail refused with 450 as long as files are attached goes without them on the second attempt", async () => {
    const server = await startSmtp({ refuses: { ...withFile, code: 450, text: "4.7.1 Try again later" } });
    const attempt = attemptsAt(server);
    expect(await attempt(1)).toMatchObject({ kind: "retry" });
    expect(server.messages).toEqual([]);
    expect(await attempt(2)).toMatchObject({ kind: "delivered" });
    expect(server.messages).toHaveLength(1);
  });

  test("a mail that a server has no room for goes without its attachments on the second attempt", async () => {
    const noRoom = { at: "mail", code: 452, text: "4.3.1 Insufficient system storage" } as const;
    const server = await startSmtp({ faults: [noRoom, noRoom] });
    const attempt = attemptsAt(server);
    expect(await attempt(1)).toMatchObject({ kind: "retry" });
    expect(await attempt(2)).toMatchObject({ kind: "delivered" });
    expect(server.messages.map(({ raw }) => withFile.pattern.test(raw))).toEqual([false]);
  });

  test("a mail that goes without its attachments asks no recipient again who was refused with them", async () => {
    const gone = { at: "rcpt", code: 550, address: "gone@example.com" } as const;
    const server = await startSmtp({ faults: [gone], refuses: { ...withFile, code: 554 } });
    expect(await attemptsAt(server, "gone@example.com,ap@example.com")(1)).toMatchObject({
      kind: "delivered",
      receipt: { accepted: ["ap@example.com"], rejected: [{ address: "gone@example.com" }] },
    });
    expect(server.commands.filter((command) => command.includes("gone@"))).toHaveLength(1);
  });

  test("a mail that a server refuses without its attachments too is dead, with the reason of that refusal", async () => {
    const refuses = { pattern: /./, code: 554, text: "5.7.1 Spam" };
    expect((await send(parts, { refuses })).outcome).toMatchObject({
      kind: "dead",
      reason: expect.stringContaining("554 5.7.1 Spam"),
    });
  });
});
