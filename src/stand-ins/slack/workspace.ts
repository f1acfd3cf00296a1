/** A workspace: channels, their messages, and the methods of the Web API over them. */
import type { SlackChannel, SlackMessageStored, SlackOptions, SlackStandInAnswer } from "./model.ts";
import { metadataRefusal, findPings, checkMessage } from "./message-rules.ts";
import { Uploads } from "./uploads.ts";
import { parseBlocks, json, asObject, plain, asText, type Reply } from "./wire.ts";

const ALL_SCOPES = ["chat:write", "files:write", "channels:read", "groups:read", "channels:history", "groups:history"];
const BOT_ID = "B0000000";
export const WEBHOOK_PATH = "/services/T0000000/B0000000/stand-in-secret";

/** Channels, their messages and the methods over them. */
export class Workspace {
  readonly token: string;
  readonly now: () => number;
  readonly #channels: SlackChannel[];
  readonly #scopes: string[];
  readonly #stored = new Map<string, SlackMessageStored[]>();
  readonly #lastMicros = new Map<string, number>();
  readonly uploads: Uploads;

  constructor(options: SlackOptions, origin: () => string) {
    this.uploads = new Uploads(origin, options.filesLookedAtAfter ?? 0);
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

  /** A Web API call. Slack answers 200, whatever came of it. */
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
    const reply = json(answer);
    return { ...reply, headers: { ...reply.headers, "x-oauth-scopes": this.#scopes.join(", ") } };
  }

  /** An incoming webhook: posts to the first channel. */
  webhook(path: string, method: string, args: Record<string, unknown> | null): Reply {
    const channel = this.#channels[0];
    if (path !== WEBHOOK_PATH) return plain(403, "invalid_token");
    if (method !== "POST") return plain(405, "http_method_not_allowed");
    if (args === null) return plain(400, "invalid_payload");
    if (!channel) return plain(404, "channel_not_found");
    if (channel.archived) return plain(410, "channel_is_archived");
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
        bot_id: BOT_ID,
      }),
    },
    "chat.postMessage": { scope: "chat:write", run: (args) => this.#post(args) },
    "chat.update": { scope: "chat:write", run: (args) => this.#update(args) },
    "chat.getPermalink": { run: (args) => this.#permalink(args) },
    "conversations.history": { scope: "channels:history", run: (args) => this.#history(args) },
    "conversations.replies": { scope: "channels:history", run: (args) => this.#replies(args) },
    "conversations.info": { scope: "channels:read", run: (args) => this.#info(args) },
    "files.getUploadURLExternal": { scope: "files:write", run: (args) => this.uploads.begin(args) },
    "files.completeUploadExternal": { scope: "files:write", run: (args) => this.#completeUpload(args) },
    "conversations.list": { scope: "channels:read", run: (args) => this.#list(args) },
  };

  #post(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"]);
    if (!channel) return { ok: false, error: "channel_not_found" };
    if (channel.archived) return { ok: false, error: "is_archived" };
    if (channel.member === false) return { ok: false, error: "not_in_channel" };
    const refusal = checkMessage(args, 40_000, (id) => this.uploads.canShow(id)) ?? metadataRefusal(args["metadata"]);
    if (refusal) return refusal;
    const thread = asText(args["thread_ts"]);
    if (thread && !this.#find(channel.id, thread)) return { ok: false, error: "thread_not_found" };
    const message = this.#store(channel.id, args, thread);
    return { ok: true, channel: channel.id, ts: message.ts, message: shown(message, true) };
  }

  #update(args: Record<string, unknown>): SlackStandInAnswer {
    const channel = this.#channel(args["channel"], "id");
    if (!channel) return { ok: false, error: "channel_not_found" };
    if (channel.archived) return { ok: false, error: "is_archived" };
    const message = this.#find(channel.id, asText(args["ts"]));
    if (!message) return { ok: false, error: "message_not_found" };
    const refusal = checkMessage(args, 4_000, (id) => this.uploads.canShow(id));
    if (refusal) return refusal;
    message.edits.push({ text: message.text, blocks: message.blocks });
    message.text = asText(args["text"]) ?? message.text;
    message.blocks = parseBlocks(args["blocks"]) ?? [];
    message.pings.push(...findPings(message));
    return { ok: true, channel: channel.id, ts: message.ts, text: message.text };
  }

  /** Each upload counts once. Without a channel only the app has the file. */
  #completeUpload(args: Record<string, unknown>): SlackStandInAnswer {
    const given = parseBlocks(args["files"]);
    if (!given || given.length === 0) return { ok: false, error: "invalid_arguments" };
    if (!this.uploads.areBrought(given)) return { ok: false, error: "file_not_found" };
    const thread = asText(args["thread_ts"]);
    const channel = this.#channel(args["channel_id"], "id");
    if (args["channel_id"] !== undefined) {
      if (!channel) return { ok: false, error: "channel_not_found" };
      if (channel.member === false) return { ok: false, error: "not_in_channel" };
      if (thread && !this.#find(channel.id, thread)) return { ok: false, error: "thread_not_found" };
    }
    const files = this.uploads.complete(given);
    if (channel) this.#store(channel.id, { text: asText(args["initial_comment"]) ?? "" }, thread).files.push(...files);
    return { ok: true, files: files.map(({ id, title }) => ({ id, title })) };
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

  /** Posting accepts an id or a name, everything else only the id. */
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
      bot_id: BOT_ID,
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
}

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

const shown = (
  { ts, thread_ts, text, blocks, metadata, files, bot_id }: SlackMessageStored,
  withMetadata: boolean,
) => ({
  type: "message",
  bot_id,
  ts,
  text,
  blocks,
  ...(thread_ts !== null && { thread_ts }),
  ...(files.length > 0 && {
    files: files.map(({ id, name, title, bytes }) => ({ id, name, title, size: bytes.length })),
  }),
  ...(withMetadata && metadata && { metadata }),
});
