/** What is asked of every kind of sink. A new kind adds its harness here; the first test fails until it does. */
import PostalMime from "postal-mime";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { startHttpSink } from "../support/http-sink.ts";
import { startSlack, type SlackFault } from "../support/slack.ts";
import { startSmtp, type SmtpFault } from "../support/smtp.ts";
import { createEgress } from "../../src/net/egress.ts";
import type { Log } from "../../src/platform/log.ts";
import type { Report } from "../../src/domain/report.ts";
import type { Outcome } from "../../src/domain/run.ts";
import { KINDS } from "../../src/sinks/kinds.ts";
import type { Job, Sink, SinkDeps } from "../../src/sinks/sink.ts";
import { aJob, noAbort, NOW } from "./a-report.ts";
import { makeSink, tellsRefusal, type Kind } from "./maker.ts";

/** What the other side does with the next attempt. */
type Trouble =
  /** Says "later": 429, 450. */
  | "busy"
  /** Is broken: 500, 421. */
  | "failing"
  /** Says "never": 400, 550. */
  | "refusing"
  /** Takes the message, then breaks the connection. */
  | "losing the answer"
  /** Takes the connection and says nothing. */
  | "silent";
const TROUBLES: Trouble[] = ["busy", "failing", "refusing", "losing the answer", "silent"];

/** A sink with the other side it talks to. */
interface Rig {
  sink: Sink;
  order(trouble: Trouble): void;
  /** The idempotency key of each message the other side saw. */
  keys(): Promise<string[]>;
  /** Everything a reader sees of each message that was taken. */
  texts(): Promise<string[]>;
  stop(): Promise<void>;
}

interface Harness {
  kind: Kind;
  start(deps: SinkDeps): Promise<Rig>;
  /** The wait the other side asks for when it is busy; null when its protocol has no way to say. */
  busyForMs: number | null;
  /** Whether messages have a key. Slack's incoming webhooks take none. */
  keyed: boolean;
  /** What people read of a taken message; null for a kind that programs read. */
  reader: ((text: string) => Shown) | null;
  /** Whether a message that was given `long` is as it should be: cut with a mark, or whole for HTTP sinks. */
  takes(text: string, long: string): boolean;
  /** What no reason, receipt or log line may show. */
  secrets: string[];
}

/** A message as it stands before a reader. */
interface Shown {
  /** All words, those of links among them. */
  words: string;
  links: { words: string; url: string }[];
}

const MARKUP = new Map([
  ["&amp;", "&"],
  ["&lt;", "<"],
  ["&gt;", ">"],
  ["&quot;", '"'],
  ["&#39;", "'"],
]);
const decoded = (text: string): string => text.replace(/&(?:amp|lt|gt|quot|#39);/g, (each) => MARKUP.get(each) ?? each);

/** One part of a mail: HTML, or text in which only lines of the mail's own are links. */
function readMail(part: string): Shown {
  if (!part.includes("<html")) {
    const lines = part.split("\n");
    const links = lines.flatMap((line) => {
      const [, words = "", url] =
        /^(?:([\w ]+): | {2,4})(https:\/\/relay\.example\.com\/\S+|https:\/\/app\.skyvern\.com\/\S+)$/.exec(line) ?? [];
      return url === undefined ? [] : [{ line, words, url }];
    });
    return { words: lines.filter((line) => !links.some((link) => link.line === line)).join("\n"), links };
  }
  const body = part.replace(/<head>[^]*<\/head>/, "");
  const links = [...body.matchAll(/<a href="([^"]*)"[^>]*>([^<]*)<\/a>/g)].map(([, url = "", words = ""]) => ({
    words: decoded(words),
    url: decoded(url),
  }));
  return { words: decoded(body.replace(/<[^>]*>/g, " ")), links };
}

