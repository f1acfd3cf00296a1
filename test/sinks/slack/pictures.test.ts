/** Pictures and files in Slack: really uploaded, shown once, and never in the way of the news. */
import { describe, expect, it, onTestFinished } from "vitest";
import { startSlack, type SlackOptions, type SlackStandIn } from "../../support/slack.ts";
import { TINY_PNG } from "../../../src/stand-ins/skyvern.ts";
import type { Outcome } from "../../../src/domain/run.ts";
import type { Job } from "../../../src/sinks/sink.ts";
import { anEvidence } from "../an-attachment.ts";
import { aJob, aReport, botOn, keepingLog, never, webhookOn } from "./reports.ts";

async function slackWith(options: SlackOptions = {}): Promise<SlackStandIn> {
  const standIn = await startSlack(options);
  onTestFinished(() => standIn.close());
  return standIn;
}

const receiptOf = (outcome: Outcome) => (outcome.kind === "delivered" ? outcome.receipt : null);
const countOf = ({ calls }: SlackStandIn, method: string): number =>
  calls.filter((call) => call.method === method).length;
const report = () => aReport({ received_at: new Date().toISOString() });
const jobWith = (parts: Parameters<typeof anEvidence>[0], given: Partial<Job> = {}): Job =>
  aJob({ report: report(), ...given, evidence: anEvidence(parts) });
/** Waits of the sink pass at once. */
const atOnce = async () => {};
const typesOf = (slack: SlackStandIn): unknown[] => slack.messages()[0]?.blocks.map(({ type }) => type) ?? [];
const notesOf = (slack: SlackStandIn): string => JSON.stringify(slack.messages()[0]?.blocks);

const ALL_BUT_FILES = ["chat:write", "channels:history", "groups:history", "channels:read"];

