import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import PostalMime from "postal-mime";
import { afterEach, describe, expect, onTestFinished, test } from "vitest";
import { startSmtp, type SmtpFault, type SmtpStandIn, type SmtpStandInOptions } from "../../support/smtp.ts";
import email from "../../../src/sinks/email/index.ts";
import { aFolder } from "../../support/app.ts";
import { runProgram } from "../../support/process.ts";
import { aJob, depsWith, noAbort, noHttp, NOW } from "../a-report.ts";

let server: SmtpStandIn | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});

const start = async (options: SmtpStandInOptions = {}): Promise<SmtpStandIn> => (server = await startSmtp(options));

/** An SMTP server that answers each line as told, and knows nothing of the protocol. */
async function aRawServer(answer: (line: string) => string): Promise<string> {
  const raw = createServer((socket) => {
    socket.on("error", () => {});
    socket.write("220 here\r\n");
    createInterface(socket).on("line", (line) => socket.write(`${answer(line)}\r\n`));
  });
  await new Promise<void>((resolve) => void raw.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void raw.close());
  return `smtp://127.0.0.1:${(raw.address() as AddressInfo).port}`;
}

const sinkTo = (smtp: string, config: Record<string, unknown> = {}) =>
  email.create(
    "finance",
    email.config.parse({ smtp, from: "Relay <relay@example.com>", to: "ap@example.com", ...config }),
    depsWith(noHttp),
  );

const failing = async (...faults: SmtpFault[]) => sinkTo((await start({ faults })).url);

describe("a mail on the wire", () => {
  test("a mail arrives with its addresses, id, date, headers, text and HTML", async () => {
    const { url, messages } = await start();
    const sink = sinkTo(url, { to: '"Doe, Jane" <jane@example.com>, ap@example.com', reply_to: "help@example.com" });
    const outcome = await sink.deliver(aJob({ report: { title: "Käse €" } }), noAbort());
    expect(outcome).toEqual({
      kind: "delivered",
      receipt: {
        message_id: "<dlv_019bdb1c2f3a4b5c6d7e8f90@example.com>",
        accepted: ["jane@example.com", "ap@example.com"],
        response: expect.stringMatching(/^250/),
      },
    });
    expect(messages[0]?.envelope).toEqual({ from: "relay@example.com", to: ["jane@example.com", "ap@example.com"] });
    const mail = await PostalMime.parse(messages[0]?.raw ?? "");
    expect(mail).toMatchObject({
      from: { name: "Relay", address: "relay@example.com" },
      to: [{ name: "Doe, Jane", address: "jane@example.com" }, { address: "ap@example.com" }],
      replyTo: [{ address: "help@example.com" }],
      subject: "✅ Completed: Käse €",
      messageId: "<dlv_019bdb1c2f3a4b5c6d7e8f90@example.com>",
      date: `${new Date(NOW).toISOString().slice(0, 19)}.000Z`,
    });
    expect(mail.text).toContain("vendor\n  Kaffeemühle €");
    expect(mail.html).toContain("Kaffeemühle €");
    const header = (key: string) => mail.headers.find((each) => each.key === key)?.value;
    expect(header("auto-submitted")).toBe("auto-generated");
    expect(header("x-skyvern-run-id")).toBe("wr_491230000000000001");
  });

  test("a mail that corrects stands in the thread of the one before", async () => {
    const { url, messages } = await start();
    const previous = { message_id: "<dlv_0@example.com>" };
    await sinkTo(url).deliver(aJob({ cause: "correction", previous }), noAbort());
    const mail = await PostalMime.parse(messages[0]?.raw ?? "");
    expect(mail).toMatchObject({ inReplyTo: "<dlv_0@example.com>", references: "<dlv_0@example.com>" });
    expect(mail.subject).toMatch(/^Correction: /);
    expect(mail.text).toMatch(/^Correction: ✅ Completed: /);
    expect(mail.text).toContain("the outcome of this run changed. This replaces what was told before.");
  });

  test("a mail on the wire says of when its words are, unless no run is behind it", async () => {
    const { url, messages } = await start();
    for (const cause of ["result", "test"] as const) await sinkTo(url).deliver(aJob({ cause }), noAbort());
    const [result, testing] = await Promise.all(messages.map(({ raw }) => PostalMime.parse(raw)));
    const words = "as of 2026-01-20 12:00:31 UTC; the run page has what came later";
    expect(result?.text).toContain(words);
    expect(result?.html).toContain(words);
    expect(testing?.text).not.toContain("as of");
  });

  test("a mail cannot be given headers or recipients by what it reports", async () => {
    const { url, messages } = await start();
    const evil = "x\r\nBcc: victim@example.com\r\n\r\nbody";
    await sinkTo(url).deliver(
      aJob({ deliveryId: "a>\r\nBcc: v@example.com", report: { title: evil, run_id: evil } }),
      noAbort(),
    );
    const mail = await PostalMime.parse(messages[0]?.raw ?? "");
    expect(mail.bcc).toBeUndefined();
    expect(messages[0]?.envelope.to).toEqual(["ap@example.com"]);
    expect(mail.headers.filter(({ key }) => key === "bcc")).toEqual([]);
    expect(mail.messageId).toMatch(/^<[\w.-]+@example\.com>$/);
  });

  test("a mail with lines that begin with a dot arrives whole", async () => {
    const { url, messages } = await start();
    await sinkTo(url).deliver(aJob({ report: { summary: "a\n.\n..b" } }), noAbort());
    const { text } = await PostalMime.parse(messages[0]?.raw ?? "");
    expect(text).toContain("a\n  .\n  ..b");
  });
});

