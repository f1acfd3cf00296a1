import { afterEach, describe, expect, it } from "vitest";
import { startSlack, type SlackFault, type SlackStandIn } from "../../support/slack.ts";
import type { Outcome } from "../../../src/domain/run.ts";
import { aJob, aReport, never, webhookOn } from "./reports.ts";

const started: SlackStandIn[] = [];
async function slackWith(...faults: SlackFault[]): Promise<SlackStandIn> {
  const standIn = await startSlack();
  standIn.faults.push(...faults);
  started.push(standIn);
  return standIn;
}
afterEach(async () => {
  await Promise.all(started.splice(0).map((standIn) => standIn.close()));
});

const deliverInto = async (...faults: SlackFault[]): Promise<Outcome> =>
  webhookOn((await slackWith(...faults)).webhookUrl).deliver(aJob(), never());

describe("an incoming webhook", () => {
  it("an incoming webhook gets text and blocks, and its receipt is the status", async () => {
    const slack = await slackWith();
    const outcome = await webhookOn(slack.webhookUrl).deliver(
      aJob({ report: aReport({ output: [{ a: "b" }, { a: "c" }] }) }),
      never(),
    );
    expect(outcome).toEqual({ kind: "delivered", receipt: { status: 200 } });
    expect(slack.messages()).toMatchObject([{ text: "✅ Completed – Fetch the invoices", pings: [] }]);
    expect(slack.messages()[0]?.blocks.map(({ type }) => type)).toContain("table");
  });

  it("an incoming webhook gets a correction as a message that opens with that word, because the earlier one stands", async () => {
    const slack = await slackWith();
    const report = aReport({ status: "canceled" });
    await webhookOn(slack.webhookUrl).deliver(aJob({ cause: "correction", report }), never());
    const [message] = slack.messages();
    expect(message?.text).toContain("🚫 Correction: Canceled – Fetch the invoices");
    expect(message?.blocks[0]).toMatchObject({ text: { text: "🚫 Correction: Canceled: Fetch the invoices" } });
    expect(JSON.stringify(message?.blocks)).toContain("This replaces what was told before.");
  });

  it("an incoming webhook has Slack read its text as it is, without markup, links, names or previews", async () => {
    const slack = await slackWith();
    await webhookOn(slack.webhookUrl).deliver(aJob(), never());
    expect(slack.calls[0]?.args).toMatchObject({
      parse: "none",
      link_names: false,
      mrkdwn: false,
      unfurl_links: false,
      unfurl_media: false,
    });
  });

  it("a rate limit of an incoming webhook is retried when Slack says", async () => {
    expect(await deliverInto({ status: 429, retryAfter: 30 })).toMatchObject({ kind: "retry", retryAfterMs: 30_000 });
  });

  it("a server error of an incoming webhook is retried, as the message may have arrived", async () => {
    expect(await deliverInto({ status: 500, error: "rollup_error" })).toMatchObject({ kind: "retry", unknown: true });
    expect(await deliverInto({ status: 503, body: "" })).toMatchObject({ kind: "retry", unknown: true });
  });

  it("a lost answer of an incoming webhook is retried, as the message may have arrived", async () => {
    expect(await deliverInto({ resetAfterSuccess: true })).toMatchObject({ kind: "retry", unknown: true });
    expect(await deliverInto({ drop: true })).toMatchObject({ kind: "retry", unknown: true });
  });

  it.each([
    [403, "invalid_token", "create a new one"],
    [404, "no_service", "create a new one"],
    [410, "channel_is_archived", "unarchive"],
    [403, "action_prohibited", "workspace admin"],
    [404, "channel_not_found", "check the channel"],
    [400, "no_such_word", "no_such_word"],
    [404, "<html>", "404"],
  ])("a delivery to an incoming webhook is dead on %i %s and says what to do", async (status, body, words) => {
    expect(await deliverInto({ status, body })).toMatchObject({ kind: "dead", reason: expect.stringContaining(words) });
  });

  it("an incoming webhook gets plain text at once when it refuses the blocks", async () => {
    const slack = await slackWith({ status: 400, body: "invalid_blocks" });
    expect((await webhookOn(slack.webhookUrl).deliver(aJob(), never())).kind).toBe("delivered");
    expect(slack.messages()).toMatchObject([{ blocks: [], text: expect.stringContaining("Fetch the invoices") }]);
  });

  it("a delivery to an incoming webhook is dead when it refuses the plain text too", async () => {
    const refusal = { status: 400, body: "invalid_payload" };
    expect(await deliverInto(refusal, refusal)).toMatchObject({ kind: "dead" });
  });

  it("a redirect of an incoming webhook is not followed", async () => {
    const other = await slackWith();
    expect((await deliverInto({ location: other.webhookUrl })).kind).toBe("dead");
    expect(other.calls).toEqual([]);
  });

  it("a delivery to an incoming webhook never shows its address, which is a secret", async () => {
    const closed = await startSlack();
    await closed.close();
    const outcomes = [
      await deliverInto({ status: 403, body: "invalid_token" }),
      await webhookOn(closed.webhookUrl).deliver(aJob(), never()),
      await webhookOn("http://[::1]:1/services/T/B/stand-in-secret").deliver(aJob(), never()),
    ];
    expect(outcomes.map(({ kind }) => kind)).toEqual(["dead", "retry", "retry"]);
    expect(JSON.stringify(outcomes)).not.toContain("stand-in-secret");
  });

  it("a delivery to an incoming webhook ends promptly when aborted", async () => {
    const slack = await slackWith({ hang: true });
    const attempt = new AbortController();
    const outcome = webhookOn(slack.webhookUrl).deliver(aJob(), attempt.signal);
    attempt.abort();
    expect((await outcome).kind).toBe("retry");
  });
});