describe("the decisive screenshot", () => {
  it("the decisive screenshot stands in the message as an image of a file that was really uploaded", async () => {
    const slack = await slackWith();
    const outcome = await botOn(slack).deliver(jobWith({ screenshots: ["a_1"] }), never());

    const [message, ...more] = slack.messages();
    expect(more).toEqual([]);
    const picture = message && slack.pictureOf(message);
    expect(Buffer.from(picture?.bytes ?? [])).toEqual(Buffer.from(TINY_PNG));
    expect(picture).toMatchObject({ name: "screenshot.png", alt: expect.stringContaining("Screenshot") });
    expect(message?.blocks).toContainEqual({
      type: "image",
      slack_file: { id: picture?.id },
      alt_text: expect.stringContaining("Screenshot"),
    });
    expect(receiptOf(outcome)).toMatchObject({ ts: message?.ts, picture: { key: "a_1", file: picture?.id } });
  });

  it("the decisive screenshot says the block and the moment it comes from, also in the thread", async () => {
    const slack = await slackWith();
    const at = Date.parse("2026-11-28T15:33:48.830Z");
    const origins = { a_1: { block: "get_pdf <b>", at }, a_2: { block: "login", at: null } };
    await botOn(slack).deliver(jobWith({ screenshots: ["a_1", "a_2", "a_3"], origins }), never());

    const [message, thread] = slack.messages();
    expect(message?.blocks.find(({ type }) => type === "image")?.["title"]).toEqual({
      type: "plain_text",
      text: "get_pdf <b>, 15:33:48 UTC",
      emoji: false,
    });
    expect(thread?.files.map(({ title }) => title)).toEqual(["login", "screenshot-3.png"]);
  });

  it("the decisive screenshot comes right after what went wrong, before the output", async () => {
    const slack = await slackWith();
    const failed = { ...report(), status: "failed", output: { total: 3 } };
    const failure = { reason: "No such button", codes: [], categories: [], errors: [], block: null };
    await botOn(slack).deliver(jobWith({ screenshots: ["a_1"] }, { report: { ...failed, failure } }), never());
    const blocks = slack.messages()[0]?.blocks ?? [];
    const at = blocks.findIndex(({ type }) => type === "image");
    expect(JSON.stringify(blocks[at - 1])).toContain("No such button");
    expect(JSON.stringify(blocks[at + 1])).toContain("total");
  });

  it("the decisive screenshot that Slack has not looked at yet is waited for a little", async () => {
    const slack = await slackWith({ filesLookedAtAfter: 2 });
    const waits: number[] = [];
    const sleep = async (ms: number) => void waits.push(ms);
    await botOn(slack, { sleep }).deliver(jobWith({ screenshots: ["a_1"] }), never());
    expect(waits).toEqual([500, 1_000]);
    expect(typesOf(slack)).toContain("image");
    expect(slack.messages()).toHaveLength(1);
  });

  it("a message goes without the decisive screenshot that Slack will not show, says so and keeps its link", async () => {
    const slack = await slackWith({ filesLookedAtAfter: 99 });
    const outcome = await botOn(slack, { sleep: atOnce }).deliver(jobWith({ screenshots: ["a_1"] }), never());
    expect(outcome.kind).toBe("delivered");
    expect(typesOf(slack)).not.toContain("image");
    expect(typesOf(slack).length).toBeGreaterThan(2);
    expect(notesOf(slack)).toContain("The screenshot is not shown: Slack did not take it.");
    expect(notesOf(slack)).toContain("https://relay.example/artifacts/tsk/screenshot-1?sig=1");
    expect(receiptOf(outcome)).not.toHaveProperty("picture");
  });

  it("a message whose blocks Slack refuses for another reason does not wait for Slack to look at the picture", async () => {
    const slack = await slackWith();
    const waits: number[] = [];
    slack.faults.push({ method: "chat.postMessage", error: "invalid_blocks" });
    const sleep = async (ms: number) => void waits.push(ms);
    await botOn(slack, { sleep }).deliver(jobWith({ screenshots: ["a_1"] }), never());
    expect(waits).toEqual([]);
    expect(slack.messages()).toHaveLength(1);
  });

  it.each([
    [
      "cannot be read",
      { screenshots: ["a_1"], found: { a_1: { kind: "unavailable" as const } } },
      undefined,
      "the relay could not get it from Skyvern",
    ],
    [
      "is too large",
      { screenshots: ["a_1"], found: { a_1: { kind: "too_large" as const } } },
      undefined,
      "it is too large for a message",
    ],
    ["is refused", { screenshots: ["a_1"] }, { method: "files.getUploadURLExternal", error: "file_uploads_disabled" }],
    ["meets a rate limit", { screenshots: ["a_1"] }, { method: "files.getUploadURLExternal", retryAfter: 30 }],
    ["breaks in the upload", { screenshots: ["a_1"] }, { method: "upload", drop: true }],
    ["is not completed", { screenshots: ["a_1"] }, { method: "files.completeUploadExternal", error: "internal_error" }],
  ])(
    "a decisive screenshot that %s does not hold up the message",
    async (_what, parts, fault, why = "Slack did not take it") => {
      const slack = await slackWith();
      if (fault) slack.faults.push(fault);
      const outcome = await botOn(slack).deliver(jobWith(parts), never());
      expect(outcome.kind).toBe("delivered");
      expect(slack.messages()).toHaveLength(1);
      expect(typesOf(slack)).not.toContain("image");
      expect(notesOf(slack)).toContain(`The screenshot is not shown: ${why}.`);
    },
  );

  it("the decisive screenshot is shown again in an edit without another upload, and replaced when another one decides", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const previous = receiptOf(await sink.deliver(jobWith({ screenshots: ["a_1"] }), never()));
    const again = receiptOf(
      await sink.deliver(jobWith({ screenshots: ["a_1"] }, { cause: "update", previous }), never()),
    );
    expect(again?.["picture"]).toEqual(previous?.["picture"]);
    expect(countOf(slack, "files.getUploadURLExternal")).toBe(1);
    expect(typesOf(slack)).toContain("image");

    const other = await sink.deliver(jobWith({ screenshots: ["a_9"] }, { cause: "update", previous: again }), never());
    expect(receiptOf(other)?.["picture"]).toMatchObject({ key: "a_9" });
    expect(countOf(slack, "files.getUploadURLExternal")).toBe(2);
    expect(slack.messages()).toHaveLength(1);
  });

  it("the decisive screenshot stays in an edited message when it can no longer be read", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const previous = receiptOf(await sink.deliver(jobWith({ screenshots: ["a_1"] }), never()));
    const gone = { screenshots: ["a_2"], found: { a_2: { kind: "unavailable" as const } } };
    await sink.deliver(jobWith(gone, { cause: "update", previous }), never());
    expect(typesOf(slack)).toContain("image");
    expect(notesOf(slack)).not.toContain("is not shown");
  });
});

