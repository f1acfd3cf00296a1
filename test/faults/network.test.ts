/** What each fault of the network comes to in the database once the sink is well again, as a table. */
import type { Socket } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { describe, expect, it, onTestFinished } from "vitest";
import { startHttpSink, type HttpSinkStandIn } from "../support/http-sink.ts";
import { startSlack, type SlackFault } from "../support/slack.ts";
import { startSmtp } from "../support/smtp.ts";
import type { EgressOptions } from "../../src/net/egress.ts";
import { deliverOne, type Ended, type PipelineOptions } from "./support/pipeline.ts";
import { aScriptedSmtp, aTcpServer, type SmtpMove, type SmtpStep } from "./support/servers.ts";
import { aFreePort } from "../support/free-port.ts";

/** Of a sink that hangs in the first attempt: it is reached by then, also on a busy machine. */
const HANGING = { timeoutsMs: [1_500, 60_000] };
const patienceWith = (fault: string) => (/never|no answer|late|hang/.test(fault) ? HANGING : {});
const LOCAL = [{ address: "127.0.0.1", family: 4 }];
const ANSWER = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

const http = (url: string, more: Partial<PipelineOptions> = {}): Promise<Ended> =>
  deliverOne({ kind: "http", config: { url }, ...more });
const email = (smtp: string, values = {}, more: Partial<PipelineOptions> = {}): Promise<Ended> =>
  deliverOne({
    kind: "email",
    config: { smtp, from: "relay@example.com", to: ["ops@example.com"], ...values },
    ...more,
  });

async function aSink(): Promise<HttpSinkStandIn> {
  const sink = await startHttpSink();
  onTestFinished(() => sink.close());
  return sink;
}

const RETRIED: Partial<Ended> = { state: "delivered", attempts: ["retry", "delivered"] };

describe("finding an HTTP sink", () => {
  const coded = (code: string) => Object.assign(new Error(code), { code });
  /** Finds the name from the second question on. */
  const askedTwice = (first: () => Promise<never>): NonNullable<EgressOptions["lookup"]> => {
    let asked = 0;
    return () => (++asked === 1 ? first() : Promise.resolve(LOCAL));
  };
  it.each<[string, () => Promise<never>, RegExp]>([
    ["its name does not exist", () => Promise.reject(coded("ENOTFOUND")), /its name has no address \(ENOTFOUND\)/],
    ["the resolver fails", () => Promise.reject(coded("EAI_AGAIN")), /could not be resolved right now \(EAI_AGAIN\)/],
    ["the resolver never answers", () => new Promise(() => {}), /did not answer in time/],
  ])(
    "a delivery is retried, then delivered once, where the HTTP sink cannot be found at first: %s",
    async (fault, first, reason) => {
      const sink = await aSink();
      const url = sink.url.replace("127.0.0.1", "crm.example.com");
      const ended = await http(url, { lookup: askedTwice(first), ...patienceWith(fault) });
      expect(ended).toMatchObject({ ...RETRIED, reasons: [expect.stringMatching(reason), null] });
      expect(sink.requests).toHaveLength(1);
    },
  );

  it("a delivery dies with nothing sent when the resolver is slower than the timeout each time", async () => {
    const sink = await aSink();
    const slow = async () => {
      await pause(600);
      return LOCAL;
    };
    const url = sink.url.replace("127.0.0.1", "crm.example.com");
    const ended = await http(url, { lookup: slow, timeoutsMs: [300] });
    expect(ended).toMatchObject({ state: "dead", attempts: ["retry", "retry", "dead"] });
    expect(sink.requests).toHaveLength(0);
  });

  it("a delivery arrives at the first attempt where the resolver is merely slow", async () => {
    const sink = await aSink();
    const slow = async () => {
      await pause(100);
      return LOCAL;
    };
    const ended = await http(sink.url.replace("127.0.0.1", "crm.example.com"), { lookup: slow });
    expect(ended).toMatchObject({ state: "delivered", attempts: ["delivered"] });
  });
});

