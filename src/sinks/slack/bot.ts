/**
 * Delivers with a bot token: posts, edits, replies in the thread, shows the decisive screenshot, adds the other
 * pictures and files to the thread, and finds what an earlier attempt may have left.
 *
 * Slack has no idempotency key. Instead every message carries the delivery's id in its metadata, and an attempt that
 * may repeat another first searches the channel's history for it: a message it finds is adopted, not posted again.
 * {@link https://docs.slack.dev/messaging/message-metadata}
 */
import { isJsonObject, toNumber } from "../../platform/json.ts";
import { MINUTE_MS } from "../../platform/time.ts";
import type { DeliveryReceipt, Outcome } from "../../domain/run.ts";
import { buildContent, type Content } from "../content.ts";
import { captionOf } from "../attachments.ts";
import type { Job, Sink, SinkDeps } from "../sink.ts";
import { shareAttempts } from "./attempts.ts";
import { callerFor, type SlackAnswer, type ApiOptions, type SlackCall } from "./api.ts";
import { findChannelId, isChannelId, objects, pages } from "./channel.ts";
import { renderMessage, renderPlainMessage, renderReply, type SlackMessage } from "./blocks.ts";
import { findMeaning, toOutcome, type SlackFailure } from "./error-codes.ts";
import {
  choosePicture,
  metadataOfPicture,
  pictureIn,
  pictureInMetadata,
  REFUSED,
  sendWithPicture,
  shareRest,
  type Chosen,
  type Picture,
  type Showing,
} from "./pictures.ts";

export const METADATA_EVENT = "skyvern_relay_delivery";

/** Slack recommends at most 200 a page. {@link https://docs.slack.dev/apis/web-api/pagination} */
const PAGE = 200;
/** By how much Slack's clock and the relay's may differ. */
const CLOCK_SKEW_MS = 5 * MINUTE_MS;
/** A permalink is optional and must not delay the receipt. */
const PERMALINK_TIMEOUT_MS = 5_000;

export interface BotOptions extends Omit<ApiOptions, "fetch"> {
  name: string;
  /** Id or name. */
  channel: string;
}

/** The place of a message. */
interface PostPlace {
  channel: string;
  ts: string;
}

/** What the functions of one attempt share. */
interface BotAttempt {
  job: Job;
  call: SlackCall;
  bot: Bot;
  showing: Showing;
  failed: (failure: SlackFailure, method: string) => Outcome;
}

/** What a sink remembers between attempts. */
interface Bot {
  name: string;
  channel: string;
  /** The channel's id once it is known, because history takes no names. */
  channelId: string | null;
  /** The app's own identity at Slack, once known. */
  self: SlackSelf | null;
  /** True once the log has said that history cannot be read. */
  warned: boolean;
  files: Showing["files"];
  deps: SinkDeps;
}

export function botDelivery({ name, channel, token, apiUrl }: BotOptions, deps: SinkDeps): Pick<Sink, "deliver"> {
  const channelId = isChannelId(channel) ? channel : null;
  const bot: Bot = { name, channel, channelId, self: null, warned: false, files: { refused: null }, deps };
  return {
    async deliver(job, signal) {
      const callWith = (signal: AbortSignal): SlackCall => callerFor({ token, apiUrl, fetch: deps.fetch }, signal);
      const call = callWith(signal);
      const failed = (failure: SlackFailure, method: string) => toOutcome(failure, method, deps.now());
      const showing: Showing = { job, call, callWith, signal, sink: name, deps, files: bot.files };
      const attempt: BotAttempt = { job, call, bot, showing, failed };
      const edits = job.cause === "correction" || job.cause === "update";
      const previous = edits ? parsePlace(job.previous) : null;
      const outcome = previous ? await edit(attempt, previous) : await postOnce(attempt);
      // While the fate of the earlier attempt is unknown, every retry must search again.
      return outcome.kind === "retry" && job.maybeSent ? { ...outcome, unknown: true } : outcome;
    },
  };
}

async function postOnce(attempt: BotAttempt): Promise<Outcome> {
  const { job, call, bot, failed } = attempt;
  if (job.maybeSent) {
    const found = await findPosted(attempt);
    if (found.kind === "failure") return failed(found.failure, found.method);
    if (found.kind === "found") return finishThread(attempt, found.place, found);
  }
  const chosen = await choosePicture(attempt.showing, null);
  const { answer: sent, picture } = await sendShown(attempt, chosen, (message, picture) =>
    call("chat.postMessage", { channel: bot.channel, ...POST, ...message, metadata: buildMetadata(job, picture) }),
  );
  if (!sent.ok) return failed(sent.failure, "chat.postMessage");
  const place = parsePlace(sent.data);
  if (!place) return failed({ kind: "garbled" }, "chat.postMessage");
  bot.channelId ??= place.channel;
  return finishThread(attempt, place, { picture });
}

