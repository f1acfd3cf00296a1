import { afterEach, describe, expect, it } from "vitest";
import { DAY_MS } from "../../../src/platform/time.ts";
import { startSlack, type SlackOptions, type SlackStandIn } from "../../support/slack.ts";
import { EgressRefused } from "../../../src/net/networks.ts";
import type { Outcome } from "../../../src/domain/run.ts";
import { METADATA_EVENT } from "../../../src/sinks/slack/bot.ts";
import { MEANINGS } from "../../../src/sinks/slack/error-codes.ts";
import { aFailure, aJob, aReport, botOn, keepingLog, never } from "./reports.ts";

const started: SlackStandIn[] = [];
async function slackWith(options: SlackOptions = {}): Promise<SlackStandIn> {
  const standIn = await startSlack(options);
  started.push(standIn);
  return standIn;
}
afterEach(async () => {
  await Promise.all(started.splice(0).map((standIn) => standIn.close()));
});

const methodsOf = ({ calls }: SlackStandIn): string[] => calls.map(({ method }) => method);
const receiptOf = (outcome: Outcome) => (outcome.kind === "delivered" ? outcome.receipt : null);
const reasonOf = (outcome: Outcome): string => (outcome.kind === "delivered" ? "" : outcome.reason);

/** Received just now, so that the look back reaches what the stand-in keeps under the real clock. */
const aRecentReport = (given: Parameters<typeof aReport>[0] = {}) =>
  aReport({ received_at: new Date().toISOString(), ...given });

describe("a result", () => {
  it("the bot posts a result once, with the delivery's id in its metadata and a receipt that names it", async () => {
    const slack = await slackWith();
    const outcome = await botOn(slack).deliver(aJob(), never());
    const [message] = slack.messages("ops");
    expect(receiptOf(outcome)).toEqual({
      channel: "C0123ABCD",
      ts: message?.ts,
      permalink: `https://stand-in.slack.com/archives/C0123ABCD/p${message?.ts.replace(".", "")}`,
    });
    expect(message?.metadata).toEqual({
      event_type: METADATA_EVENT,
      event_payload: { delivery_id: "dlv_1", run_id: "tsk_v2_440790433182073998", revision: 1 },
    });
    expect(slack.messages()).toHaveLength(1);
    expect(slack.calls[0]?.args).toMatchObject({
      parse: "none",
      link_names: "false",
      unfurl_links: "false",
      unfurl_media: "false",
    });
  });

  it("the bot posts a result to a channel given by its name", async () => {
    const slack = await slackWith();
    expect(receiptOf(await botOn(slack, { channel: "#ops" }).deliver(aJob(), never()))).toMatchObject({
      channel: "C0123ABCD",
    });
  });

  it("the bot delivers a result without a permalink when Slack gives none", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "chat.getPermalink", error: "internal_error" });
    expect(receiptOf(await botOn(slack).deliver(aJob(), never()))).toMatchObject({ permalink: null });
  });

  it("the bot posts a result as plain text at once when Slack refuses its blocks", async () => {
    for (const error of [
      "invalid_blocks",
      "msg_blocks_too_long",
      "invalid_blocks_format",
      "invalid_attachments",
      "msg_too_long",
    ]) {
      const slack = await slackWith();
      slack.faults.push({ method: "chat.postMessage", error });
      const report = aReport({ status: "failed", reported_status: "failed", failure: aFailure() });
      expect((await botOn(slack).deliver(aJob({ report }), never())).kind).toBe("delivered");
      const [message] = slack.messages();
      expect(message?.blocks).toEqual([]);
      expect(message?.text).toContain("❌ Failed – Fetch the invoices – The login page never loaded");
      expect(message?.text).toContain("<https://relay.example/runs/tsk_v2_440790433182073998>");
    }
  });

  it("a result is dead when Slack refuses the bot's plain text too", async () => {
    const slack = await slackWith();
    slack.faults.push(
      { method: "chat.postMessage", error: "invalid_blocks" },
      { method: "chat.postMessage", error: "msg_too_long" },
    );
    expect(await botOn(slack).deliver(aJob(), never())).toMatchObject({
      kind: "dead",
      reason: expect.stringContaining("msg_too_long"),
    });
  });
});