describe("speaking with an HTTP sink", () => {
  it("a delivery to an HTTP sink that refuses connections dies when the schedule is used up, with the reason", async () => {
    const ended = await http(`http://127.0.0.1:${await aFreePort()}/`);
    expect(ended).toMatchObject({ state: "dead", attempts: ["retry", "retry", "dead"] });
    expect(ended.reasons[0]).toMatch(/the connection was refused \(ECONNREFUSED\)/);
    expect(ended.reasons[2]).toMatch(/^none of 3 attempts succeeded; .*ECONNREFUSED/);
  });

  /** What a server does with its first connection; from the second on it answers 200. */
  const FAULTS: [string, (socket: Socket) => void, RegExp][] = [
    ["it takes the connection and never answers", () => {}, /did not answer in time/],
    ["it resets the connection at once", (socket) => socket.resetAndDestroy(), /the connection failed/],
    [
      "it resets while the request's body comes in",
      (socket) => socket.once("data", () => socket.resetAndDestroy()),
      /the connection failed/,
    ],
    [
      "it resets in the middle of the answer's headers",
      (socket) => socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\ncont", () => socket.resetAndDestroy())),
      /the connection failed/,
    ],
    [
      "its answer's headers never end",
      (socket) => socket.once("data", () => socket.write("HTTP/1.1 200 OK\r\nx-a: 1\r\n")),
      /did not answer in time/,
    ],
    [
      "it speaks no HTTP",
      (socket) => socket.once("data", () => socket.write("hello?\r\n\r\n")),
      /the connection failed/,
    ],
    [
      "it answers 500 and then never ends",
      (socket) => socket.once("data", () => socket.write("HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\noh")),
      /answered 500/,
    ],
  ];
  it.each(FAULTS)(
    "a delivery to an HTTP sink is retried, then delivered, after a broken connection: %s",
    async (fault, act, reason) => {
      const port = await aTcpServer((socket, n) => {
        if (n === 1) act(socket);
        else socket.on("data", () => void socket.write(ANSWER));
      });
      const ended = await http(`http://127.0.0.1:${port}/`, patienceWith(fault));
      expect(ended).toMatchObject({ ...RETRIED, reasons: [expect.stringMatching(reason), null] });
    },
  );

  it.each<[string, (socket: Socket) => void]>([
    [
      "breaks off in its body",
      (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok", () => socket.resetAndDestroy()),
    ],
    ["never ends", (socket) => void socket.write("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nok")],
    [
      "is endless",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        const chunk = `4000\r\n${"a".repeat(0x4000)}\r\n`;
        const more = () => {
          while (!socket.destroyed && socket.write(chunk));
        };
        socket.on("drain", more);
        more();
      },
    ],
  ])("a delivery whose 200 has an answer that %s counts as delivered at the first attempt", async (fault, act) => {
    const port = await aTcpServer((socket) => void socket.once("data", () => act(socket)));
    const ended = await http(`http://127.0.0.1:${port}/`, patienceWith(fault));
    expect(ended).toMatchObject({ state: "delivered", attempts: ["delivered"], receipt: { status: 200 } });
  });

  it("a delivery to a server that speaks no TLS where TLS was expected is retried, and dies with the reason", async () => {
    const port = await aTcpServer((socket) => void socket.once("data", () => socket.write(ANSWER)));
    const ended = await http(`https://127.0.0.1:${port}/`);
    expect(ended).toMatchObject({ state: "dead", attempts: ["retry", "retry", "dead"] });
    expect(ended.reasons[0]).toMatch(/could not be reached: the TLS connection was not accepted/);
  });
});

const ANSWERS: [SmtpStep, "4xx" | "5xx", string, Partial<Ended>][] = [
  ["greeting", "4xx", "421 too busy", RETRIED],
  ["greeting", "5xx", "554 no SMTP service here", RETRIED],
  ["ehlo", "4xx", "421 too busy", RETRIED],
  ["ehlo", "5xx", "550 not you", RETRIED],
  ["auth", "4xx", "454 temporary authentication failure", RETRIED],
  ["auth", "5xx", "535 wrong password", { state: "dead", attempts: ["dead"] }],
  ["mail", "4xx", "451 try later", RETRIED],
  ["mail", "5xx", "550 sender refused", { state: "dead", attempts: ["dead"] }],
  ["rcpt", "4xx", "451 4.7.1 greylisted, try again in five minutes", RETRIED],
  ["rcpt", "5xx", "550 no such user", { state: "dead", attempts: ["dead"] }],
  ["data", "4xx", "451 try later", RETRIED],
  ["data", "5xx", "554 no valid recipients", { state: "dead", attempts: ["dead"] }],
  ["text", "4xx", "452 out of disk", RETRIED],
  ["text", "5xx", "554 looks like spam", { state: "dead", attempts: ["dead"] }],
];

describe("an SMTP server that says no", () => {
  it.each(ANSWERS)(
    "a mail refused at %s with %s (%s) is tried again or dead, as its answer means",
    async (step, _class, line, expected) => {
      const smtp = await aScriptedSmtp({ [step]: line });
      const ended = await email(`smtp://user:secret-pass@127.0.0.1:${smtp.port}?ignoreTLS=true`);
      expect(ended).toMatchObject(expected);
      expect(ended.reasons[0]).toContain(line.slice(0, 3));
      expect(smtp.mails).toHaveLength(expected.state === "delivered" ? 1 : 0);
    },
  );
});

