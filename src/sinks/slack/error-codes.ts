/** What Slack's answers mean for a delivery. */
import { WebAPIHTTPError, WebAPIPlatformError, WebAPIRateLimitedError, WebAPIRequestError } from "@slack/web-api";
import type { Outcome } from "../../domain/run.ts";
import { MAX_RETRY_AFTER_MS } from "../../net/retry-after.ts";
import { outcomeOfError, outcomeOfStatus } from "../http-outcome.ts";

/**
 * What an error code calls for. `retry`: Slack may accept it later, `unknown` where Slack documents that part of the
 * work may be done. `plain`: the blocks were refused, plain text may pass. `dead`: a person has to follow `advice`.
 */
type Meaning =
  | { kind: "retry"; unknown?: true; throttled?: true }
  | { kind: "plain" }
  | { kind: "dead"; advice: string };

const INVITE = "invite the app to the channel with /invite";
const TOKEN = "install the app again and give the relay its new bot token";
const ADMIN = "ask a workspace admin to let the app post there";

const dead = (advice: string) => ({ kind: "dead", advice }) as const;

/**
 * Slack's error codes. Any other code is dead under its own name, as no later try would change it. {@link
 * https://docs.slack.dev/reference/methods/chat.postMessage}, {@link
 * https://docs.slack.dev/reference/methods/chat.update}, {@link
 * https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks}
 */
export const MEANINGS = {
  ratelimited: { kind: "retry", throttled: true },
  rate_limited: { kind: "retry", throttled: true },
  message_limit_exceeded: { kind: "retry", throttled: true },
  request_timeout: { kind: "retry" },
  service_unavailable: { kind: "retry" },
  team_added_to_org: { kind: "retry" },
  external_channel_migrating: { kind: "retry" },
  fatal_error: { kind: "retry", unknown: true },
  internal_error: { kind: "retry", unknown: true },
  update_failed: { kind: "retry", unknown: true },
  rollup_error: { kind: "retry", unknown: true },

  invalid_blocks: { kind: "plain" },
  invalid_blocks_format: { kind: "plain" },
  invalid_attachments: { kind: "plain" },
  only_one_table_allowed: { kind: "plain" },
  msg_blocks_too_long: { kind: "plain" },
  msg_too_long: { kind: "plain" },
  invalid_payload: { kind: "plain" },

  channel_not_found: dead("check the channel's id, and invite the app if the channel is private"),
  channel_is_archived: dead("unarchive the channel or configure another"),
  is_archived: dead("unarchive the channel or configure another"),
  is_inactive: dead("the channel is frozen: configure another"),
  not_in_channel: dead(INVITE),
  user_not_found: dead("check the channel or user the message goes to"),
  not_authed: dead("no token arrived: set the bot token"),
  invalid_auth: dead(`the token is wrong, or its address rules exclude the relay: ${TOKEN}`),
  account_inactive: dead(`the app was removed from the workspace: ${TOKEN}`),
  token_revoked: dead(`the token was revoked: ${TOKEN}`),
  token_expired: dead(`the token has expired: ${TOKEN}`),
  not_allowed_token_type: dead("give the relay a bot token (xoxb-…)"),
  missing_scope: dead("grant the scope in the app's settings and install it again"),
  no_permission: dead("the token lacks a permission: grant the app chat:write and install it again"),
  access_denied: dead(ADMIN),
  accesslimited: dead(ADMIN),
  restricted_action: dead(ADMIN),
  restricted_action_read_only_channel: dead(ADMIN),
  restricted_action_thread_only_channel: dead(ADMIN),
  restricted_action_non_threadable_channel: dead(ADMIN),
  ekm_access_denied: dead("a workspace admin has suspended posting: ask them"),
  team_access_not_granted: dead(ADMIN),
  org_login_required: dead("the workspace is moving to another organization: install the app again"),
  messages_tab_disabled: dead("the app cannot be messaged: configure a channel"),
  action_prohibited: dead(ADMIN),
  invalid_token: dead("the webhook's address is wrong or was revoked: create a new one"),
  no_service: dead("the webhook was removed or disabled: create a new one"),
  no_service_id: dead("the webhook's address is incomplete: copy it again"),
  no_active_hooks: dead("the webhook is disabled: create a new one"),
  no_team: dead("the webhook's workspace is gone: create a new one"),
  team_disabled: dead("the webhook's workspace is disabled"),
  posting_to_general_channel_denied: dead(ADMIN),
} satisfies Record<string, Meaning>;

/** Why a call did not succeed. */
export type SlackFailure =
  /** Slack refused, with its own code. `picture`: it refused the file of an image block. */
  | { kind: "refused"; code: string; needed?: string; retryAfterMs?: number; picture?: true }
  | { kind: "limited"; retryAfterMs?: number }
  | { kind: "http"; status: number; headers: Pick<Headers, "get"> }
  /** An answer that is not Slack's. */
  | { kind: "garbled" }
  /** No whole answer. `sent`: the request certainly reached Slack. */
  | { kind: "unreachable"; error: unknown; sent: boolean }
  /** The attempt had ended before the call. */
  | { kind: "aborted" };