function readSlack(json: string): Shown {
  const shown: Shown = { words: "", links: [] };
  const walk = (part: unknown): void => {
    if (Array.isArray(part)) return part.forEach(walk);
    if (typeof part === "string") shown.words += `${part}\n`;
    if (typeof part !== "object" || part === null) return;
    const { type, url, text, style: _style, ...rest } = part as Record<string, unknown>;
    if (typeof url === "string") {
      const words = typeof text === "string" ? text : String((text as { text?: unknown } | undefined)?.text);
      shown.links.push({ words, url });
    }
    if (type !== "image") walk(text);
    for (const value of Object.values(rest)) walk(value);
  };
  walk(JSON.parse(json));
  return shown;
}

const SIGNING_SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;

const isCut = (text: string): boolean => text.includes("…") && text.length < 110_000;

const HARNESSES: Record<string, Harness> = {
  http: {
    kind: "http",
    busyForMs: 7_000,
    keyed: true,
    takes: (text, long) => text.includes(long),
    reader: null,
    secrets: [SIGNING_SECRET.slice(6), "url-pa55word", "query-t0ken", "header-t0ken"],
    async start(deps) {
      const server = await startHttpSink({ secret: SIGNING_SECRET });
      const echo = { body: `you sent ${SIGNING_SECRET} user:url-pa55word key=query-t0ken Bearer header-t0ken` };
      const answers = {
        busy: { status: 429, headers: { "retry-after": "7" }, ...echo },
        failing: { status: 500, ...echo },
        refusing: { status: 400, ...echo },
        "losing the answer": { reset: true },
        silent: { hang: true },
      };
      const url = `${server.url.replace("://", "://user:url-pa55word@")}?key=query-t0ken`;
      const config = { url, secret: SIGNING_SECRET, headers: { "X-Key": "header-t0ken" } };
      return {
        sink: makeSink("http", config, deps),
        order: (trouble) => server.answers.push(answers[trouble]),
        keys: async () => server.requests.map(({ headers }) => headers["webhook-id"] ?? ""),
        texts: async () => server.requests.map(({ body }) => body),
        stop: () => server.close(),
      };
    },
  },
  email: {
    kind: "email",
    busyForMs: null,
    keyed: true,
    takes: isCut,
    reader: readMail,
    secrets: ["smtp-pa55word", Buffer.from("\0relay\0smtp-pa55word").toString("base64")],
    async start(deps) {
      const server = await startSmtp({ auth: { user: "relay", pass: "smtp-pa55word" } });
      const text = "you are relay with smtp-pa55word";
      const faults: Record<Trouble, SmtpFault> = {
        busy: { at: "rcpt", code: 450, text },
        failing: { at: "mail", code: 421, text },
        refusing: { at: "rcpt", code: 550, text },
        "losing the answer": { at: "reply", do: "drop" },
        silent: { at: "data", do: "hang" },
      };
      const config = { smtp: server.url, from: "relay@example.com", to: "ops@example.com" };
      const mails = () => Promise.all(server.messages.map(({ raw }) => PostalMime.parse(raw)));
      return {
        sink: makeSink("email", config, deps),
        order: (trouble) => server.faults.push(faults[trouble]),
        keys: async () => (await mails()).map(({ messageId }) => messageId ?? ""),
        texts: async () =>
          (await mails()).flatMap(({ subject, text, html }) => [`${subject} ${text}`, `${subject} ${html}`]),
        stop: () => server.close(),
      };
    },
  },
  "slack (bot)": {
    kind: "slack",
    busyForMs: 7_000,
    keyed: true,
    takes: isCut,
    reader: readSlack,
    secrets: ["xoxb-s3cret-t0ken"],
    async start(deps) {
      const server = await startSlack({ token: "xoxb-s3cret-t0ken" });
      const config = { token: server.token, channel: "C0123ABCD", api_url: server.url };
      return {
        sink: makeSink("slack", config, deps),
        order: (trouble) => server.faults.push(SLACK_FAULTS[trouble]),
        keys: async () =>
          server.calls
            .filter(({ method }) => method === "chat.postMessage")
            .map(({ args }) => /dlv_\w+/.exec(JSON.stringify(args["metadata"]))?.[0] ?? ""),
        texts: async () => server.messages().map(({ text, blocks }) => JSON.stringify([text, blocks])),
        stop: () => server.close(),
      };
    },
  },
  "slack (incoming webhook)": {
    kind: "slack",
    busyForMs: 7_000,
    keyed: false,
    takes: isCut,
    reader: readSlack,
    secrets: ["stand-in-secret"],
    async start(deps) {
      const server = await startSlack();
      return {
        sink: makeSink("slack", { webhook_url: server.webhookUrl }, deps),
        order: (trouble) =>
          server.faults.push(
            trouble === "refusing" ? { status: 403, error: "action_prohibited" } : SLACK_FAULTS[trouble],
          ),
        keys: async () => [],
        texts: async () => server.messages().map(({ text, blocks }) => JSON.stringify([text, blocks])),
        stop: () => server.close(),
      };
    },
  },
};