describe("login and TLS", () => {
  test("an email sink uses user and password of the URL, decoded", async () => {
    const { url, messages } = await start({ auth: { user: "us@er", pass: "p:w/%" } });
    expect(await sinkTo(url).deliver(aJob(), noAbort())).toMatchObject({ kind: "delivered" });
    expect(messages).toHaveLength(1);
  });

  test("a wrong password is dead, with what to do, and is not shown", async () => {
    const { url } = await start({ auth: { user: "relay", pass: "right" } });
    const outcome = await sinkTo(url.replace("right", "wr0ng-passw0rd")).deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({ kind: "dead", reason: expect.stringContaining("check user and password") });
    expect(JSON.stringify(outcome)).not.toContain("wr0ng");
  });

  test("STARTTLS is used when offered, and on loopback the certificate may be self-made", async () => {
    const { url, messages } = await start({ startTls: true });
    expect(await sinkTo(`${url}?requireTLS=true`).deliver(aJob(), noAbort())).toMatchObject({ kind: "delivered" });
    expect(messages).toHaveLength(1);
  });

  test("a mail is not sent to a server without STARTTLS when TLS is required", async () => {
    const { url, messages } = await start();
    const outcome = await sinkTo(`${url}?requireTLS=true`).deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({ kind: "retry" });
    expect(outcome).not.toHaveProperty("unknown");
    expect(messages).toHaveLength(0);
  });
});