/**
 * Edits the earlier message, and replies in its thread when the outcome changed. Repeating an edit changes nothing;
 * repeating a reply would.
 */
async function edit(attempt: BotAttempt, original: PostPlace): Promise<Outcome> {
  const { job, call, failed } = attempt;
  const chosen = await choosePicture(attempt.showing, pictureIn(job.previous));
  const { answer: edited, picture: shown } = await sendShown(attempt, chosen, (message) =>
    call("chat.update", { ...original, ...EDIT, ...message }),
  );
  const picture = edited.ok ? shown : pictureIn(job.previous);
  if (!edited.ok) {
    // Someone deleted the message: nothing false is left, but there is no place to edit either.
    if (isRefusal(edited.failure, ["message_not_found"])) return postOnce(attempt);
    if (!isRefusal(edited.failure, UNEDITABLE)) return failed(edited.failure, "chat.update");
  }
  if (job.cause === "update") return finishThread(attempt, original, { picture });
  if (job.maybeSent) {
    const found = await find(attempt, "conversations.replies", { ...original });
    if (found.kind === "failure") return failed(found.failure, found.method);
    if (found.kind === "found") {
      return finishThread(attempt, original, { picture, reply: found.place.ts, revision: found.revision });
    }
  }
  const content = buildContent(job.report, job.cause);
  const replied = await sendOrPlain([renderReply(content, edited.ok), renderPlainMessage(content)], (message) =>
    call("chat.postMessage", {
      channel: original.channel,
      thread_ts: original.ts,
      ...POST,
      ...message,
      metadata: buildMetadata(job, null),
    }),
  );
  if (!replied.ok) return failed(replied.failure, "chat.postMessage");
  const reply = parsePlace(replied.data);
  if (!reply) return failed({ kind: "garbled" }, "chat.postMessage");
  return finishThread(attempt, original, { picture, reply: reply.ts });
}

/** The message can stay as it is, because its thread shows the correction. */
const UNEDITABLE = ["edit_window_closed", "cant_update_message"];

const POST = { parse: "none", link_names: false, mrkdwn: false, unfurl_links: false, unfurl_media: false };
const EDIT = { parse: "none", link_names: false };

const buildMetadata = ({ deliveryId, report }: Job, picture: Picture | null) => ({
  event_type: METADATA_EVENT,
  event_payload: {
    delivery_id: deliveryId,
    run_id: report.run_id.slice(0, 200),
    revision: report.revision,
    ...metadataOfPicture(picture),
  },
});

/** Sends the message with its picture, or without it where Slack refuses the picture. Returns what is shown now. */
async function sendShown(
  { job, showing }: BotAttempt,
  { picture, missing }: Chosen,
  send: (message: SlackMessage, picture: Picture | null) => Promise<SlackAnswer>,
): Promise<{ answer: SlackAnswer; picture: Picture | null }> {
  const content = buildContent(job.report, job.cause);
  if (picture) {
    const caption = job.evidence ? captionOf(job.evidence, picture.key) : "";
    const message = renderMessage(content, { file: picture.file, caption });
    const answer = await sendWithPicture(showing, () => send(message, picture));
    if (answer) return { answer, picture };
  }
  const why = picture ? REFUSED : missing;
  const noted: Content = why === null ? content : { ...content, notes: [...content.notes, why] };
  const answer = await sendOrPlain([renderMessage(noted), renderPlainMessage(noted)], (message) => send(message, null));
  return { answer, picture: null };
}

/** Sends the message. When Slack refuses its form, the plain one is sent at once, so that the result gets out. */
async function sendOrPlain(
  [message, plain]: [SlackMessage, SlackMessage],
  send: (message: SlackMessage) => Promise<SlackAnswer>,
): Promise<SlackAnswer> {
  const answer = await send(message);
  return !answer.ok && findMeaning(answer.failure)?.kind === "plain" ? send(plain) : answer;
}

/** `revision` is what an earlier attempt's message shows; a message sent just now shows the report's. */
interface ShownMessage {
  picture: Picture | null;
  reply?: string;
  revision?: number;
}

/** The message is at `place`; the rest of its thread and the receipt follow. */
async function finishThread(
  { job, call, showing }: BotAttempt,
  { channel, ts }: PostPlace,
  { picture, reply, revision }: ShownMessage,
): Promise<Outcome> {
  const place = { channel, ts };
  const known = parsePlace(job.previous)?.ts === place.ts ? job.previous?.["permalink"] : null;
  const permalink = typeof known === "string" ? known : await fetchPermalink(call, place);
  const shared = await shareRest(showing, place);
  const table = await shareAttempts(call, job, buildContent(job.report, job.cause), { thread: place, post: POST });
  const receipt: DeliveryReceipt = {
    ...place,
    permalink,
    ...(reply === undefined ? {} : { reply_ts: reply }),
    ...(table === null ? {} : { attempts_ts: table }),
    ...(picture ? { picture: { ...picture } } : {}),
    ...(shared.length > 0 ? { shared } : {}),
  };
  return { kind: "delivered", receipt, revision: revision ?? job.report.revision };
}