export const findMeaning = (failure: SlackFailure): Meaning | null =>
  failure.kind === "refused" && Object.hasOwn(MEANINGS, failure.code)
    ? MEANINGS[failure.code as keyof typeof MEANINGS]
    : null;

/**
 * The outcome of an attempt that met `failure` at `what` (a method's name, "the webhook"). `now` is epoch milliseconds.
 */
export function toOutcome(failure: SlackFailure, what: string, now: number): Outcome {
  const who = `Slack (${what})`;
  if (failure.kind === "refused") return refusalOutcome(failure, who);
  if (failure.kind === "limited") return slowDown(`${who} limits the rate of messages`, failure.retryAfterMs);
  if (failure.kind === "http") return statusOutcome(failure, who, now);
  if (failure.kind === "aborted") return retry(`${who} was not asked: the attempt ended before`, undefined, false);
  if (failure.kind === "garbled")
    return retry(`${who} was expected to answer with its JSON, something else came`, undefined, true);
  const outcome = outcomeOfError(failure.error, who);
  return failure.sent && outcome.kind === "retry" ? { ...outcome, unknown: true } : outcome;
}

/**
 * The failure behind an error of the Web API client. `status` is the HTTP status of the answer, null when none came.
 */
export function toFailure(error: unknown, status: number | null): SlackFailure {
  if (error instanceof WebAPIRateLimitedError) return { kind: "limited", ...retryAfterField(error.retryAfter) };
  if (error instanceof WebAPIPlatformError) {
    const { needed, response_metadata } = error.data as typeof error.data & { needed?: unknown };
    const refusal = toRefusal(error.data.error, needed, response_metadata?.retryAfter);
    if (refusal === null) return { kind: "garbled" };
    // `invalid slack file [json-pointer:/blocks/1/slack_file]`:
    // https://github.com/slackapi/python-slack-sdk/issues/1658
    const isAboutPicture = (response_metadata?.messages ?? []).some((message) => message.includes("/slack_file"));
    return isAboutPicture ? { ...refusal, picture: true } : refusal;
  }
  if (error instanceof WebAPIHTTPError) {
    const refusal = toRefusal((error.body as { error?: unknown } | null)?.error);
    if (refusal && isClientError(error.statusCode)) return refusal;
    return { kind: "http", status: error.statusCode, headers: new Headers(error.headers) };
  }
  // The client has no class for a 429 without a time.
  if (status === 429) return { kind: "limited" };
  return {
    kind: "unreachable",
    error: error instanceof WebAPIRequestError ? error.original : error,
    sent: status !== null,
  };
}

/** Statuses that come with Slack's own code. */
export const isClientError = (status: number): boolean => status >= 400 && status < 500;

/** Parses Slack's error code from an answer; null when there is none. `retryAfter` is in seconds. */
export function toRefusal(
  code: unknown,
  needed?: unknown,
  retryAfter?: number,
): (SlackFailure & { kind: "refused" }) | null {
  if (typeof code !== "string" || !/^[a-z][a-z0-9_]{0,79}$/i.test(code)) return null;
  return {
    kind: "refused",
    code,
    ...retryAfterField(retryAfter),
    ...(typeof needed === "string" && /^[\w:.,-]{1,200}$/.test(needed) && { needed }),
  };
}

/** Slack gives `Retry-After` in seconds. {@link https://docs.slack.dev/apis/web-api/rate-limits} */
const retryAfterField = (seconds: number | undefined): { retryAfterMs?: number } =>
  seconds === undefined ? {} : { retryAfterMs: Math.min(Math.max(seconds, 0) * 1000, MAX_RETRY_AFTER_MS) };

function refusalOutcome(failure: SlackFailure & { kind: "refused" }, who: string): Outcome {
  const meaning = findMeaning(failure);
  const said = `${who} answered ${failure.code}`;
  if (meaning?.kind === "retry" && meaning.throttled) return slowDown(said, failure.retryAfterMs);
  if (meaning?.kind === "retry") return retry(said, failure.retryAfterMs, meaning.unknown ?? false);
  const needed = failure.needed ? ` (needed: ${failure.needed})` : "";
  return {
    kind: "dead",
    reason: meaning?.kind === "dead" ? `${said}: ${meaning.advice}${needed}` : `${said}${needed}`,
  };
}

/** As for any HTTP sink, except that a message may have been posted although the server failed. */
function statusOutcome({ status, headers }: SlackFailure & { kind: "http" }, who: string, now: number): Outcome {
  const outcome = outcomeOfStatus(status, headers, who, now);
  if (outcome.kind === "delivered") return toOutcome({ kind: "garbled" }, who, now);
  if (outcome.kind === "dead") return { kind: "dead", reason: outcome.reason };
  return status >= 500 ? { ...outcome, unknown: true } : outcome;
}

const slowDown = (reason: string, retryAfterMs: number | undefined): Outcome => ({
  ...(retry(reason, retryAfterMs, false) as Outcome & { kind: "retry" }),
  throttled: true,
});

const retry = (reason: string, retryAfterMs: number | undefined, unknown: boolean): Outcome => ({
  kind: "retry",
  reason,
  ...(retryAfterMs !== undefined && { retryAfterMs }),
  ...(unknown && { unknown }),
});