describe("a reply", () => {
  test.each<SmtpFault>([
    { at: "mail", code: 450 },
    { at: "mail", code: 421 },
    { at: "rcpt", code: 451 },
    { at: "rcpt", code: 450, text: "Greylisted, try again later" },
    { at: "data", code: 452 },
    { at: "data", code: 421 },
  ])("a mail is tried again after the reply %o, and not as unknown, as the server said no", async (fault) => {
    const sink = await failing(fault);
    const outcome = await sink.deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({
      kind: "retry",
      reason: expect.stringMatching(/email sink "finance" \(127\.0\.0\.1:\d+\) answered 4/),
    });
    expect(outcome).not.toHaveProperty("unknown");
    expect(await sink.deliver(aJob({ attempt: 2 }), noAbort())).toMatchObject({ kind: "delivered" });
  });

  test.each<SmtpFault>([
    { at: "mail", code: 550 },
    { at: "mail", code: 530 },
    { at: "rcpt", code: 550 },
    { at: "data", code: 554 },
    { at: "data", code: 552 },
  ])("a mail is dead after the reply %o", async (fault) => {
    const outcome = await (await failing(fault)).deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({
      kind: "dead",
      reason: expect.stringContaining(`answered ${"code" in fault && fault.code}`),
    });
  });

  test("a mail is tried again after a 503 (bad sequence), which is about the session", async () => {
    expect(await (await failing({ at: "mail", code: 503 })).deliver(aJob(), noAbort())).toMatchObject({
      kind: "retry",
    });
  });

  test("a mail whose recipients are partly refused for good is delivered to the others, and the outcome names the refused", async () => {
    const { url, messages } = await start({ faults: [{ at: "rcpt", code: 550, address: "gone@example.com" }] });
    const outcome = await sinkTo(url, { to: ["gone@example.com", "ap@example.com"] }).deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({
      kind: "delivered",
      reason: expect.stringMatching(/refused the mail for good for gone@example\.com \(550 /),
      receipt: {
        accepted: ["ap@example.com"],
        rejected: [{ address: "gone@example.com", response: expect.stringMatching(/^550/) }],
      },
    });
    expect(messages[0]?.envelope.to).toEqual(["ap@example.com"]);
  });

  test("a mail whose recipients are partly refused for now is tried again for these alone, and names all in the header", async () => {
    const to = ["slow@example.com", "gone@example.com", "ap@example.com"];
    const { url, messages, faults } = await start({
      faults: [
        { at: "rcpt", code: 450, address: "slow@example.com" },
        { at: "rcpt", code: 550, address: "gone@example.com" },
      ],
    });
    const sink = sinkTo(url, { to });
    const first = await sink.deliver(aJob(), noAbort());
    expect(first).toMatchObject({
      kind: "retry",
      reason: expect.stringMatching(
        /took the mail for ap@example\.com, and refused it for now for slow@example\.com \(450 .*, and for good for gone@example\.com \(550 /,
      ),
    });
    expect(first).not.toHaveProperty("unknown");
    const begun = first.kind === "retry" ? (first.receipt ?? null) : null;
    faults.push({ at: "rcpt", code: 451 });
    expect(await sink.deliver(aJob({ attempt: 2, begun }), noAbort())).toMatchObject({
      kind: "retry",
      reason: expect.stringMatching(/ap@example\.com got it before; refused for good before: gone@example\.com \(550 /),
    });
    expect(await sink.deliver(aJob({ attempt: 3, begun }), noAbort())).toMatchObject({
      kind: "delivered",
      reason: expect.stringContaining("gone@example.com"),
      receipt: { accepted: ["ap@example.com", "slow@example.com"], rejected: [{ address: "gone@example.com" }] },
    });
    expect(messages.map(({ envelope }) => envelope.to)).toEqual([["ap@example.com"], ["slow@example.com"]]);
    const parsed = await Promise.all(messages.map(({ raw }) => PostalMime.parse(raw)));
    expect(new Set(parsed.map(({ messageId }) => messageId)).size).toBe(1);
    for (const mail of parsed) expect(mail.to?.map(({ address }) => address)).toEqual(to);
  });

  test("a mail refused for good for a recipient whom the server refused for now before stays delivered to the others", async () => {
    const { url } = await start({ faults: [{ at: "rcpt", code: 550 }] });
    const begun = { accepted: ["ap@example.com"] };
    const sink = sinkTo(url, { to: "ap@example.com,slow@example.com" });
    expect(await sink.deliver(aJob({ attempt: 2, begun }), noAbort())).toMatchObject({
      kind: "delivered",
      reason: expect.stringContaining("slow@example.com (550"),
      receipt: { accepted: ["ap@example.com"], rejected: [{ address: "slow@example.com" }] },
    });
  });

  test.each(["b@example.com,a@example.com", "a@example.com,b@example.com"])(
    "a mail refused to all of %s, one for good, is tried again for the other alone, and the outcome names both",
    async (to) => {
      const { url, faults, commands, messages } = await start({
        faults: [
          { at: "rcpt", code: 550, address: "a@example.com" },
          { at: "rcpt", code: 450, address: "b@example.com" },
        ],
      });
      const sink = sinkTo(url, { to });
      const first = await sink.deliver(aJob(), noAbort());
      expect(first).toMatchObject({
        kind: "retry",
        reason: expect.stringMatching(
          /refused the mail for now for b@example\.com \(450 .*, and for good for a@example\.com \(550 /,
        ),
        receipt: { accepted: [], rejected: [{ address: "a@example.com" }] },
      });
      expect(first).not.toHaveProperty("unknown");
      const begun = first.kind === "retry" ? (first.receipt ?? null) : null;
      commands.length = 0;
      faults.push({ at: "rcpt", code: 550, address: "b@example.com" });
      expect(await sink.deliver(aJob({ attempt: 2, begun }), noAbort())).toMatchObject({
        kind: "dead",
        reason: expect.stringMatching(/answered 550 .*refused for good before: a@example\.com \(550 /),
      });
      expect(await sink.deliver(aJob({ attempt: 2, begun }), noAbort())).toMatchObject({
        kind: "delivered",
        reason: expect.stringContaining("refused the mail for good for a@example.com (550"),
        receipt: { accepted: ["b@example.com"], rejected: [{ address: "a@example.com" }] },
      });
      expect(commands.filter((command) => command.startsWith("RCPT"))).toEqual(
        Array.from({ length: 2 }, () => "RCPT TO:<b@example.com>"),
      );
      expect(messages.map(({ envelope }) => envelope.to)).toEqual([["b@example.com"]]);
    },
  );

  test.each<[SmtpFault, string | undefined]>([
    [{ at: "data", code: 451 }, "answered 451 .*; refused for good before: gone@example\\.com \\(550 "],
    [{ at: "data", do: "drop" }, undefined],
    [{ at: "reply", do: "drop" }, undefined],
  ])("a recipient refused for good is not asked again after %o", async (fault, reason = "") => {
    const gone: SmtpFault = { at: "rcpt", code: 550, address: "gone@example.com" };
    const { url, commands, messages } = await start({ faults: [gone, fault] });
    const sink = sinkTo(url, { to: "gone@example.com,ap@example.com" });
    const first = await sink.deliver(aJob(), noAbort());
    expect(first).toMatchObject({
      kind: "retry",
      reason: expect.stringMatching(reason),
      receipt: { accepted: [], rejected: [{ address: "gone@example.com" }] },
    });
    commands.length = 0;
    messages.length = 0;
    const begun = first.kind === "retry" ? (first.receipt ?? null) : null;
    expect(await sink.deliver(aJob({ attempt: 2, begun }), noAbort())).toMatchObject({
      kind: "delivered",
      receipt: { accepted: ["ap@example.com"], rejected: [{ address: "gone@example.com" }] },
    });
    expect(commands.filter((command) => command.startsWith("RCPT"))).toEqual(["RCPT TO:<ap@example.com>"]);
    expect(messages).toHaveLength(1);
  });

  test("a sender refused for now leaves each recipient to be asked again, whatever the server answered for them", async () => {
    const answers: Record<string, string> = {
      EHLO: "250-here\r\n250 PIPELINING",
      MAIL: "450 not now",
      RCPT: "554 no sender",
      DATA: "554 no sender",
    };
    const url = await aRawServer((line) => answers[line.slice(0, 4)] ?? "250 ok");
    const outcome = await sinkTo(url, { to: "a@example.com,b@example.com" }).deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining("answered 450 not now") });
    expect(outcome).not.toHaveProperty("receipt");
  });

  test("an outcome shows no password that the server's reply repeats", async () => {
    const faults: SmtpFault[] = [{ at: "mail", code: 550, text: "you said s3cret-pw\u001b[2J" }];
    const { url } = await start({ faults, auth: { user: "relay", pass: "s3cret-pw" } });
    const outcome = await sinkTo(url).deliver(aJob(), noAbort());
    expect(JSON.stringify(outcome)).toContain("you said [secret]");
    expect(JSON.stringify(outcome)).not.toMatch(/s3cret|\\u001b/);
  });
});

describe("a connection that breaks", () => {
  test.each<SmtpFault>([
    { at: "connect", do: "drop" },
    { at: "mail", do: "drop" },
  ])(
    "a mail whose connection breaks with %o before the text was handed over cannot have been delivered",
    async (fault) => {
      const outcome = await (await failing(fault)).deliver(aJob(), noAbort());
      expect(outcome).toMatchObject({ kind: "retry" });
      expect(outcome).not.toHaveProperty("unknown");
    },
  );

  test.each<SmtpFault>([
    { at: "data", do: "drop" },
    { at: "reply", do: "drop" },
  ])("a mail whose connection breaks with %o after the text was handed over is unknown", async (fault) => {
    expect(await (await failing(fault)).deliver(aJob(), noAbort())).toMatchObject({ kind: "retry", unknown: true });
  });

  test("a mail whose connection breaks after the server took it is sent again with the same Message-ID", async () => {
    const { url, messages } = await start({ faults: [{ at: "reply", do: "drop" }] });
    const sink = sinkTo(url);
    await sink.deliver(aJob(), noAbort());
    expect(await sink.deliver(aJob({ attempt: 2, maybeSent: true }), noAbort())).toMatchObject({ kind: "delivered" });
    const ids = await Promise.all(messages.map(async ({ raw }) => (await PostalMime.parse(raw)).messageId));
    expect(ids).toHaveLength(2);
    expect(new Set(ids).size).toBe(1);
  });

  test("a mail whose connection breaks counts as sent with on_unknown: assume_sent, and the receipt says so", async () => {
    const { url, messages } = await start({ faults: [{ at: "reply", do: "drop" }] });
    const sink = sinkTo(url, { on_unknown: "assume_sent" });
    const assumed = { kind: "delivered", receipt: { message_id: expect.stringContaining("dlv_"), assumed: true } };
    expect(await sink.deliver(aJob(), noAbort())).toEqual(assumed);
    expect(await sink.deliver(aJob({ attempt: 2, maybeSent: true }), noAbort())).toEqual(assumed);
    expect(messages).toHaveLength(1);
  });

  test("a refused mail is still tried again with on_unknown: assume_sent", async () => {
    const { url } = await start({ faults: [{ at: "rcpt", code: 450 }] });
    expect(await sinkTo(url, { on_unknown: "assume_sent" }).deliver(aJob(), noAbort())).toMatchObject({
      kind: "retry",
    });
  });

  test("an abort before the text was sent is not unknown, and one that waits for the reply is", async () => {
    const abortedAt = async (at: "mail" | "data") => {
      const abort = new AbortController();
      const hanging = await startSmtp({ faults: [{ at, do: "hang", reached: () => abort.abort() }] });
      onTestFinished(() => hanging.close());
      return sinkTo(hanging.url).deliver(aJob(), abort.signal);
    };
    const before = await abortedAt("mail");
    expect(before).toMatchObject({ kind: "retry" });
    expect(before).not.toHaveProperty("unknown");
    expect(await abortedAt("data")).toMatchObject({ kind: "retry", unknown: true });
  });
});

describe("a domain in another script", () => {
  test("a domain in another script goes out as punycode, which every server takes, in envelope, header and Message-ID", async () => {
    const { url, messages, commands } = await start({ withoutUtf8: true });
    const config = { from: "Relay <relay@münchen.example>", to: ["ops@bücher.example", "東京 <a@例え.テスト>"] };
    expect(await sinkTo(url, config).deliver(aJob(), noAbort())).toMatchObject({
      kind: "delivered",
      receipt: { accepted: ["ops@xn--bcher-kva.example", "a@xn--r8jz45g.xn--zckzah"] },
    });
    expect(commands).toEqual([
      "MAIL FROM:<relay@xn--mnchen-3ya.example>",
      "RCPT TO:<ops@xn--bcher-kva.example>",
      "RCPT TO:<a@xn--r8jz45g.xn--zckzah>",
    ]);
    const head = messages[0]?.raw.split("\r\n\r\n")[0] ?? "";
    expect(head).not.toMatch(/[^\x00-\x7F]/);
    expect(head).toMatch(/^Message-ID: <dlv_\w+@xn--mnchen-3ya\.example>/im);
  });
});

describe("TLS that cannot be set up", () => {
  /** Another way to 127.0.0.1: on loopback certificates are not looked at. */
  const elsewhere = (url: string): string => url.replace("127.0.0.1", "0.0.0.0");
  const reasonFrom = async (url: string): Promise<string> => {
    const outcome = await sinkTo(url).deliver(aJob(), noAbort());
    expect(outcome.kind).toBe("retry");
    return outcome.reason ?? "";
  };

  test("a mail whose TLS fails names the scheme where the port does not begin with TLS", async () => {
    const { url } = await start();
    expect(await reasonFrom(url.replace("smtp:", "smtps:"))).toMatch(/does not begin with TLS: write smtp:\/\//);
  });

  test("a mail whose TLS fails names requireTLS where the server offers none", async () => {
    const { url } = await start();
    expect(await reasonFrom(`${url}?requireTLS=true`)).toMatch(/STARTTLS does not work: write smtps:\/\/.*requireTLS/);
  });

  test("a mail whose TLS fails names the certificate, and where to put its authority", async () => {
    const { url } = await start({ startTls: true, tls: aCertificate("IP:0.0.0.0") });
    expect(await reasonFrom(elsewhere(url))).toMatch(/signed its certificate: set NODE_EXTRA_CA_CERTS/);
    await server?.close();
    const secure = await start({ secure: true, tls: aCertificate("DNS:other.example") });
    expect(await reasonFrom(elsewhere(secure.url))).toMatch(/certificate/);
  });

  test("TLS is passed over with ignoreTLS=true, where the network is trusted", async () => {
    const { url, messages } = await start({ startTls: true, tls: aCertificate("IP:0.0.0.0") });
    const outcome = await sinkTo(`${elsewhere(url)}?ignoreTLS=true`).deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({ kind: "delivered" });
    expect(messages).toHaveLength(1);
  });

  test("TLS is set up with an authority of one's own in NODE_EXTRA_CA_CERTS", async () => {
    const tls = aCertificate("IP:0.0.0.0");
    const { url } = await start({ secure: true, tls });
    const folder = aFolder();
    writeFileSync(join(folder, "ca.pem"), tls.cert);
    const look = async (env: Record<string, string>) => {
      const { stdout } = await runProgram(["doctor", "--json"], {
        SKYVERN_API_KEY: "k",
        SKYVERN_BASE_URL: "http://127.0.0.1:1",
        SMTP_URL: elsewhere(url),
        EMAIL_FROM: "relay@example.com",
        EMAIL_TO: "ops@example.com",
        ...env,
      }).ended;
      return stdout;
    };
    expect(await look({})).toContain("NODE_EXTRA_CA_CERTS");
    expect(await look({ NODE_EXTRA_CA_CERTS: join(folder, "ca.pem") })).toMatch(/speaks TLS/);
  });
});

/** Self-signed, and so its own authority. */
function aCertificate(name: string): { key: string; cert: string } {
  const folder = aFolder();
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")];
  const subject = ["-subj", "/CN=mail", "-addext", `subjectAltName=${name}`];
  const made = [
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    "-keyout",
    key,
    "-out",
    cert,
    ...subject,
  ];
  execFileSync("openssl", made, { stdio: "ignore" });
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") };
}

describe("the configuration", () => {
  const addresses = (to: unknown) => email.config.parse({ ...valid, to }).to.map(({ address }) => address);
  const valid = { smtp: "smtp://mail.example.com", from: "relay@example.com", to: "ap@example.com" };
  const faultsOf = (given: object) =>
    email.config.safeParse({ ...valid, ...given }).error?.issues.map(({ path }) => path[0]) ?? [];

  test("an email sink takes recipients as one text, with commas, or as a list", () => {
    expect(addresses("a@example.com")).toEqual(["a@example.com"]);
    expect(addresses("a@example.com, B <b@example.com>")).toEqual(["a@example.com", "b@example.com"]);
    expect(addresses(["a@example.com", "b@example.com"])).toEqual(["a@example.com", "b@example.com"]);
  });

  test.each([
    "",
    "mail.example.com:25",
    "http://mail.example.com",
    "smtp://",
    "smtp://u:p%@mail.example.com",
    "smtp://mail.example.com?logger=true",
  ])("an email sink refuses the SMTP URL %j", (smtp) => {
    expect(faultsOf({ smtp })).toEqual(["smtp"]);
  });

  test.each([
    "",
    "nobody",
    "a@b@c.example",
    "a b@example.com",
    "a@example.com\r\nBcc: x@example.com",
    "<>",
    "a@",
    "@example.com",
  ])("an email sink refuses the address %j", (address) => {
    expect(faultsOf({ from: address })).toEqual(["from"]);
    expect(faultsOf({ to: address })).toEqual(["to"]);
    expect(faultsOf({ to: ["ok@example.com", address] })).toEqual(["to"]);
  });

  test("an email sink refuses two addresses as its sender", () => {
    expect(faultsOf({ from: "a@example.com, b@example.com" })).toEqual(["from"]);
  });

  test("an email sink prints no password", () => {
    expect(JSON.stringify(email.config.parse({ ...valid, smtp: "smtp://u:p4ss@mail.example.com" }))).not.toContain(
      "p4ss",
    );
  });
});