const BREAKS: [SmtpStep, SmtpMove, number][] = [
  ["greeting", "drop", 1],
  ["greeting", "hang", 1],
  ["ehlo", "drop", 1],
  ["ehlo", "hang", 1],
  ["auth", "drop", 1],
  ["mail", "drop", 1],
  ["mail", "hang", 1],
  ["rcpt", "drop", 1],
  ["rcpt", "hang", 1],
  ["data", "drop", 1],
  ["data", "hang", 1],
  ["data", "drop in mid-text", 1],
  // The server has taken it: the second one carries the same Message-ID.
  ["text", "drop", 2],
  ["text", "hang", 2],
];

describe("an SMTP server that breaks off", () => {
  it.each(BREAKS)(
    "a mail broken off at %s (%s) is retried, then delivered; the server takes %d mails with one Message-ID",
    async (step, move, mails) => {
      const smtp = await aScriptedSmtp({ [step]: move });
      const url = `smtp://user:secret-pass@127.0.0.1:${smtp.port}?ignoreTLS=true`;
      const ended = await email(url, {}, patienceWith(move));
      expect(ended).toMatchObject(RETRIED);
      expect(smtp.mails).toHaveLength(mails);
      expect(new Set(smtp.mails.map((mail) => /^Message-ID: (.+)$/im.exec(mail)?.[1]))).toEqual(
        new Set(["<dlv_1@example.com>"]),
      );
    },
  );

  it("a mail whose connection breaks after the server took it counts as delivered with on_unknown: assume_sent", async () => {
    const smtp = await aScriptedSmtp({ text: "drop" });
    const ended = await email(`smtp://127.0.0.1:${smtp.port}?ignoreTLS=true`, { on_unknown: "assume_sent" });
    expect(ended).toMatchObject({ state: "delivered", attempts: ["delivered"], receipt: { assumed: true } });
    expect(smtp.mails).toHaveLength(1);
  });

  it("a mail whose connection breaks before the server took it is retried also with on_unknown: assume_sent", async () => {
    const smtp = await aScriptedSmtp({ rcpt: "drop" });
    const ended = await email(`smtp://127.0.0.1:${smtp.port}?ignoreTLS=true`, { on_unknown: "assume_sent" });
    expect(ended).toMatchObject(RETRIED);
    expect(smtp.mails).toHaveLength(1);
  });

  it.each<[string, (port: number) => string]>([
    ["refuses the connection", (port) => `smtp://127.0.0.1:${port}`],
    ["has a name without an address", () => "smtp://mail.invalid:2525"],
  ])("a mail to a server that %s is dead when the schedule is used up", async (_fault, url) => {
    const ended = await email(url(await aFreePort()));
    expect(ended).toMatchObject({ state: "dead", attempts: ["retry", "retry", "dead"] });
  });

  it.each<[string, string, string]>([
    ["offers no STARTTLS where it is required", "smtp:", "?requireTLS=true"],
    ["speaks no TLS where smtps:// was given", "smtps:", ""],
  ])(
    "a mail to a server that %s is dead when the schedule is used up, and does not go out in clear",
    async (_fault, scheme, query) => {
      const smtp = await startSmtp();
      onTestFinished(() => smtp.close());
      const ended = await email(`${smtp.url.replace("smtp:", scheme)}${query}`);
      expect(ended).toMatchObject({ state: "dead", attempts: ["retry", "retry", "dead"] });
      expect(smtp.messages).toHaveLength(0);
    },
  );
});

describe("Slack over a bad network", () => {
  it.each<[string, SlackFault, RegExp]>([
    ["the connection breaks before the work", { drop: true }, /connection failed|could not be reached/],
    ["no answer comes, and nothing was posted", { hang: true }, /did not answer in time/],
    ["the answer is lost", { resetAfterSuccess: true }, /connection failed/],
    ["the answer is late", { hangAfterSuccess: true }, /did not answer in time/],
    ["it answers 500", { status: 500 }, /answered 500/],
    ["it answers 503", { status: 503, retryAfter: 1 }, /answered 503/],
    ["it answers 429", { status: 429, retryAfter: 1 }, /limits the rate/],
    ["a proxy answers in its place", { status: 200, body: "<html>sign in</html>" }, /something else came/],
  ])("Slack shows one message in the end over a bad network: %s", async (what, fault, reason) => {
    const slack = await startSlack();
    onTestFinished(() => slack.close());
    slack.faults.push({ method: "chat.postMessage", ...fault });
    const ended = await deliverOne({
      kind: "slack",
      config: { token: slack.token, channel: "C0123ABCD", api_url: slack.url },
      ...patienceWith(what),
    });
    expect(ended).toMatchObject({ ...RETRIED, reasons: [expect.stringMatching(reason), null] });
    expect(slack.messages()).toHaveLength(1);
  });
});