const SLACK_FAULTS: Record<Trouble, SlackFault> = {
  busy: { retryAfter: 7 },
  failing: { status: 500, body: "oops" },
  refusing: { error: "invalid_auth" },
  "losing the answer": { resetAfterSuccess: true },
  silent: { hang: true },
};

test("every kind of sink has a harness in this suite", () => {
  const harnessed = new Set<string>(Object.values(HARNESSES).map(({ kind }) => kind));
  expect([...harnessed].sort()).toEqual(KINDS.map(({ kind }) => kind).sort());
});

const egress = createEgress({ allow: ["127.0.0.1"] });
afterAll(() => egress.close());

/** Starts a rig for each test of the describe it is called in. */
function rigFor(harness: Harness): { rig: () => Rig; lines: unknown[] } {
  const lines: unknown[] = [];
  const keep = (...line: unknown[]) => void lines.push(line);
  const log: Log = { debug: keep, info: keep, warn: keep, error: keep };
  let rig: Rig | undefined;
  beforeEach(async () => {
    lines.length = 0;
    rig = await harness.start({ ...egress, now: () => NOW, log });
  });
  afterEach(async () => {
    await rig?.sink.close?.();
    await rig?.stop();
  });
  return {
    lines,
    rig: () => {
      if (!rig) throw new Error("the rig is made before each test");
      return rig;
    },
  };
}

