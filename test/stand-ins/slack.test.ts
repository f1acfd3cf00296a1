import { afterEach, describe, expect, it } from "vitest";
import { startSlack, type SlackOptions, type SlackStandIn } from "../support/slack.ts";

const started: SlackStandIn[] = [];
async function slackWith(options: SlackOptions = {}): Promise<SlackStandIn> {
  const standIn = await startSlack(options);
  started.push(standIn);
  return standIn;
}
afterEach(async () => {
  await Promise.all(started.splice(0).map((standIn) => standIn.close()));
});

type Answer = { ok: boolean; error?: string; errors?: string[] } & Record<string, unknown>;

async function call(
  slack: SlackStandIn,
  method: string,
  args: object,
  token: string | null = slack.token,
): Promise<Answer> {
  const response = await fetch(slack.url + method, {
    method: "POST",
    headers: {
      "content-type": "application/json; charset=utf-8",
      ...(token !== null && { authorization: `Bearer ${token}` }),
    },
    body: JSON.stringify(args),
  });
  return (await response.json()) as Answer;
}
const post = (slack: SlackStandIn, args: object) => call(slack, "chat.postMessage", { channel: "C0123ABCD", ...args });

const plain = (text: string) => ({ type: "plain_text", text });
const header = (text: string) => ({ type: "header", text: plain(text) });
const table = (text: string, rows = 1, columns = 1) => ({
  type: "table",
  rows: Array.from({ length: rows }, () => Array.from({ length: columns }, () => ({ type: "raw_text", text }))),
});
const button = (url: string, text = "Go") => ({ type: "button", text: plain(text), url });
const rich = (element: object, type = "rich_text_section") => ({
  type: "rich_text",
  elements: [{ type, elements: [element] }],
});
const times = <T>(n: number, item: T): T[] => Array.from({ length: n }, () => item);

const send = async (url: string, body: string) => {
  const response = await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body });
  return [response.status, await response.text()];
};