describe("without the scope files:write", () => {
  it("a message without the scope files:write has its links, and the log says once what to grant", async () => {
    const slack = await slackWith({ scopes: ALL_BUT_FILES });
    const { log, lines } = keepingLog();
    const sink = botOn(slack, { log });
    for (const deliveryId of ["dlv_1", "dlv_2"]) {
      const parts = { screenshots: ["a_1", "a_2"], files: { "a.pdf": 3 } };
      expect((await sink.deliver(jobWith(parts, { deliveryId }), never())).kind).toBe("delivered");
    }
    expect(slack.messages().map(({ thread_ts }) => thread_ts)).toEqual([null, null]);
    expect(notesOf(slack)).toContain("screenshot-1?sig=1");
    // Its readers cannot grant anything.
    expect(notesOf(slack)).not.toContain("is not shown");
    expect(lines.filter(({ event }) => event === "slack.files_unavailable")).toEqual([
      {
        level: "warn",
        event: "slack.files_unavailable",
        fields: { sink: "ops", error: "missing_scope", grant: expect.stringContaining("files:write") },
      },
    ]);
  });
});

describe("an incoming webhook", () => {
  it("a message by an incoming webhook has links only", async () => {
    const slack = await slackWith();
    const job = jobWith({ screenshots: ["a_1"], files: { "a.pdf": 3 } });
    expect((await webhookOn(slack.webhookUrl).deliver(job, never())).kind).toBe("delivered");
    expect(slack.files()).toEqual([]);
    expect(slack.messages()).toHaveLength(1);
    expect(notesOf(slack)).toContain("screenshot-1?sig=1");
  });
});

describe("files in the thread", () => {
  const PARTS = { screenshots: ["a_1", "a_2", "a_3"], files: { "a.pdf": 30, "b.csv": 40 } };

  it("the thread has the other screenshots and the downloads, as one message", async () => {
    const slack = await slackWith();
    const outcome = await botOn(slack).deliver(jobWith(PARTS), never());
    const [message, thread, ...more] = slack.messages();
    expect(more).toEqual([]);
    expect(thread?.thread_ts).toBe(message?.ts);
    expect(thread?.files.map(({ name }) => name)).toEqual(["screenshot-2.png", "screenshot-3.png", "a.pdf", "b.csv"]);
    expect(receiptOf(outcome)?.["shared"]).toEqual(["a_2", "a_3", "a.pdf", "b.csv"]);
  });

  it("the thread leaves out what is too large, alone or together", async () => {
    const slack = await slackWith();
    const files = { "a.pdf": 30, "large.zip": 900_000, "b.csv": 50 };
    const evidence = { screenshots: ["a_1"], files, limits: { each: 100_000, total: 60 } };
    await botOn(slack).deliver(jobWith(evidence), never());
    expect(slack.messages()[1]?.files.map(({ name }) => name)).toEqual(["a.pdf"]);
  });

  it("a run without other screenshots and downloads has no message in the thread", async () => {
    const slack = await slackWith();
    await botOn(slack).deliver(jobWith({ screenshots: ["a_1"] }), never());
    expect(slack.messages()).toHaveLength(1);
  });

  it("a failure to attach files to the thread leaves the message delivered", async () => {
    for (const fault of [
      { method: "files.completeUploadExternal", error: "internal_error" },
      { method: "upload", status: 500 },
    ]) {
      const slack = await slackWith();
      slack.faults.push(fault);
      const outcome = await botOn(slack).deliver(jobWith({ files: { "a.pdf": 3 } }), never());
      expect(outcome.kind).toBe("delivered");
      expect(slack.messages()).toHaveLength(1);
    }
  });

  it("an update adds to the thread what is new", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const previous = receiptOf(await sink.deliver(jobWith({ files: { "a.pdf": 3 } }), never()));
    const files = { "a.pdf": 3, "b.pdf": 4 };
    const receipt = receiptOf(await sink.deliver(jobWith({ files }, { cause: "update", previous }), never()));
    expect(slack.messages().map(({ files }) => files.map(({ name }) => name))).toEqual([[], ["a.pdf"], ["b.pdf"]]);
    expect(receipt?.["shared"]).toEqual(["a.pdf", "b.pdf"]);
  });
});

describe("a message that is a new one", () => {
  it.each([
    ["a redelivery", "redelivery", false],
    ["an edit of one that was deleted", "update", true],
  ] as const)(
    "a new message, as %s is, has its pictures and files as the first one had",
    async (_what, cause, deleted) => {
      const slack = await slackWith();
      const sink = botOn(slack);
      const parts = { screenshots: ["a_1", "a_2"], files: { "a.pdf": 3 } };
      const previous = receiptOf(await sink.deliver(jobWith(parts), never()));
      if (deleted) slack.delete("ops", String(previous?.["ts"]));
      const job = jobWith(parts, { deliveryId: "dlv_2", cause, previous });
      const receipt = receiptOf(await sink.deliver(job, never()));
      expect(receipt?.["ts"]).not.toBe(previous?.["ts"]);
      const thread = slack.messages().find(({ thread_ts }) => thread_ts === receipt?.["ts"]);
      expect(thread?.files.map(({ name }) => name)).toEqual(["screenshot-2.png", "a.pdf"]);
      const message = slack.messages().find(({ ts }) => ts === receipt?.["ts"]);
      expect(message && slack.pictureOf(message)).not.toBeNull();
    },
  );
});