const deliverInto = async (fault: SlackStandIn["faults"][number]): Promise<Outcome> => {
  const slack = await slackWith();
  slack.faults.push(fault);
  return botOn(slack).deliver(aJob(), never());
};

/** Aborts the attempt as soon as its first request is under way. */
function abortingOnce(attempt: AbortController): typeof globalThis.fetch {
  return (url, init) => {
    const response = globalThis.fetch(url, init);
    attempt.abort();
    return response;
  };
}

const refusing = () => Promise.reject(new EgressRefused("10.0.0.1 is not on the public internet"));

describe("outcomes", () => {
  it("the bot retries a rate limit when Slack says", async () => {
    expect(await deliverInto({ retryAfter: 17 })).toMatchObject({ kind: "retry", retryAfterMs: 17_000 });
    expect(await deliverInto({ retryAfter: 17 })).not.toHaveProperty("unknown");
  });

  it("the bot retries a rate limit that names no time, or only a word", async () => {
    expect(await deliverInto({ status: 429, error: "ratelimited" })).toEqual({
      kind: "retry",
      throttled: true,
      reason: expect.stringContaining("limits the rate"),
    });
    expect((await deliverInto({ error: "ratelimited" })).kind).toBe("retry");
    expect(await deliverInto({ error: "rate_limited", retryAfter: 3 })).toMatchObject({
      kind: "retry",
      throttled: true,
      retryAfterMs: 3_000,
    });
  });

  it("the bot retries a server error, whose message may have arrived", async () => {
    for (const status of [500, 502, 503])
      expect(await deliverInto({ status, body: "oops" })).toMatchObject({ kind: "retry", unknown: true });
  });

  it("the bot retries an answer that is not Slack's", async () => {
    for (const body of ["<html>sign in</html>", "null", "", "[]", '{"ok":false,"error":"<b>"}']) {
      expect(await deliverInto({ body })).toMatchObject({ kind: "retry", unknown: true });
    }
  });

  it("the bot names an error code it does not know", async () => {
    expect(await deliverInto({ error: "brand_new_error" })).toMatchObject({
      kind: "dead",
      reason: expect.stringContaining("brand_new_error"),
    });
  });

  it("the bot follows no redirect", async () => {
    const slack = await slackWith();
    const other = await slackWith();
    slack.faults.push({ location: `${other.url}chat.postMessage` });
    expect((await botOn(slack).deliver(aJob(), never())).kind).toBe("dead");
    expect(other.calls).toEqual([]);
  });

  it.each(Object.entries(MEANINGS).filter(([, meaning]) => meaning.kind !== "plain"))(
    "the bot understands Slack's error %s",
    async (error, meaning) => {
      const outcome = await deliverInto({ error });
      expect(outcome.kind).toBe(meaning.kind);
      expect("unknown" in outcome).toBe("unknown" in meaning);
      expect(reasonOf(outcome)).toContain("advice" in meaning ? meaning.advice : error);
    },
  );

  it("the bot says which scope is missing", async () => {
    const slack = await slackWith({ scopes: [] });
    expect(await botOn(slack).deliver(aJob(), never())).toMatchObject({
      kind: "dead",
      reason: expect.stringContaining("(needed: chat:write)"),
    });
  });

  it("the bot says what to do about a channel the app is not in, does not know, or that is archived", async () => {
    const channels = [
      { id: "C0000000A", name: "out", member: false },
      { id: "C0000000B", name: "old", archived: true },
    ];
    const slack = await slackWith({ channels });
    const into = async (channel: string) => reasonOf(await botOn(slack, { channel }).deliver(aJob(), never()));
    expect(await into("C0000000A")).toContain("/invite");
    expect(await into("C0000000B")).toContain("unarchive");
    expect(await into("C0000000X")).toContain("check the channel's id");
  });

  it("the bot's outcomes never show the token", async () => {
    const slack = await slackWith({ token: "xoxb-right" });
    const outcome = await botOn({ url: slack.url, token: "xoxb-wrong-but-secret" }).deliver(aJob(), never());
    expect(outcome).toMatchObject({ kind: "dead", reason: expect.stringContaining("invalid_auth") });
    expect(JSON.stringify(outcome)).not.toContain("xoxb-wrong");
  });

  it("the bot retries a refused connection, knowing that nothing was sent", async () => {
    const slack = await startSlack();
    await slack.close();
    const outcome = await botOn(slack).deliver(aJob(), never());
    expect(outcome).toMatchObject({ kind: "retry", reason: expect.stringContaining("ECONNREFUSED") });
    expect(outcome).not.toHaveProperty("unknown");
  });

  it("the bot retries a connection that broke, not knowing what arrived", async () => {
    expect(await deliverInto({ drop: true })).toMatchObject({ kind: "retry", unknown: true });
    expect(await deliverInto({ resetAfterSuccess: true })).toMatchObject({ kind: "retry", unknown: true });
  });

  it("a delivery of the bot is dead when the relay's own guard refuses the address", async () => {
    expect(
      await botOn({ url: "https://slack.invalid/api/", token: "xoxb-1" }, { fetch: refusing }).deliver(aJob(), never()),
    ).toMatchObject({
      kind: "dead",
      reason: expect.stringContaining("10.0.0.1"),
    });
  });

  it("the bot ends promptly when aborted, and says that the message may have arrived", async () => {
    const slack = await slackWith();
    slack.faults.push({ hangAfterSuccess: true });
    const attempt = new AbortController();
    const outcome = botOn(slack, { fetch: abortingOnce(attempt) }).deliver(aJob(), attempt.signal);
    expect(await outcome).toMatchObject({ kind: "retry", unknown: true });
  });

  it("the bot does not begin when aborted before", async () => {
    const slack = await slackWith();
    const outcome = await botOn(slack).deliver(aJob(), AbortSignal.abort());
    expect(outcome.kind).toBe("retry");
    expect(outcome).not.toHaveProperty("unknown");
    expect(slack.calls).toEqual([]);
  });
});