describe("the stand-in", () => {
  it("the stand-in takes JSON and forms, and keeps what it took", async () => {
    const slack = await slackWith();
    await post(slack, { text: "one", metadata: { event_type: "e", event_payload: { a: 1 } } });
    await fetch(`${slack.url}chat.postMessage`, {
      method: "POST",
      headers: { authorization: `Bearer ${slack.token}` },
      body: new URLSearchParams({ channel: "#ops", text: "two", blocks: JSON.stringify([header("hi")]) }),
    });
    expect(slack.messages("ops")).toMatchObject([
      { text: "one", metadata: { event_type: "e", event_payload: { a: 1 } } },
      { text: "two", blocks: [{ type: "header" }] },
    ]);
  });

  it("the stand-in gives every message of a channel a later ts, also within one millisecond", async () => {
    const slack = await slackWith({ now: () => 1_700_000_000_000 });
    for (let i = 0; i < 3; i++) await post(slack, { text: "x" });
    expect(slack.messages().map(({ ts }) => ts)).toEqual([
      "1700000000.000000",
      "1700000000.000001",
      "1700000000.000002",
    ]);
  });

  it("the stand-in knows its token, its channels and its scopes", async () => {
    const slack = await slackWith({
      channels: [
        { id: "C1", name: "in" },
        { id: "C2", name: "out", member: false },
        { id: "C3", name: "old", archived: true },
        { id: "C4", name: "own", private: true },
      ],
      scopes: ["chat:write", "channels:history"],
    });
    expect(await call(slack, "auth.test", {}, null)).toEqual({ ok: false, error: "not_authed" });
    expect(await call(slack, "auth.test", {}, "xoxb-other")).toEqual({ ok: false, error: "invalid_auth" });
    expect(await call(slack, "chat.postMessage", { channel: "C9", text: "x" })).toMatchObject({
      error: "channel_not_found",
    });
    expect(await call(slack, "chat.postMessage", { channel: "C2", text: "x" })).toMatchObject({
      error: "not_in_channel",
    });
    expect(await call(slack, "chat.postMessage", { channel: "C3", text: "x" })).toMatchObject({ error: "is_archived" });
    expect(await call(slack, "conversations.history", { channel: "C4" })).toMatchObject({
      error: "missing_scope",
      needed: "channels:history",
    });
    expect(await call(slack, "conversations.history", { channel: "in" })).toMatchObject({ error: "channel_not_found" });
    expect(await call(slack, "chat.nonsense", {})).toMatchObject({ error: "unknown_method" });
  });

  it.each<[string, object[], string]>([
    ["more than 50 blocks", times(51, { type: "divider" }), "no more than 50 items"],
    ["an unknown block", [{ type: "marquee" }], "unsupported type: marquee"],
    ["a header over 150", [header("x".repeat(151))], "less than 151"],
    ["an empty header", [header("")], "more than 0"],
    ["a blank header", [header("  ")], "more than 0"],
    ["a header in mrkdwn", [{ type: "header", text: { type: "mrkdwn", text: "x" } }], "unsupported type: mrkdwn"],
    ["a section without text", [{ type: "section" }], "missing required field"],
    ["a section over 3000", [{ type: "section", text: plain("x".repeat(3001)) }], "less than 3001"],
    ["more than 10 fields", [{ type: "section", fields: times(11, plain("x")) }], "no more than 10"],
    ["a field over 2000", [{ type: "section", fields: [plain("x".repeat(2001))] }], "less than 2001"],
    ["more than 10 in a context", [{ type: "context", elements: times(11, plain("x")) }], "no more than 10"],
    [
      "more than 25 actions",
      [{ type: "actions", elements: times(26, button("https://a.example")) }],
      "no more than 25",
    ],
    [
      "a button's text over 75",
      [{ type: "actions", elements: [button("https://a.example", "x".repeat(76))] }],
      "less than 76",
    ],
    [
      "a url over 3000",
      [{ type: "actions", elements: [button(`https://a.example/${"x".repeat(3000)}`)] }],
      "less than 3001",
    ],
    ["a url that is none", [{ type: "actions", elements: [button("javascript:alert(1)")] }], "valid url"],
    ["a table over 100 rows", [table("x", 101)], "no more than 100"],
    ["a table over 20 columns", [table("x", 1, 21)], "no more than 20"],
    ["a table without rows", [{ type: "table", rows: [] }], "no fewer than 1"],
    ["an empty cell", [table("")], "more than 0"],
    ["a table over 10,000 characters", [table("x".repeat(3334), 3)], "10000"],
    ["an empty rich text", [rich({ type: "text", text: "" })], "more than 0"],
    ["a rich text without elements", [{ type: "rich_text", elements: [] }], "no fewer than 1"],
    [
      "a user in preformatted text",
      [rich({ type: "user", user_id: "U1" }, "rich_text_preformatted")],
      "unsupported type: user",
    ],
    ["two blocks of one id", times(2, { type: "divider", block_id: "b" }), "already exists"],
  ])("the stand-in refuses %s", async (_what, blocks, words) => {
    const slack = await slackWith();
    const answer = await post(slack, { text: "x", blocks });
    expect(answer).toMatchObject({ ok: false, error: "invalid_blocks" });
    expect(answer.errors?.join("\n")).toContain(words);
    expect(slack.messages()).toEqual([]);
  });

  it("the stand-in refuses a second table, too much in all, no text, too much text, and what is no list of blocks", async () => {
    const slack = await slackWith();
    expect(await post(slack, { blocks: [table("x"), table("y")] })).toMatchObject({
      error: "invalid_attachments",
      errors: ["only_one_table_allowed"],
    });
    const long = { type: "section", text: plain("x".repeat(2900)) };
    expect(await post(slack, { blocks: times(5, long) })).toMatchObject({ error: "msg_blocks_too_long" });
    expect(await post(slack, {})).toMatchObject({ error: "no_text" });
    expect(await post(slack, { text: "x".repeat(40_001) })).toMatchObject({ error: "msg_too_long" });
    expect(await post(slack, { text: "x", blocks: "nonsense" })).toMatchObject({ error: "invalid_blocks_format" });
    expect(await post(slack, { text: "x", metadata: { event_type: "e" } })).toMatchObject({
      error: "invalid_metadata_format",
    });
  });

  it("the stand-in takes what is just within the limits", async () => {
    const slack = await slackWith();
    const blocks = [header("x".repeat(150)), { type: "section", text: plain("x".repeat(3000)) }, table("x", 100, 1)];
    expect(await post(slack, { text: "x", blocks })).toMatchObject({ ok: true });
  });

  it("the stand-in edits by ts, keeping what was said before", async () => {
    const slack = await slackWith();
    const { ts } = await post(slack, { text: "before" });
    expect(await call(slack, "chat.update", { channel: "C0123ABCD", ts: "1.000000", text: "x" })).toMatchObject({
      error: "message_not_found",
    });
    expect(await call(slack, "chat.update", { channel: "C0123ABCD", ts, text: "x".repeat(4001) })).toMatchObject({
      error: "msg_too_long",
    });
    expect(await call(slack, "chat.update", { channel: "C0123ABCD", ts, text: "after" })).toMatchObject({ ok: true });
    expect(slack.messages()).toMatchObject([{ ts, text: "after", edits: [{ text: "before" }] }]);
  });

  it("the stand-in shows history newest first, in pages, without replies, with metadata only when asked", async () => {
    const slack = await slackWith();
    const metadata = { event_type: "e", event_payload: {} };
    const { ts } = await post(slack, { text: "1", metadata });
    await post(slack, { text: "reply", thread_ts: ts });
    await post(slack, { text: "2", metadata });
    const first = await call(slack, "conversations.history", {
      channel: "C0123ABCD",
      limit: 1,
      include_all_metadata: true,
    });
    expect(first).toMatchObject({ has_more: true, messages: [{ text: "2", metadata }] });
    const cursor = (first["response_metadata"] as { next_cursor: string }).next_cursor;
    const second = await call(slack, "conversations.history", { channel: "C0123ABCD", limit: 1, cursor });
    expect(second).toMatchObject({ has_more: false, messages: [{ text: "1" }] });
    expect(JSON.stringify(second)).not.toContain("event_type");
    const replies = await call(slack, "conversations.replies", { channel: "C0123ABCD", ts });
    expect(replies).toMatchObject({ messages: [{ text: "1" }, { text: "reply" }] });
    const later = await call(slack, "conversations.history", { channel: "C0123ABCD", oldest: ts });
    expect(later).toMatchObject({ messages: [{ text: "2" }] });
  });

  it("the stand-in limits the rate of a channel, and says when to come back", async () => {
    let now = 1_700_000_000_000;
    const slack = await slackWith({ messagesPerSecond: 1, burst: 2, now: () => now });
    expect(await post(slack, { text: "1" })).toMatchObject({ ok: true });
    expect(await post(slack, { text: "2" })).toMatchObject({ ok: true });
    const response = await fetch(`${slack.url}chat.postMessage`, {
      method: "POST",
      headers: { authorization: `Bearer ${slack.token}` },
      body: new URLSearchParams({ channel: "C0123ABCD", text: "3" }),
    });
    expect([response.status, response.headers.get("retry-after")]).toEqual([429, "1"]);
    await response.body?.cancel();
    now += 1_000;
    expect(await post(slack, { text: "3" })).toMatchObject({ ok: true });
    expect(slack.messages()).toHaveLength(3);
  });

  it("the stand-in fails on order, once per fault, and by chance", async () => {
    const slack = await slackWith({
      faultOf: ({ args }) => (args["text"] === "unlucky" ? { error: "fatal_error" } : undefined),
    });
    slack.faults.push(
      { method: "chat.postMessage", error: "internal_error" },
      { method: "chat.postMessage", resetAfterSuccess: true },
    );
    expect(await call(slack, "auth.test", {})).toMatchObject({ ok: true });
    expect(await post(slack, { text: "1" })).toEqual({ ok: false, error: "internal_error" });
    await expect(post(slack, { text: "2" })).rejects.toThrow(TypeError);
    expect(await post(slack, { text: "unlucky" })).toEqual({ ok: false, error: "fatal_error" });
    expect(await post(slack, { text: "3" })).toMatchObject({ ok: true });
    expect(slack.messages().map(({ text }) => text)).toEqual(["2", "3"]);
    expect(slack.calls).toHaveLength(5);
  });

  it("the stand-in notes whom a message would notify", async () => {
    const slack = await slackWith();
    await post(slack, { text: "hi <!channel> and <@U1>", blocks: [rich({ type: "broadcast", range: "here" })] });
    await post(slack, { text: "hi &lt;!channel&gt;", blocks: [header("<!channel>")] });
    expect(slack.messages().map(({ pings }) => pings)).toEqual([["<!channel>", "<@U1>", "broadcast"], []]);
  });

  it("the stand-in answers its incoming webhook in bare words", async () => {
    const slack = await slackWith();
    expect(await send(slack.webhookUrl, '{"text":"hi"}')).toEqual([200, "ok"]);
    expect(await send(slack.webhookUrl, "{")).toEqual([400, "invalid_payload"]);
    expect(await send(slack.webhookUrl, "{}")).toEqual([400, "no_text"]);
    expect(await send(`${slack.webhookUrl}x`, '{"text":"hi"}')).toEqual([403, "invalid_token"]);
    expect(slack.messages()).toHaveLength(1);
  });
});