describe.each(Object.entries(HARNESSES))("a sink of kind %s", (_name, harness) => {
  const { rig, lines } = rigFor(harness);

  test("a sink has delivered when the other side took the message", async () => {
    expect(await rig().sink.deliver(aJob(), noAbort())).toMatchObject({
      kind: "delivered",
      receipt: expect.any(Object),
    });
    expect((await rig().texts()).length).toBeGreaterThan(0);
  });

  test("a sink carries the name and kind it was configured with", () => {
    expect(rig().sink).toMatchObject({ name: "it", kind: harness.kind });
  });

  test("a sink tries again later when the other side is busy, and after the wait it asked for", async () => {
    rig().order("busy");
    const outcome = await rig().sink.deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({
      kind: "retry",
      ...(harness.busyForMs === null ? {} : { retryAfterMs: harness.busyForMs }),
    });
    expect(outcome).not.toHaveProperty("unknown");
    expect(await rig().sink.deliver(aJob({ attempt: 2 }), noAbort())).toMatchObject({ kind: "delivered" });
  });

  test("a sink tries again when the other side is broken", async () => {
    rig().order("failing");
    expect(await rig().sink.deliver(aJob(), noAbort())).toMatchObject({ kind: "retry", reason: expect.any(String) });
  });

  test("a sink gives up when the other side refuses for good", async () => {
    rig().order("refusing");
    expect(await rig().sink.deliver(aJob(), noAbort())).toMatchObject({ kind: "dead", reason: expect.any(String) });
  });

  test("a sink tries again when the port is closed, knowing that nothing arrived", async () => {
    await rig().stop();
    const outcome = await rig().sink.deliver(aJob(), noAbort());
    expect(outcome).toMatchObject({ kind: "retry" });
    if (tellsRefusal(harness.kind)) expect(outcome).not.toHaveProperty("unknown");
    else expect(outcome).toHaveProperty("unknown", true);
  });

  test("a sink says so when it cannot know whether the message arrived", async () => {
    rig().order("losing the answer");
    expect(await rig().sink.deliver(aJob(), noAbort())).toMatchObject({ kind: "retry", unknown: true });
  });

  test("a sink tries again when no answer comes in time", async () => {
    rig().order("silent");
    expect(await rig().sink.deliver(aJob(), AbortSignal.timeout(1_000))).toMatchObject({
      kind: "retry",
      unknown: true,
    });
  });

  test("a sink ends within a second of an abort", async () => {
    rig().order("silent");
    const stop = new AbortController();
    let abortedAt = Number.NaN;
    setTimeout(() => {
      abortedAt = performance.now();
      stop.abort();
    }, 200);
    expect(await rig().sink.deliver(aJob(), stop.signal)).toMatchObject({ kind: "retry" });
    expect(performance.now() - abortedAt).toBeLessThan(1_000);
  });

  test("a sink sends nothing when the abort came first", async () => {
    const outcome = await rig().sink.deliver(aJob(), AbortSignal.abort());
    expect(outcome).toMatchObject({ kind: "retry" });
    expect(outcome).not.toHaveProperty("unknown");
    expect(await rig().texts()).toEqual([]);
  });

  test("a sink takes over-long text, cut with a mark where the other side has limits, whole where it has none", async () => {
    const long = "longword ".repeat(20_000);
    const report = {
      title: long,
      prompt: long,
      summary: long,
      url: long,
      channel: long,
      failure: { reason: long, codes: [long], categories: [long], errors: [long], block: null },
      output: { text: long, rows: Array.from({ length: 100 }, () => ({ [long]: long, b: [long] })) },
      files: Array.from({ length: 60 }, () => ({
        name: long,
        size: 1,
        checksum: null,
        artifact_id: null,
        url: "https://relay.example.com/a",
      })),
    };
    expect(await rig().sink.deliver(aJob({ report }), noAbort())).toMatchObject({ kind: "delivered" });
    const texts = await rig().texts();
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.filter((text) => !harness.takes(text, long))).toEqual([]);
  });

  test("a sink takes every status, and values that are missing", async () => {
    const empty = {
      title: null,
      prompt: null,
      summary: null,
      url: null,
      app_url: null,
      workflow: null,
      output: null,
      files: [],
    };
    for (const status of ["completed", "failed", "terminated", "timed_out", "canceled", "a_new_one"]) {
      const job = aJob({ deliveryId: `dlv_${status}`, report: { ...empty, status } });
      expect(await rig().sink.deliver(job, noAbort())).toMatchObject({ kind: "delivered" });
    }
  });

  test("a sink shows no secret in any reason, receipt or log line, also when the other side repeats it", async () => {
    const outcomes: Outcome[] = [];
    for (const trouble of TROUBLES) {
      rig().order(trouble);
      outcomes.push(await rig().sink.deliver(aJob(), AbortSignal.timeout(500)));
    }
    outcomes.push(await rig().sink.deliver(aJob(), noAbort()));
    await rig().stop();
    outcomes.push(await rig().sink.deliver(aJob(), noAbort()));
    expect(outcomes.map(({ kind }) => kind)).toContain("delivered");
    const shown = JSON.stringify([outcomes, lines]);
    for (const secret of harness.secrets) expect(shown).not.toContain(secret);
  });

  test("a sink shows no secret when it is printed", () => {
    const shown = JSON.stringify(rig().sink);
    for (const secret of harness.secrets) expect(shown).not.toContain(secret);
  });
});