const retried = (given: Parameters<typeof aJob>[0] = {}) =>
  aJob({ attempt: 2, maybeSent: true, report: aRecentReport(), ...given });

describe("an attempt that may repeat another", () => {
  it("the bot adopts the message whose answer was lost", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    const sink = botOn(slack);
    expect(await sink.deliver(aJob({ report: aRecentReport() }), never())).toMatchObject({
      kind: "retry",
      unknown: true,
    });
    const outcome = await sink.deliver(retried(), never());
    expect(receiptOf(outcome)).toMatchObject({ channel: "C0123ABCD", ts: slack.messages()[0]?.ts });
    expect(slack.messages()).toHaveLength(1);
  });

  it("the bot adopts no message of another app, whatever its metadata say", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    const sink = botOn(slack);
    await sink.deliver(aJob({ report: aRecentReport() }), never());
    for (const message of slack.messages()) message.bot_id = "B0EV1L";
    const outcome = await sink.deliver(retried(), never());
    expect(receiptOf(outcome)).toMatchObject({ ts: slack.messages()[1]?.ts });
    expect(slack.messages().map(({ bot_id }) => bot_id)).toEqual(["B0EV1L", "B0000000"]);
  });

  it("the bot waits for Slack to say who it is before it looks for its message", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "auth.test", status: 503, body: "" });
    const sink = botOn(slack);
    expect(await sink.deliver(retried(), never())).toMatchObject({ kind: "retry", unknown: true });
    expect(slack.messages()).toEqual([]);
    expect(await sink.deliver(retried(), never())).toMatchObject({ kind: "delivered" });
  });

  it("the bot adopts its message after a restart, in a channel given by name, and some pages back", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    await botOn(slack, { channel: "ops" }).deliver(aJob({ report: aRecentReport() }), never());
    const other = botOn(slack);
    for (let i = 0; i < 205; i++) await other.deliver(aJob({ deliveryId: `dlv_other_${i}` }), never());
    const outcome = await botOn(slack, { channel: "ops" }).deliver(retried(), never());
    expect(receiptOf(outcome)).toMatchObject({ ts: slack.messages()[0]?.ts });
    expect(slack.messages()).toHaveLength(206);
  });

  it("the bot adopts its message days later, as after a long outage", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    const sink = botOn(slack);
    await sink.deliver(aJob({ report: aRecentReport() }), never());
    const queuedAt = Date.now() - 5 * DAY_MS;
    for (const message of slack.messages()) message.ts = (queuedAt / 1000 + 1).toFixed(6);
    const outcome = await sink.deliver(retried({ queuedAt }), never());
    expect(receiptOf(outcome)).toMatchObject({ ts: slack.messages()[0]?.ts });
    expect(slack.messages()).toHaveLength(1);
  });

  it("the bot posts again when the earlier message did not arrive", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "chat.postMessage", drop: true });
    const sink = botOn(slack);
    await sink.deliver(aJob({ report: aRecentReport() }), never());
    await sink.deliver(retried({ deliveryId: "dlv_other" }), never());
    expect((await sink.deliver(retried(), never())).kind).toBe("delivered");
    expect(slack.messages()).toHaveLength(2);
  });

  it("the bot posts again where it may not read history, and says once which scope to grant", async () => {
    const slack = await slackWith({ scopes: ["chat:write"] });
    const { log, lines } = keepingLog();
    const sink = botOn(slack, { log });
    for (const deliveryId of ["dlv_1", "dlv_2"]) {
      expect((await sink.deliver(retried({ deliveryId }), never())).kind).toBe("delivered");
    }
    expect(lines).toEqual([
      {
        level: "warn",
        event: "slack.history_unreadable",
        fields: { sink: "ops", error: "missing_scope", grant: expect.stringContaining("channels:history") },
      },
    ]);
  });

  it("the bot posts nothing while history cannot be read just now, and stays unsure", async () => {
    const slack = await slackWith();
    slack.faults.push({ method: "conversations.history", retryAfter: 5 });
    expect(await botOn(slack).deliver(retried(), never())).toMatchObject({
      kind: "retry",
      retryAfterMs: 5_000,
      unknown: true,
    });
    expect(slack.messages()).toEqual([]);
  });

  it("the bot does not read history when nothing was sent before", async () => {
    const slack = await slackWith();
    await botOn(slack).deliver(aJob(), never());
    expect(methodsOf(slack)).toEqual(["chat.postMessage", "chat.getPermalink"]);
  });
});

