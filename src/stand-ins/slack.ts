/**
 * A stand-in for Slack on loopback: the part of the Web API and of incoming webhooks that the relay uses. It enforces the
 * rules Slack documents rather than accept anything, keeps what a channel would show, and fails on order.
 *
 * {@link https://docs.slack.dev/reference/methods}, {@link https://docs.slack.dev/reference/block-kit/blocks}
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface SlackChannel {
  id: string;
  name: string;
  /** Whether the app is in it. Default true. */
  member?: boolean;
  archived?: boolean;
  private?: boolean;
}

/** What happens to one call. Without `…AfterSuccess`, the call has no effect. */
export interface SlackFault {
  /** Only to this method; `webhook` is the incoming webhook. Default: any. */
  method?: string;
  /** HTTP status; 200 when only `error` is given. */
  status?: number;
  /** `{"ok":false,"error":…}` (the webhook: the bare word). */
  error?: string;
  /** The `Retry-After` header, in seconds. Alone it means 429. */
  retryAfter?: number;
  /** The body as it is, with status 200 unless given. */
  body?: string;
  /** A redirect to this address. */
  location?: string;
  /** Does the work, then never answers. */
  hangAfterSuccess?: boolean;
  /** Does the work, then resets the connection. */
  resetAfterSuccess?: boolean;
  /** Neither does the work nor answers. */
  hang?: boolean;
  /** Closes the connection without doing the work. */
  drop?: boolean;
}

export interface SlackCall {
  method: string;
  args: Record<string, unknown>;
  /** Epoch milliseconds. */
  at: number;
}

export interface SlackMessageStored {
  channel: string;
  ts: string;
  thread_ts: string | null;
  text: string;
  blocks: Block[];
  metadata: { event_type: string; event_payload: Record<string, unknown> } | null;
  /** What it said before each edit, oldest first. */
  edits: { text: string; blocks: Block[] }[];
  /** Files shared with it, as a channel shows them under its text. */
  files: SlackFileStored[];
  /** Whom it would have notified: `<!channel>`, `<@U123>`, …; of a message that is markup or mentions in its blocks. */
  pings: string[];
}

/** A file that was uploaded and completed. */
export interface SlackFileStored {
  id: string;
  name: string;
  title: string;
  bytes: Uint8Array;
  alt: string | null;
  /** By its bytes; empty when unknown. */
  mimetype: string;
}

export interface SlackOptions {
  /** Default `xoxb-stand-in`. */
  token?: string;
  /** Default one, `C0123ABCD` called `ops`. */
  channels?: SlackChannel[];
  /** What the token may do. Default: post, upload files, read channels and their history. */
  scopes?: string[];
  /** Messages a channel takes per second before 429; none: no limit. {@link https://docs.slack.dev/apis/web-api/rate-limits} */
  messagesPerSecond?: number;
  /** How many more may come at once. Default 1. */
  burst?: number;
  /** So many messages that show a file are refused until Slack has looked at it. Default 0. */
  filesLookedAtAfter?: number;
  /** A fault for this call, asked when none was ordered; for faults by chance. */
  faultOf?: (call: SlackCall) => SlackFault | undefined;
  /** Epoch milliseconds. Default the system's clock. */
  now?: () => number;
}

export interface SlackStandIn {
  /** Base of the API, with `/api/` at its end. */
  url: string;
  webhookUrl: string;
  token: string;
  /** What the channel shows, in order; all channels without one. By id or name. */
  messages(channel?: string): SlackMessageStored[];
  /** What a message's image block shows, if it has one and its file is there. */
  pictureOf(message: Pick<SlackMessageStored, "blocks">): SlackFileStored | null;
  /** Every file that was uploaded and completed, also where nobody sees it. */
  files(): SlackFileStored[];
  /** Every call that arrived, faulty ones too; the bytes of an upload come as `upload`. */
  calls: SlackCall[];
  /** Faults on order: each call takes the first that fits it. */
  faults: SlackFault[];
  /** As a person would: the message is gone. */
  delete(channel: string, ts: string): void;
  close(): Promise<void>;
}

type Block = Record<string, unknown>;
type SlackStandInAnswer = { ok: boolean; error?: string } & Record<string, unknown>;

const ALL_SCOPES = ["chat:write", "files:write", "channels:read", "groups:read", "channels:history", "groups:history"];
const UPLOAD_PATH = "/upload/v1/";
const WEBHOOK_PATH = "/services/T0000000/B0000000/stand-in-secret";