describe("files", () => {
  const PNG = Buffer.from("89504e470d0a1a0a00", "hex");
  const ask = (slack: SlackStandIn, length = PNG.length) =>
    call(slack, "files.getUploadURLExternal", { filename: "a.png", length });
  const bring = async (url: unknown, bytes: Buffer = PNG) =>
    (await fetch(String(url), { method: "POST", body: bytes })).status;
  const finish = (slack: SlackStandIn, id: unknown, more: object = {}) =>
    call(slack, "files.completeUploadExternal", { files: [{ id, title: "A" }], ...more });
  const image = (id: unknown) => ({ type: "image", alt_text: "a", slack_file: { id } });

  it("files are asked for, brought and completed at the stand-in, in that order and once each", async () => {
    const slack = await slackWith();
    const { file_id: id, upload_url: url } = await ask(slack);
    expect((await finish(slack, id)).error).toBe("file_not_found");
    expect(await bring(url, Buffer.from("short"))).toBe(400);
    expect(await bring(url)).toBe(200);
    expect(await bring(url)).toBe(404);
    expect((await finish(slack, id)).ok).toBe(true);
    expect((await finish(slack, id)).error).toBe("file_not_found");
    expect(slack.files()).toMatchObject([{ id, name: "a.png", title: "A", mimetype: "image/png" }]);
    expect(slack.messages()).toEqual([]);
  });

  it("files are shown by an image block once they are complete, and Slack has looked at them", async () => {
    const slack = await slackWith({ filesLookedAtAfter: 1 });
    const { file_id: id, upload_url: url } = await ask(slack);
    const show = () => post(slack, { text: "t", blocks: [image(id)] });
    expect((await show()).errors).toEqual(["invalid slack file [json-pointer:/blocks/0/slack_file]"]);
    await bring(url);
    expect((await show()).error).toBe("invalid_blocks");
    await finish(slack, id);
    expect((await show()).error).toBe("invalid_blocks");
    expect((await show()).ok).toBe(true);
    const [message] = slack.messages();
    expect(message && slack.pictureOf(message)?.bytes).toEqual(PNG);
  });

  it("files that are no pictures, or unknown, are not shown by an image block", async () => {
    const slack = await slackWith();
    const text = Buffer.from("just text");
    const { file_id: id, upload_url: url } = await ask(slack, text.length);
    await bring(url, text);
    await finish(slack, id);
    for (const wrong of [id, "F404"]) {
      expect((await post(slack, { text: "t", blocks: [image(wrong)] })).error).toBe("invalid_blocks");
    }
    expect((await post(slack, { text: "t", blocks: [{ type: "image", alt_text: "a" }] })).error).toBe("invalid_blocks");
    expect((await post(slack, { text: "t", blocks: [{ ...image(id), alt_text: "" }] })).error).toBe("invalid_blocks");
  });

  it("files are attached only to an existing thread of a channel that the app is in", async () => {
    const slack = await slackWith();
    const { ts } = await post(slack, { text: "parent" });
    const upload = async () => {
      const { file_id: id, upload_url: url } = await ask(slack);
      await bring(url);
      return id;
    };
    expect((await finish(slack, await upload(), { channel_id: "C0404404A", thread_ts: ts })).error).toBe(
      "channel_not_found",
    );
    expect((await finish(slack, await upload(), { channel_id: "C0123ABCD", thread_ts: "1.1" })).error).toBe(
      "thread_not_found",
    );
    expect((await finish(slack, await upload(), { channel_id: "C0123ABCD", thread_ts: ts })).ok).toBe(true);
    expect(slack.messages()[1]).toMatchObject({ thread_ts: ts, files: [{ name: "a.png" }] });
    const { messages } = await call(slack, "conversations.replies", { channel: "C0123ABCD", ts });
    expect(messages).toMatchObject([{ ts }, { files: [{ name: "a.png", size: PNG.length }] }]);
  });

  it("files need a scope", async () => {
    const slack = await slackWith({ scopes: ["chat:write"] });
    expect(await ask(slack)).toMatchObject({ error: "missing_scope", needed: "files:write" });
    expect((await finish(slack, "F1")).error).toBe("missing_scope");
  });

  it("files without a length or a name are refused", async () => {
    const slack = await slackWith();
    expect((await ask(slack, 0)).error).toBe("invalid_arguments");
    expect((await call(slack, "files.getUploadURLExternal", { length: 3 })).error).toBe("invalid_arguments");
  });
});