describe("a correction", () => {
  const failed = aRecentReport({ status: "failed", reported_status: "failed", failure: aFailure() });
  const completed = aRecentReport({ revision: 2 });
  const correction = (previous: Outcome, given: Parameters<typeof aJob>[0] = {}) =>
    aJob({ deliveryId: "dlv_2", cause: "correction", report: completed, previous: receiptOf(previous), ...given });

  it("the bot edits a corrected message and answers once in its thread", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const first = await sink.deliver(aJob({ report: failed }), never());
    const outcome = await sink.deliver(correction(first), never());
    const [original, reply] = slack.messages();
    expect(slack.messages()).toHaveLength(2);
    expect(JSON.stringify(original?.blocks)).toContain("✅ Completed");
    expect(JSON.stringify(original?.blocks)).not.toContain("never loaded");
    expect(JSON.stringify(original?.edits[0]?.blocks)).toContain("❌ Failed");
    expect(reply).toMatchObject({ thread_ts: original?.ts, text: "✅ Correction: this run is now Completed." });
    expect(receiptOf(outcome)).toEqual({ ...receiptOf(first), reply_ts: reply?.ts });
  });

  it("a correction is an ordinary message when there is nothing to edit", async () => {
    const slack = await slackWith();
    await botOn(slack).deliver(aJob({ cause: "correction", report: completed }), never());
    expect(slack.messages()).toHaveLength(1);
    expect(JSON.stringify(slack.messages()[0]?.blocks)).toContain("Correction: the outcome of this run changed.");
  });

  it("a correction is an ordinary message when the first one was deleted", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const first = await sink.deliver(aJob({ report: failed }), never());
    slack.delete("ops", slack.messages()[0]?.ts ?? "");
    expect((await sink.deliver(correction(first), never())).kind).toBe("delivered");
    expect(slack.messages()).toMatchObject([{ thread_ts: null }]);
  });

  it("the bot answers a correction in the thread when Slack no longer lets the message be edited", async () => {
    for (const error of ["edit_window_closed", "cant_update_message"]) {
      const slack = await slackWith();
      const sink = botOn(slack);
      const first = await sink.deliver(aJob({ report: failed }), never());
      slack.faults.push({ method: "chat.update", error });
      expect((await sink.deliver(correction(first), never())).kind).toBe("delivered");
      const [message, reply] = slack.messages();
      expect([message, reply]).toMatchObject([{ thread_ts: null }, { thread_ts: message?.ts }]);
      expect(JSON.stringify(reply?.blocks)).toContain("Slack no longer lets the message above be updated.");
    }
  });

  it("the bot answers a correction once in the thread although Slack's response to that answer was lost", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const first = await sink.deliver(aJob({ report: failed }), never());
    slack.faults.push({ method: "chat.postMessage", resetAfterSuccess: true });
    expect(await sink.deliver(correction(first), never())).toMatchObject({ kind: "retry", unknown: true });
    const outcome = await sink.deliver(correction(first, { attempt: 2, maybeSent: true }), never());
    expect(slack.messages()).toHaveLength(2);
    expect(receiptOf(outcome)).toMatchObject({ ...receiptOf(first), reply_ts: slack.messages()[1]?.ts });
  });

  it("the bot edits in plain text when Slack refuses its blocks, and leaves none of the old ones", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const first = await sink.deliver(aJob({ report: failed }), never());
    slack.faults.push({ method: "chat.update", error: "invalid_blocks" });
    await sink.deliver(correction(first), never());
    expect(slack.messages()[0]).toMatchObject({ blocks: [], text: expect.stringContaining("✅ Completed") });
  });

  it("the bot does not answer a correction before the edit went through", async () => {
    const slack = await slackWith();
    const sink = botOn(slack);
    const first = await sink.deliver(aJob({ report: failed }), never());
    slack.faults.push({ method: "chat.update", retryAfter: 2 });
    expect(await sink.deliver(correction(first), never())).toMatchObject({ kind: "retry", retryAfterMs: 2_000 });
    expect(slack.messages()).toHaveLength(1);
  });
});