export async function startSlack(options: SlackOptions = {}): Promise<SlackStandIn> {
  let origin = "";
  const workspace = new Workspace(options, () => origin);
  const calls: SlackCall[] = [];
  const faults: SlackFault[] = [];
  const server = createServer((request, response) => {
    handle(request, response).catch(() => request.socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? "/", origin);
    const isWebhook = pathname.startsWith("/services/");
    const isUpload = pathname.startsWith(UPLOAD_PATH);
    const body = await readBody(request);
    const { args, readable } = isUpload
      ? { args: { length: body.length }, readable: true }
      : parseArgs(body.toString("utf8"), request.headers["content-type"] ?? "", searchParams);
    const method = isWebhook ? "webhook" : isUpload ? "upload" : pathname.replace(/^\/api\//, "");
    const call = { method, args, at: workspace.now() };
    calls.push(call);
    const fault = faultFor(call, faults) ?? options.faultOf?.(call);
    if (fault?.hang) return;
    if (fault?.drop) return void request.socket.destroy();
    if (fault && !fault.hangAfterSuccess && !fault.resetAfterSuccess) return fail(response, fault, isWebhook);
    const bearer = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1];
    const reply = isWebhook
      ? workspace.webhook(pathname, request.method ?? "", readable ? args : null)
      : isUpload
        ? workspace.upload(pathname.slice(UPLOAD_PATH.length), request.method ?? "", body)
        : workspace.api(call.method, readable ? args : null, bearer ?? asText(args["token"]));
    if (fault?.hangAfterSuccess) return;
    if (fault?.resetAfterSuccess) return void request.socket.resetAndDestroy();
    response.writeHead(reply.status, reply.headers).end(reply.body);
  }

  return {
    url: `${origin}/api/`,
    webhookUrl: `${origin}${WEBHOOK_PATH}`,
    token: workspace.token,
    calls,
    faults,
    messages: (channel) => workspace.messages(channel),
    pictureOf: ({ blocks }) => workspace.pictureOf(blocks),
    files: () => workspace.files(),
    delete: (channel, ts) => workspace.delete(channel, ts),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

interface Reply {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** Channels, their messages and the methods over them. */
class Workspace {
  readonly token: string;
  readonly now: () => number;
  readonly #options: SlackOptions;
  readonly #channels: SlackChannel[];
  readonly #scopes: string[];
  readonly #stored = new Map<string, SlackMessageStored[]>();
  readonly #lastMicros = new Map<string, number>();
  /** When each channel's allowance was last full, in epoch milliseconds of messages to come. */
  readonly #paidUntil = new Map<string, number>();
  readonly #origin: () => string;
  /** By id. */
  readonly #uploads = new Map<string, Upload>();

  constructor(options: SlackOptions, origin: () => string) {
    this.#options = options;
    this.#origin = origin;
    this.token = options.token ?? "xoxb-stand-in";
    this.now = options.now ?? Date.now;
    this.#channels = options.channels ?? [{ id: "C0123ABCD", name: "ops" }];
    this.#scopes = options.scopes ?? ALL_SCOPES;
  }

  messages(channel?: string): SlackMessageStored[] {
    if (channel === undefined) return [...this.#stored.values()].flat();
    return this.#stored.get(this.#channel(channel)?.id ?? channel) ?? [];
  }

  delete(channel: string, ts: string): void {
    const id = this.#channel(channel)?.id ?? channel;
    this.#stored.set(
      id,
      (this.#stored.get(id) ?? []).filter((message) => message.ts !== ts),
    );
  }

  files(): SlackFileStored[] {
    return [...this.#uploads.values()].filter(({ state }) => state === "complete").map(storeFile);
  }

  pictureOf(blocks: Block[]): SlackFileStored | null {
    const file = asObject(blocks.find(({ type }) => type === "image")?.["slack_file"]);
    return this.files().find(({ id }) => id === file?.["id"]) ?? null;
  }

  /** The bytes of a file, brought to the URL that was handed out for it. It is good for one upload. */
  upload(secret: string, method: string, bytes: Buffer): Reply {
    const upload = [...this.#uploads.values()].find((each) => each.secret === secret);
    if (method !== "POST") return plain(405, "method not allowed");
    if (!upload || upload.state !== "awaited") return plain(404, "no such upload");
    if (bytes.length !== upload.length) return plain(400, "length mismatch");
    this.#uploads.set(upload.id, { ...upload, state: "uploaded", bytes });
    return plain(200, `OK - ${bytes.length}`);
  }

  /** A Web API call. Slack answers 200 to all but a call beyond the rate. */
  api(method: string, args: Record<string, unknown> | null, token: string | null): Reply {
    if (args === null) return json({ ok: false, error: "invalid_json" });
    if (!token) return json({ ok: false, error: "not_authed" });
    if (token !== this.token) return json({ ok: false, error: "invalid_auth" });
    const handler = this.#methods[method];
    if (!handler) return json({ ok: false, error: "unknown_method", req_method: method });
    const { scope, run } = handler;
    if (scope && !this.#allowed(scope, args)) {
      return json({ ok: false, error: "missing_scope", needed: scope, provided: this.#scopes.join(",") });
    }
    const answer = run(args);
    // Every answer to a token names what it may do: https://docs.slack.dev/authentication/installing-with-oauth
    if (answer.error !== "ratelimited") return withHeaders(json(answer), { "x-oauth-scopes": this.#scopes.join(", ") });
    const { retry_after, ...rest } = answer;
    return { ...json(rest), status: 429, headers: { ...json(rest).headers, "retry-after": String(retry_after) } };
  }

  /** An incoming webhook: posts to the first channel. */
  webhook(path: string, method: string, args: Record<string, unknown> | null): Reply {
    const channel = this.#channels[0];
    if (path !== WEBHOOK_PATH) return plain(403, "invalid_token");
    if (method !== "POST") return plain(405, "http_method_not_allowed");
    if (args === null) return plain(400, "invalid_payload");
    if (!channel) return plain(404, "channel_not_found");
    if (channel.archived) return plain(410, "channel_is_archived");
    const wait = this.#waitFor(channel.id);
    if (wait > 0) return { ...plain(429, "rate_limited"), headers: { "retry-after": String(wait) } };
    const refusal = checkMessage(args, 40_000, () => false);
    if (refusal) return plain(400, refusal.error ?? "invalid_payload");
    this.#store(channel.id, args, null);
    return plain(200, "ok");
  }

  /** Scopes for private channels begin with `groups:`. */
  #allowed(scope: string, args: Record<string, unknown>): boolean {
    const wanted = this.#channel(args["channel"])?.private ? scope.replace(/^channels:/, "groups:") : scope;
    return this.#scopes.includes(wanted);
  }

  readonly #methods: Record<string, { scope?: string; run: (args: Record<string, unknown>) => SlackStandInAnswer }> = {
    "auth.test": {
      run: () => ({
        ok: true,
        url: "https://stand-in.slack.com/",
        team: "Stand-in",
        user: "skyvern-relay",
        team_id: "T0000000",
        user_id: "U0000000",
        bot_id: "B0000000",
      }),
    },
    "chat.postMessage": { scope: "chat:write", run: (args) => this.#post(args) },
    "chat.update": { scope: "chat:write", run: (args) => this.#update(args) },
    "chat.getPermalink": { run: (args) => this.#permalink(args) },
    "conversations.history": { scope: "channels:history", run: (args) => this.#history(args) },
    "conversations.replies": { scope: "channels:history", run: (args) => this.#replies(args) },
    "conversations.info": { scope: "channels:read", run: (args) => this.#info(args) },
    "files.getUploadURLExternal": { scope: "files:write", run: (args) => this.#awaitUpload(args) },
    "files.completeUploadExternal": { scope: "files:write", run: (args) => this.#completeUpload(args) },
    "conversations.list": { scope: "channels:read", run: (args) => this.#list(args) },
  };

  #post(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"]);
    if (!channel) return { ok: false, error: "channel_not_found" };
    if (channel.archived) return { ok: false, error: "is_archived" };
    if (channel.member === false) return { ok: false, error: "not_in_channel" };
    const refusal = checkMessage(args, 40_000, (id) => this.#canShow(id)) ?? metadataRefusal(args["metadata"]);
    if (refusal) return refusal;
    const thread = asText(args["thread_ts"]);
    if (thread && !this.#find(channel.id, thread)) return { ok: false, error: "thread_not_found" };
    const wait = this.#waitFor(channel.id);
    if (wait > 0) return { ok: false, error: "ratelimited", retry_after: wait };
    const message = this.#store(channel.id, args, thread);
    return { ok: true, channel: channel.id, ts: message.ts, message: shown(message, true) };
  }

  #update(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"], "id");
    if (!channel) return { ok: false, error: "channel_not_found" };
    if (channel.archived) return { ok: false, error: "is_archived" };
    const message = this.#find(channel.id, asText(args["ts"]));
    if (!message) return { ok: false, error: "message_not_found" };
    const refusal = checkMessage(args, 4_000, (id) => this.#canShow(id));
    if (refusal) return refusal;
    message.edits.push({ text: message.text, blocks: message.blocks });
    message.text = asText(args["text"]) ?? message.text;
    message.blocks = parseBlocks(args["blocks"]) ?? [];
    message.pings.push(...findPings(message));
    return { ok: true, channel: channel.id, ts: message.ts, text: message.text };
  }

  #awaitUpload(args: Record<string, unknown>): SlackStandInAnswer {
    const name = asText(args["filename"]);
    const length = Number(args["length"]);
    if (!name || !(Number.isInteger(length) && length > 0)) return { ok: false, error: "invalid_arguments" };
    const alt = asText(args["alt_txt"]);
    if (alt && alt.length > 1_000) return { ok: false, error: "alt_txt_too_large" };
    const n = this.#uploads.size + 1;
    const id = `F${String(n).padStart(8, "0")}`;
    const secret = `CwAB${n}-${Math.random().toString(36).slice(2)}`;
    this.#uploads.set(id, { id, secret, name, title: name, length, alt, state: "awaited", bytes: null, looks: 0 });
    return { ok: true, upload_url: `${this.#origin()}${UPLOAD_PATH}${secret}`, file_id: id };
  }

  /** Each upload once. Without a channel, nobody but the app has the file. */
  #completeUpload(args: Record<string, unknown>): SlackStandInAnswer {
    const given = parseBlocks(args["files"]);
    if (!given || given.length === 0) return { ok: false, error: "invalid_arguments" };
    const uploads = given.map(({ id }) => this.#uploads.get(String(id)));
    if (uploads.some((upload) => upload?.state !== "uploaded")) return { ok: false, error: "file_not_found" };
    const thread = asText(args["thread_ts"]);
    const channel = this.#channel(args["channel_id"], "id");
    if (args["channel_id"] !== undefined) {
      if (!channel) return { ok: false, error: "channel_not_found" };
      if (channel.member === false) return { ok: false, error: "not_in_channel" };
      if (thread && !this.#find(channel.id, thread)) return { ok: false, error: "thread_not_found" };
    }
    for (const [i, { title }] of given.entries()) {
      const upload = uploads[i];
      if (upload) this.#uploads.set(upload.id, { ...upload, title: asText(title) ?? upload.name, state: "complete" });
    }
    const files = this.files().filter(({ id }) => given.some((each) => each["id"] === id));
    if (channel) this.#store(channel.id, { text: asText(args["initial_comment"]) ?? "" }, thread).files.push(...files);
    return { ok: true, files: files.map(({ id, title }) => ({ id, title })) };
  }

  /** Whether an image block may show a file: complete, a picture of a kind that Slack shows, and looked at by now. */
  #canShow(id: string): boolean {
    const upload = this.#uploads.get(id);
    if (upload?.state !== "complete" || !/^image\/(png|jpeg|gif)$/.test(storeFile(upload).mimetype)) return false;
    this.#uploads.set(id, { ...upload, looks: upload.looks + 1 });
    return upload.looks >= (this.#options.filesLookedAtAfter ?? 0);
  }

  #permalink(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"], "id");
    if (!channel) return { ok: false, error: "channel_not_found" };
    const ts = asText(args["message_ts"]);
    if (!this.#find(channel.id, ts)) return { ok: false, error: "message_not_found" };
    return {
      ok: true,
      channel: channel.id,
      permalink: `https://stand-in.slack.com/archives/${channel.id}/p${ts?.replace(".", "")}`,
    };
  }

  #history(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"], "id");
    if (!channel) return { ok: false, error: "channel_not_found" };
    if (channel.member === false) return { ok: false, error: "not_in_channel" };
    const oldest = Number(asText(args["oldest"]) ?? 0);
    const latest = Number(asText(args["latest"]) ?? Infinity);
    const found = this.messages(channel.id)
      .filter(({ thread_ts, ts }) => thread_ts === null && Number(ts) > oldest && Number(ts) < latest)
      .toReversed();
    return page(found, args, 100);
  }

  #replies(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"], "id");
    if (!channel) return { ok: false, error: "channel_not_found" };
    if (channel.member === false) return { ok: false, error: "not_in_channel" };
    const parent = asText(args["ts"]);
    if (!this.#find(channel.id, parent)) return { ok: false, error: "thread_not_found" };
    const thread = this.messages(channel.id).filter(({ ts, thread_ts }) => ts === parent || thread_ts === parent);
    return page(thread, args, 1000);
  }

  #info(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"], "id");
    return channel ? { ok: true, channel: channelInfo(channel) } : { ok: false, error: "channel_not_found" };
  }

  #list(args: Record<string, unknown>): SlackStandInAnswer {
    const limit = Number(args["limit"] ?? 100);
    const start = Number(args["cursor"] ?? 0) || 0;
    const visible = this.#channels.filter(
      (channel) => !(channel.archived && String(args["exclude_archived"]) === "true"),
    );
    const next = start + limit < visible.length ? String(start + limit) : "";
    const channels = visible.slice(start, start + limit).map(channelInfo);
    return { ok: true, channels, response_metadata: { next_cursor: next } };
  }

  /** Posting takes an id or a name, everything else the id alone. */
  #channel(value: unknown, by: "any" | "id" = "any"): SlackChannel | undefined {
    const text = asText(value);
    return this.#channels.find(
      ({ id, name }) => text === id || (by === "any" && (text === name || text === `#${name}`)),
    );
  }

  #find(channel: string, ts: string | null): SlackMessageStored | undefined {
    return this.messages(channel).find((message) => message.ts === ts);
  }

  #store(channel: string, args: Record<string, unknown>, thread_ts: string | null): SlackMessageStored {
    const message: SlackMessageStored = {
      channel,
      ts: this.#nextTs(channel),
      thread_ts,
      text: asText(args["text"]) ?? "",
      blocks: parseBlocks(args["blocks"]) ?? [],
      metadata: asObject(args["metadata"]) as SlackMessageStored["metadata"],
      edits: [],
      files: [],
      pings: [],
    };
    message.pings = findPings(message);
    const stored = this.#stored.get(channel);
    if (stored) stored.push(message);
    else this.#stored.set(channel, [message]);
    return message;
  }

  /** Unique in its channel and always growing. */
  #nextTs(channel: string): string {
    const micros = Math.max(this.now() * 1000, (this.#lastMicros.get(channel) ?? 0) + 1);
    this.#lastMicros.set(channel, micros);
    return `${Math.floor(micros / 1e6)}.${String(micros % 1e6).padStart(6, "0")}`;
  }

  /** Seconds until the channel takes another message; 0: now, and it counts. */
  #waitFor(channel: string): number {
    const { messagesPerSecond, burst = 1 } = this.#options;
    if (!messagesPerSecond) return 0;
    const each = 1000 / messagesPerSecond;
    const now = this.now();
    const paid = Math.max(this.#paidUntil.get(channel) ?? 0, now);
    const wait = paid - (now + each * (burst - 1));
    if (wait > 0) return Math.max(1, Math.ceil(wait / 1000));
    this.#paidUntil.set(channel, paid + each);
    return 0;
  }
}

/** A file on its way. */
interface Upload {
  id: string;
  secret: string;
  name: string;
  title: string;
  length: number;
  alt: string | null;
  state: "awaited" | "uploaded" | "complete";
  bytes: Buffer | null;
  /** How often a message was to show it. */
  looks: number;
}

const storeFile = ({ id, name, title, alt, bytes }: Upload): SlackFileStored => {
  const head = bytes?.subarray(0, 8).toString("latin1") ?? "";
  const mimetype = head.startsWith("\x89PNG")
    ? "image/png"
    : head.startsWith("\xFF\xD8\xFF")
      ? "image/jpeg"
      : head.startsWith("GIF8")
        ? "image/gif"
        : "";
  return { id, name, title, alt, mimetype, bytes: bytes ?? new Uint8Array() };
};

const channelInfo = ({ id, name, member = true, archived = false, private: isPrivate = false }: SlackChannel) => ({
  id,
  name,
  is_channel: true,
  is_member: member,
  is_archived: archived,
  is_private: isPrivate,
});

function page(messages: SlackMessageStored[], args: Record<string, unknown>, defaultLimit: number): SlackStandInAnswer {
  const limit = Number(args["limit"] ?? defaultLimit);
  if (!(limit >= 1 && limit <= 1000)) return { ok: false, error: "invalid_limit" };
  const start = Number(asText(args["cursor"])?.replace(/^next:/, "") ?? 0);
  if (!(start >= 0)) return { ok: false, error: "invalid_cursor" };
  const more = start + limit < messages.length;
  const withMetadata = String(args["include_all_metadata"]) === "true";
  return {
    ok: true,
    messages: messages.slice(start, start + limit).map((message) => shown(message, withMetadata)),
    has_more: more,
    ...(more && { response_metadata: { next_cursor: `next:${start + limit}` } }),
  };
}

const shown = ({ ts, thread_ts, text, blocks, metadata, files }: SlackMessageStored, withMetadata: boolean) => ({
  type: "message",
  ts,
  text,
  blocks,
  ...(thread_ts !== null && { thread_ts }),
  ...(files.length > 0 && {
    files: files.map(({ id, name, title, bytes }) => ({ id, name, title, size: bytes.length })),
  }),
  ...(withMetadata && metadata && { metadata }),
});

// ---- The rules of a message ----

/**
 * Why Slack would refuse the message, or null. `maxText` is 40,000 for chat.postMessage and 4,000 for chat.update. All
 * lengths are in UTF-16 units. `canShow`: whether an image block may show a file, by its id.
 * {@link https://docs.slack.dev/reference/methods/chat.postMessage}
 */
export function checkMessage(
  args: { text?: unknown; blocks?: unknown },
  maxText: number,
  canShow: (fileId: string) => boolean = () => false,
): SlackStandInAnswer | null {
  const text = args.text ?? "";
  if (typeof text !== "string") return { ok: false, error: "invalid_arguments" };
  const blocks = args.blocks === undefined ? [] : parseBlocks(args.blocks);
  if (blocks === null) return { ok: false, error: "invalid_blocks_format" };
  if (text.trim() === "" && blocks.length === 0) return { ok: false, error: "no_text" };
  if (text.length > maxText) return { ok: false, error: "msg_too_long" };
  if (blocks.filter(({ type }) => type === "table").length > 1) {
    return { ok: false, error: "invalid_attachments", errors: ["only_one_table_allowed"] };
  }
  const errors = [...findErrors(blocks), ...pictureErrors(blocks, canShow)];
  if (errors.length > 0) {
    const messages = errors.map((error) => `[ERROR] ${error}`);
    return { ok: false, error: "invalid_blocks", errors, response_metadata: { messages } };
  }
  // Undocumented, measured by users: https://github.com/slackapi/bolt-js/issues/2509
  return JSON.stringify(blocks).length > 13_200 ? { ok: false, error: "msg_blocks_too_long" } : null;
}

const pictureErrors = (blocks: Block[], canShow: (fileId: string) => boolean): string[] =>
  blocks.flatMap(({ type, slack_file }, i) =>
    type === "image" && slack_file !== undefined && !canShow(String(asObject(slack_file)?.["id"]))
      ? [`invalid slack file [json-pointer:/blocks/${i}/slack_file]`]
      : [],
  );

function metadataRefusal(value: unknown): SlackStandInAnswer | null {
  if (value === undefined) return null;
  const metadata = asObject(value);
  const isRight = typeof metadata?.["event_type"] === "string" && asObject(metadata["event_payload"]) !== null;
  return isRight ? null : { ok: false, error: "invalid_metadata_format" };
}

/** Takes note of one fault in the blocks, at a JSON pointer. */
type Note = (message: string, pointer: string) => void;

function findErrors(blocks: Block[]): string[] {
  const errors: string[] = [];
  const note: Note = (message, pointer) => errors.push(`${message} [json-pointer:/blocks${pointer}]`);
  if (blocks.length > 50) note("no more than 50 items allowed", "");
  const ids = new Set<unknown>();
  for (const [i, block] of blocks.entries()) {
    const id = block["block_id"];
    if (id !== undefined) {
      checkLength(id, 255, note, `/${i}/block_id`);
      if (ids.has(id)) note("`block_id` already exists for another block", `/${i}/block_id`);
      ids.add(id);
    }
    const check = BLOCKS[String(block["type"])];
    if (check) check(block, note, `/${i}`);
    else note(`unsupported type: ${String(block["type"])}`, `/${i}/type`);
  }
  return errors;
}

/** By block type. {@link https://docs.slack.dev/reference/block-kit/blocks} */
const BLOCKS: Record<string, (block: Block, note: Note, at: string) => void> = {
  divider: () => {},
  image(block, note, at) {
    checkLength(block["alt_text"], 2000, note, `${at}/alt_text`);
    if (block["title"] !== undefined) checkText(block["title"], 2000, note, `${at}/title`, ["plain_text"]);
    const { image_url: url, slack_file: file } = block;
    if ((url === undefined) === (file === undefined)) note("must have one of image_url and slack_file", at);
    if (url !== undefined) checkUrl(url, note, `${at}/image_url`);
  },
  header: (block, note, at) => checkText(block["text"], 150, note, `${at}/text`, ["plain_text"]),
  section(block, note, at) {
    const { text, fields } = block;
    if (text === undefined && fields === undefined) note("missing required field: text", at);
    if (text !== undefined) checkText(text, 3000, note, `${at}/text`);
    if (fields === undefined) return;
    for (const [i, field] of items(fields, 10, note, `${at}/fields`)) checkText(field, 2000, note, `${at}/fields/${i}`);
  },
  context(block, note, at) {
    for (const [i, item] of items(block["elements"], 10, note, `${at}/elements`)) {
      if (item["type"] !== "image") checkText(item, 3000, note, `${at}/elements/${i}`);
    }
  },
  actions(block, note, at) {
    const ids = new Set<unknown>();
    for (const [i, item] of items(block["elements"], 25, note, `${at}/elements`)) {
      const pointer = `${at}/elements/${i}`;
      if (item["type"] !== "button") note(`unsupported type: ${String(item["type"])}`, `${pointer}/type`);
      checkText(item["text"], 75, note, `${pointer}/text`, ["plain_text"]);
      if (item["url"] !== undefined) checkUrl(item["url"], note, `${pointer}/url`);
      const id = item["action_id"];
      if (id === undefined) continue;
      checkLength(id, 255, note, `${pointer}/action_id`);
      if (ids.has(id)) note("`action_id` already exists", `${pointer}/action_id`);
      ids.add(id);
    }
  },
  table(block, note, at) {
    const rows = items(block["rows"], 100, note, `${at}/rows`, Array.isArray);
    for (const [i, row] of rows) {
      for (const [k, cell] of items(row, 20, note, `${at}/rows/${i}`)) checkCell(cell, note, `${at}/rows/${i}/${k}`);
    }
    if (rows.length > 0 && lengthOfTexts(block["rows"]) > 10_000) note("table exceeds 10000 characters", at);
    const settings = block["column_settings"];
    if (settings !== undefined && (!Array.isArray(settings) || settings.length > 20)) {
      note("no more than 20 items allowed", `${at}/column_settings`);
    }
  },
  rich_text(block, note, at) {
    for (const [i, part] of items(block["elements"], Infinity, note, `${at}/elements`)) {
      checkRichPart(part, note, `${at}/elements/${i}`);
    }
  },
};

function checkCell(cell: Block, note: Note, at: string): void {
  if (cell["type"] === "raw_text") return checkLength(cell["text"], Infinity, note, `${at}/text`);
  if (cell["type"] === "rich_text") return BLOCKS["rich_text"]?.(cell, note, at);
  note(`unsupported type: ${String(cell["type"])}`, `${at}/type`);
}

function checkRichPart(part: Block, note: Note, at: string): void {
  const type = String(part["type"]);
  if (!["rich_text_section", "rich_text_list", "rich_text_quote", "rich_text_preformatted"].includes(type)) {
    return note(`unsupported type: ${type}`, `${at}/type`);
  }
  for (const [i, element] of items(part["elements"], Infinity, note, `${at}/elements`)) {
    const pointer = `${at}/elements/${i}`;
    if (type === "rich_text_list") checkRichPart(element, note, pointer);
    else checkRichElement(element, type, note, pointer);
  }
}

function checkRichElement(element: Block, parent: string, note: Note, at: string): void {
  const type = String(element["type"]);
  const allowed = parent === "rich_text_preformatted" ? ["text", "link"] : RICH_ELEMENTS;
  if (!allowed.includes(type)) return note(`unsupported type: ${type}`, `${at}/type`);
  if (type === "text") checkLength(element["text"], Infinity, note, `${at}/text`);
  if (type === "link") checkUrl(element["url"], note, `${at}/url`);
}

const RICH_ELEMENTS = ["text", "link", "emoji", "broadcast", "user", "usergroup", "channel", "team", "date", "color"];

function checkText(value: unknown, max: number, note: Note, at: string, types = ["plain_text", "mrkdwn"]): void {
  const text = asObject(value);
  if (!text) return note("must be a text object", at);
  if (!types.includes(String(text["type"]))) note(`unsupported type: ${String(text["type"])}`, `${at}/type`);
  if (text["verbatim"] !== undefined && text["type"] !== "mrkdwn") note("`verbatim` is for mrkdwn", `${at}/verbatim`);
  if (text["emoji"] !== undefined && text["type"] !== "plain_text") note("`emoji` is for plain_text", `${at}/emoji`);
  checkLength(text["text"], max, note, `${at}/text`);
  if (typeof text["text"] === "string" && text["text"].trim() === "")
    note("must be more than 0 characters", `${at}/text`);
}

function checkLength(value: unknown, max: number, note: Note, at: string): void {
  if (typeof value !== "string") note("must be a string", at);
  else if (value.length === 0) note("must be more than 0 characters", at);
  else if (value.length > max) note(`must be less than ${max + 1} characters`, at);
}

function checkUrl(value: unknown, note: Note, at: string): void {
  checkLength(value, 3000, note, at);
  const url = typeof value === "string" && !/\s/.test(value) ? URL.parse(value) : null;
  if (!url || !/^(https?|mailto):$/.test(url.protocol)) note("must be a valid url", at);
}

/** The items of a list with their places; notes when it is none, empty, too long, or holds something else. */
function items(
  value: unknown,
  max: number,
  note: Note,
  at: string,
  isRight = (item: unknown) => asObject(item) !== null,
) {
  if (!Array.isArray(value) || value.length === 0) {
    note("no fewer than 1 items allowed", at);
    return [];
  }
  if (value.length > max) note(`no more than ${max} items allowed`, at);
  const wrong = value.findIndex((item) => !isRight(item));
  if (wrong >= 0) note("is of a wrong type", `${at}/${wrong}`);
  return wrong >= 0 ? [] : [...(value as Block[]).entries()];
}

function lengthOfTexts(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + lengthOfTexts(item), 0);
  const object = asObject(value);
  if (!object) return 0;
  const own = typeof object["text"] === "string" ? object["text"].length : 0;
  return own + lengthOfTexts(object["elements"]);
}

/** Whom a message notifies: mentions in its markup, and mention elements in its rich text. */
export function findPings(message: { text: string; blocks: readonly object[] }): string[] {
  const found = mentionsIn(message.text);
  const visit = (value: unknown): void => {
    if (Array.isArray(value)) return value.forEach(visit);
    const object = asObject(value);
    if (!object) return;
    if (object["type"] === "mrkdwn") found.push(...mentionsIn(String(object["text"])));
    if (["broadcast", "user", "usergroup"].includes(String(object["type"]))) found.push(String(object["type"]));
    Object.values(object).forEach(visit);
  };
  visit(message.blocks);
  return found;
}

const mentionsIn = (markup: string): string[] => markup.match(/<(?:![^>]*|@[^>]*)>/g) ?? [];

// ---- The wire ----

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** Arguments as Slack reads them: a form, JSON, or the query. `readable` is false for JSON that is none. */
function parseArgs(body: string, contentType: string, query: URLSearchParams) {
  const fromQuery: Record<string, unknown> = Object.fromEntries(query);
  if (!contentType.startsWith("application/json")) {
    const form = Object.fromEntries(new URLSearchParams(body));
    const payload = form["payload"];
    if (payload === undefined) return { args: { ...fromQuery, ...form } as Record<string, unknown>, readable: true };
    return { args: asObject(payload) ?? {}, readable: asObject(payload) !== null };
  }
  const args = asObject(body);
  return { args: { ...fromQuery, ...args }, readable: args !== null };
}

/** An object, also as JSON text: forms carry objects so. */
function asObject(value: unknown): Record<string, unknown> | null {
  const object = typeof value === "string" ? parsed(value) : value;
  return typeof object === "object" && object !== null && !Array.isArray(object)
    ? (object as Record<string, unknown>)
    : null;
}

function parseBlocks(value: unknown): Block[] | null {
  const list = typeof value === "string" ? parsed(value) : value;
  return Array.isArray(list) && list.every((item) => asObject(item) !== null) ? (list as Block[]) : null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

const asText = (value: unknown): string | null => (typeof value === "string" && value !== "" ? value : null);

function faultFor(call: SlackCall, faults: SlackFault[]): SlackFault | undefined {
  const i = faults.findIndex(({ method }) => method === undefined || method === call.method);
  return i < 0 ? undefined : faults.splice(i, 1)[0];
}

function fail(response: ServerResponse, fault: SlackFault, isWebhook: boolean): void {
  const { error, retryAfter, location } = fault;
  const status =
    fault.status ?? (location ? 302 : error || fault.body !== undefined || retryAfter === undefined ? 200 : 429);
  const headers = {
    ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    ...(location && { location }),
    "content-type":
      fault.body === undefined && !isWebhook ? "application/json; charset=utf-8" : "text/plain; charset=utf-8",
  };
  const word = error ?? (status === 429 ? "ratelimited" : "internal_error");
  const body = fault.body ?? (location ? "" : isWebhook ? word : JSON.stringify({ ok: false, error: word }));
  response.writeHead(status, headers).end(body);
}

const json = (answer: SlackStandInAnswer): Reply => ({
  status: 200,
  headers: { "content-type": "application/json; charset=utf-8" },
  body: JSON.stringify(answer),
});

const withHeaders = (reply: Reply, headers: Record<string, string>): Reply => ({
  ...reply,
  headers: { ...reply.headers, ...headers },
});

const plain = (status: number, body: string): Reply => ({
  status,
  headers: { "content-type": "text/plain; charset=utf-8" },
  body,
});