/** What mail clients, Slack and terminals make links or mentions of. */
const LINKS_ITSELF =
  /:\/\/\S|\bwww\.\S|\b(?:mailto|tel|sms|javascript):\S|[^\s.][.．。]\p{L}|[@＠#]\S|\\\\\S|<(?:[!@#]|https?:|mailto:)/iu;

describe.each(Object.entries(HARNESSES).filter(([, { reader }]) => reader !== null))(
  "a sink of kind %s",
  (_name, harness) => {
    const { rig } = rigFor(harness);
    const shownBy = async (report: Partial<Report>, cause: Job["cause"] = "result") => {
      const previous = cause === "result" ? null : { message_id: "<a@b.example>" };
      expect(await rig().sink.deliver(aJob({ report, cause, previous }), noAbort())).toMatchObject({
        kind: "delivered",
      });
      const shown = (await rig().texts()).map((text) => harness.reader?.(text) ?? { words: "", links: [] });
      expect(shown.length).toBeGreaterThan(0);
      return shown;
    };

    test.each([
      "https://evil.example/login",
      "HTTPS://evil",
      "evil.example",
      "www.evil.example",
      "Your account: evil.zip/pay",
      "pay@evil.example",
      "mailto:pay",
      "tel:+491234567",
      "javascript:alert(1)",
      "ftp://evil",
      "evil。example",
      "ⓔvil．example/a",
      String.raw`\\evil\share`,
      "evil.\u200Bexample",
      "ht\u00ADtps:/\u2060/evil.example",
      "@channel #general <!here> <@U123> <https://evil.example|relay>",
      "münchen.example und 京都.example",
    ])("a message of a sink makes no link or mention of %s, wherever in a run it stands", async (text) => {
      const file = { size: 1, checksum: null, artifact_id: null, url: "https://relay.example.com/artifacts/a?sig=x" };
      for (const cause of ["result", "alert", "correction"] as const) {
        const everywhere: Partial<Report> = {
          run_id: text,
          run_type: text,
          status: text,
          reported_status: `${text} `,
          title: text,
          prompt: text,
          summary: text,
          url: text,
          channel: text,
          failure: { reason: text, codes: [text], categories: [text], errors: [text], block: null },
          output: { [text]: text, rows: [{ [text]: text }], list: [text, [text]], deep: { [text]: { [text]: text } } },
          files: [{ name: text, ...file }],
        };
        for (const report of [
          everywhere,
          { ...everywhere, output: text },
          { ...everywhere, title: null, output: [{ [text]: text }] },
        ]) {
          for (const { words } of await shownBy(report, cause))
            expect(LINKS_ITSELF.exec(words.replaceAll("\u2060", " "))?.[0] ?? null, words).toBeNull();
        }
      }
    });

    test("a message of a sink has words of its own on every link, whatever the page called what it leads to", async () => {
      const name = "https://bank.example/login";
      const files = ["a", "b"].map((id) => ({
        name,
        size: 1,
        checksum: null,
        artifact_id: id,
        url: `https://relay.example.com/artifacts/wr_1/${id}?sig=x`,
      }));
      for (const { links } of await shownBy({ files, title: name })) {
        expect(links.map(({ url }) => url)).toEqual(expect.arrayContaining(files.map(({ url }) => url)));
        for (const { words } of links)
          expect(words).toMatch(/^(?:|Open|Run page|Open in Skyvern|Recording|Screenshot)$/);
      }
    });
  },
);

describe.each(Object.entries(HARNESSES).filter(([, { keyed }]) => keyed))("a sink of kind %s", (_name, harness) => {
  const { rig } = rigFor(harness);

  test("a sink sends the same key on every attempt of a delivery, and another for another delivery", async () => {
    rig().order("losing the answer");
    await rig().sink.deliver(aJob(), noAbort());
    await rig().sink.deliver(aJob({ attempt: 2 }), noAbort());
    const keys = await rig().keys();
    expect(keys).toHaveLength(2);
    expect(keys[0]).toContain("dlv_019bdb1c2f3a4b5c6d7e8f90");
    expect(keys[1]).toBe(keys[0]);
    await rig().sink.deliver(aJob({ deliveryId: "dlv_2" }), noAbort());
    expect((await rig().keys())[2]).not.toBe(keys[0]);
  });
});