describe("an attempt that may repeat another", () => {
  const PARTS = { screenshots: ["a_1", "a_2"], files: { "a.pdf": 30 } };
  const repeated = () => jobWith(PARTS, { attempt: 2, maybeSent: true });

  it("an attempt that may repeat another shows no picture twice, wherever the other one ended", async () => {
    // Each call of a whole delivery in turn is done, and its answer lost.
    const whole = await slackWith();
    const wanted = await botOn(whole).deliver(jobWith(PARTS), never());
    const methods = whole.calls.map(({ method }) => method);
    expect(methods.length).toBeGreaterThan(8);
    for (const n of methods.keys()) {
      let calls = 0;
      const slack = await slackWith({
        faultOf: () => (calls++ === n ? { resetAfterSuccess: true } : calls > n + 1 ? { drop: true } : undefined),
      });
      await botOn(slack).deliver(jobWith(PARTS), never());
      calls = Number.NEGATIVE_INFINITY;

      const outcome = await botOn(slack).deliver(repeated(), never());

      const shown = slack.messages().map(({ files, blocks }) => [blocks.length > 0, files.map(({ name }) => name)]);
      const where = `after ${methods[n]} (${n})`;
      expect(outcome.kind, where).toBe("delivered");
      expect(
        shown.filter(([isResult]) => isResult),
        where,
      ).toHaveLength(1);
      expect(
        shown.filter(([isResult]) => !isResult),
        where,
      ).toEqual([[false, ["screenshot-2.png", "a.pdf"]]]);
      expect(receiptOf(outcome)?.["shared"], where).toEqual(receiptOf(wanted)?.["shared"]);
    }
  });

  it("an attempt that may repeat another knows the picture of the message it finds, for later edits", async () => {
    const slack = await slackWith();
    const first = receiptOf(await botOn(slack).deliver(jobWith(PARTS), never()));
    const found = receiptOf(await botOn(slack).deliver(repeated(), never()));
    expect(found).toEqual(first);
    expect(slack.messages()).toHaveLength(2);
  });

  it("an attempt that may repeat another attaches nothing to a thread that it may not read", async () => {
    const slack = await slackWith({ scopes: ["chat:write", "files:write"] });
    const correction = { cause: "correction", previous: { channel: "C0123ABCD", ts: "" } } as const;
    const sink = botOn(slack);
    const previous = receiptOf(await sink.deliver(jobWith({}), never()));
    await sink.deliver(jobWith(PARTS, { ...correction, previous, attempt: 2, maybeSent: true }), never());
    expect(slack.messages().flatMap(({ files }) => files)).toEqual([]);
  });
});

describe("the deadline", () => {
  it.each(["files.getUploadURLExternal", "upload", "files.completeUploadExternal"])(
    "a message goes without its picture where Slack hangs at %s, rather than spend the deadline",
    async (method) => {
      const slack = await slackWith();
      slack.faults.push({ method, hang: true });
      const outcome = await botOn(slack).deliver(jobWith({ screenshots: ["a_1"], withinMs: 60 }), never());
      expect(outcome.kind).toBe("delivered");
      expect(notesOf(slack)).toContain("is not shown: Slack did not take it");
    },
  );

  it("a deadline in the middle of the pictures leaves the message to the next attempt", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "upload", hang: true });
    const outcome = await botOn(slack).deliver(jobWith({ screenshots: ["a_1"] }), AbortSignal.timeout(80));
    // It is known that nothing was posted.
    expect(outcome).toMatchObject({ kind: "retry" });
    expect(outcome).not.toHaveProperty("unknown");
    expect(slack.messages()).toEqual([]);
  });

  it("a deadline in the middle of the thread's files leaves the message delivered", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "upload", hang: true });
    const outcome = await botOn(slack).deliver(jobWith({ files: { "a.pdf": 3 } }), AbortSignal.timeout(1_500));
    expect(outcome.kind).toBe("delivered");
    expect(slack.messages()).toHaveLength(1);
  });
});