it("the bot delivers many results once each into a channel that takes one a second and loses every third answer", async () => {
  let now = Date.now();
  let asked = 0;
  const slack = await slackWith({
    messagesPerSecond: 1,
    now: () => now,
    faultOf: ({ method }) =>
      method === "chat.postMessage" && ++asked % 3 === 0 ? { resetAfterSuccess: true } : undefined,
  });
  const sink = botOn(slack, { now: () => now });
  const deliverFully = async (deliveryId: string) => {
    let maybeSent = false;
    for (let attempt = 1; attempt < 30; attempt++) {
      const outcome = await sink.deliver(aJob({ deliveryId, attempt, maybeSent, report: aRecentReport() }), never());
      if (outcome.kind === "delivered") return;
      if (outcome.kind === "dead") throw new Error(outcome.reason);
      maybeSent ||= outcome.unknown === true;
      now += outcome.retryAfterMs ?? 1_000;
    }
    throw new Error("never delivered");
  };
  const ids = Array.from({ length: 20 }, (_, i) => `dlv_${i}`);
  await Promise.all(ids.map(deliverFully));
  const posted = slack.messages().map(({ metadata }) => String(metadata?.event_payload["delivery_id"]));
  expect(posted).toHaveLength(ids.length);
  expect(new Set(posted)).toEqual(new Set(ids));
});