async function fetchPermalink(call: SlackCall, { channel, ts }: PostPlace): Promise<string | null> {
  const answer = await call("chat.getPermalink", { channel, message_ts: ts }, PERMALINK_TIMEOUT_MS);
  const link = answer.ok ? answer.data["permalink"] : null;
  return typeof link === "string" ? link : null;
}

type FoundPost =
  | { kind: "found"; place: PostPlace; revision: number; picture: Picture | null }
  | { kind: "nothing" }
  | { kind: "failure"; failure: SlackFailure; method: string };

async function findPosted(attempt: BotAttempt): Promise<FoundPost> {
  const { job, bot } = attempt;
  bot.channelId ??= await findChannelId(attempt.call, bot.channel);
  if (bot.channelId === null) {
    warnOnce(attempt, "channel_not_found", "give the channel's id, or grant channels:read and groups:read");
    return { kind: "nothing" };
  }
  const oldest = (Math.max(0, job.queuedAt - CLOCK_SKEW_MS) / 1000).toFixed(6);
  return find(attempt, "conversations.history", { channel: bot.channelId, oldest });
}

/** Recognizes the app's own messages: by `bot_id`, or by `user` when the token is a user's. */
type SlackSelf = { field: "bot_id" | "user"; id: string };

/** Asked once a sink. {@link https://docs.slack.dev/reference/methods/auth.test} */
async function identify({ call, bot }: BotAttempt): Promise<SlackSelf | SlackFailure> {
  if (bot.self !== null) return bot.self;
  const answer = await call("auth.test", {});
  if (!answer.ok) return answer.failure;
  const { bot_id: botId, user_id: userId } = answer.data;
  if (typeof botId === "string") return (bot.self = { field: "bot_id", id: botId });
  if (typeof userId === "string") return (bot.self = { field: "user", id: userId });
  return { kind: "garbled" };
}

/**
 * Looks for this delivery's id through the pages of a history, in messages of its own alone: any app may write
 * metadata that says it is the relay's. What may not be read counts as nothing, and is logged once.
 */
async function find(
  attempt: BotAttempt,
  method: "conversations.history" | "conversations.replies",
  where: { channel: string } & Record<string, string>,
): Promise<FoundPost> {
  const self = await identify(attempt);
  if ("kind" in self) return { kind: "failure", failure: self, method: "auth.test" };
  for await (const answer of pages(attempt.call, method, { ...where, limit: PAGE, include_all_metadata: true })) {
    if (!answer.ok) {
      if (!isRefusal(answer.failure, UNREADABLE)) return { kind: "failure", failure: answer.failure, method };
      warnOnce(
        attempt,
        failureCode(answer.failure),
        "grant channels:history, for private channels groups:history, and invite the app",
      );
      return { kind: "nothing" };
    }
    const found = messageOfDelivery(answer.data["messages"], attempt.job.deliveryId, self);
    if (found) return { ...found, kind: "found", place: { channel: where.channel, ts: found.ts } };
  }
  return { kind: "nothing" };
}

/** Codes that refuse a history and say nothing about posting. */
const UNREADABLE = [
  "missing_scope",
  "not_in_channel",
  "channel_not_found",
  "access_denied",
  "no_permission",
  "not_allowed_token_type",
  "method_not_supported_for_channel_type",
  "thread_not_found",
  "unknown_method",
];

/** Logged once for each sink: without history, a message whose answer was lost is posted again. */
function warnOnce({ bot }: BotAttempt, error: string, grant: string): void {
  if (bot.warned) return;
  bot.warned = true;
  bot.deps.log.warn("slack.history_unreadable", { sink: bot.name, error, grant });
}

/** A message without a revision of its own shows the first. */
function messageOfDelivery(messages: unknown, deliveryId: string, self: SlackSelf) {
  for (const { ts, metadata, [self.field]: author } of objects(messages)) {
    if (author !== self.id) continue;
    if (!isJsonObject(metadata) || metadata["event_type"] !== METADATA_EVENT) continue;
    const payload = metadata["event_payload"];
    if (!isJsonObject(payload) || payload["delivery_id"] !== deliveryId || typeof ts !== "string") continue;
    return { ts, revision: toNumber(payload["revision"]) ?? 1, picture: pictureInMetadata(payload) };
  }
  return null;
}

function parsePlace(value: Record<string, unknown> | null): PostPlace | null {
  const { channel, ts } = value ?? {};
  return typeof channel === "string" && typeof ts === "string" ? { channel, ts } : null;
}

const isRefusal = (failure: SlackFailure, codes: string[]): boolean => codes.includes(failureCode(failure));
const failureCode = (failure: SlackFailure): string => (failure.kind === "refused" ? failure.code : failure.kind);
