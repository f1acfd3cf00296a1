import type { Context, Hono } from "hono";
import type { Log } from "../platform/log.ts";
import type { RateLimit } from "../platform/rate-limit.ts";
import type { Received, Receiver } from "../receive/receive.ts";
import type { SignatureFault } from "../receive/verify.ts";
import type { AddressOf } from "./auth.ts";
import { Bodies, type Unread } from "./bodies.ts";

export interface WebhookDeps {
  receiver: Receiver;
  addressOf: AddressOf;
  /** The most bytes of one body. */
  bodyLimit: number;
  /** The most bytes of all bodies being read. */
  inFlightLimit: number;
  /**
   * Counts refusals by address, limited by {@link REFUSALS_ALLOWED}. Webhooks that are accepted never count and are
   * never refused by it.
   */
  refusals: RateLimit;
  /** True once the relay is shutting down. */
  isStopping(): boolean;
  log: Log;
}

/** A wrong key causes hundreds of these in an hour, an attack thousands in a minute. */
export const REFUSALS_ALLOWED = { burst: 300, everyMs: 200 };

/** Skyvern waits at most 30 s when told to (contract §2), and tries three times, so a short wait is better. */
const RETRY_AFTER_SECONDS = "5";
const CHANNEL = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * `POST /webhook`, `/webhook/{channel}` and `/`. Answers are short JSON, because Skyvern stores and shows them, and
 * never 403, which Skyvern would retry.
 */
export function mountWebhook(app: Hono, deps: WebhookDeps): void {
  const path = "/webhook/:channel?";
  const bodies = new Bodies(deps.inFlightLimit);
  app.post(path, (c) => answer(c, c.req.param("channel") ?? null, deps, bodies));
  app.post("/", (c) => answer(c, null, deps, bodies));
}

async function answer(c: Context, channel: string | null, deps: WebhookDeps, bodies: Bodies): Promise<Response> {
  if (deps.isStopping()) return unavailable(c, "the relay is restarting");
  if (channel !== null && !CHANNEL.test(channel)) {
    return c.json({ error: "the channel in the URL must be 1 to 64 letters, digits, _ or -" }, 400);
  }
  const signature = c.req.header("x-skyvern-signature") ?? null;
  // A webhook that cannot be genuine is refused before its body is read.
  const checked = deps.receiver.precheck(signature);
  if (typeof checked === "string") return refuse(c, channel, deps, checked);
  const limit = Math.min(checked, deps.bodyLimit);
  const declared = Number(c.req.header("content-length") ?? 0);
  if (declared > limit) return tooLarge(c, channel, deps, limit);
  return bodies.read(c, limit, async (bytes) => {
    if (typeof bytes === "string") return refuseUnread(c, channel, deps, { why: bytes, limit });
    const sentAt = c.req.header("x-skyvern-timestamp") ?? null;
    const at = c.req.url.indexOf("?");
    const query = at === -1 ? null : c.req.url.slice(at);
    const incoming = { bytes, signature, sentAt, channel, query, from: deps.addressOf(c) };
    return respond(c, channel, deps, await deps.receiver.receive(incoming));
  });
}

function respond(c: Context, channel: string | null, deps: WebhookDeps, received: Received): Response {
  if ("verdict" in received) {
    const { runId, verdict } = received;
    if (runId === null) return c.json({ result: "unrecognized" }, 202);
    // The sender need not know of the dispute, as its webhook is on disk.
    return c.json({ run_id: runId, result: verdict === "disputed" ? "stored" : verdict });
  }
  switch (received.kind) {
    case "refused":
      return refuse(c, channel, deps, received.reason);
    case "too_large":
      return tooLarge(c, channel, deps, received.limit);
    case "totp":
      return c.json({ error: "this is a one-time-code request; totp_url must not point at the relay" }, 422);
    case "test":
      return c.json({ run_id: received.runId, result: "test", sinks: received.sinks });
    case "unavailable":
      return unavailable(c, "the result could not be stored");
  }
}

const REFUSALS = {
  missing_signature: "x-skyvern-signature is missing",
  malformed_signature: "x-skyvern-signature must be 64 lowercase hex digits",
  wrong_signature: "x-skyvern-signature fits none of the configured keys",
} as const;

/** Answers 401; an address that sends nothing else gets 429. */
function refuse(c: Context, channel: string | null, deps: WebhookDeps, reason: SignatureFault): Response {
  if (noteRefusal(c, channel, deps, reason)) return c.json({ error: REFUSALS[reason] }, 401);
  const headers = { "retry-after": RETRY_AFTER_SECONDS, connection: "close" };
  return c.json({ error: "too many webhooks with a wrong signature came from this address" }, 429, headers);
}

/** Counts and logs a refusal. False, and nothing is logged, for an address that sends too many. */
function noteRefusal(
  c: Context,
  channel: string | null,
  { refusals, log, addressOf }: WebhookDeps,
  reason: SignatureFault | "too_large",
): boolean {
  const address = addressOf(c);
  refusals.count(address);
  if (refusals.waitMs(address) > 0) return false;
  log.warn("webhook.refused", { reason, address, channel });
  return true;
}

/** The rest of the body stays unread, so the connection cannot be used again. */
const UNREAD = { connection: "close" };

function refuseUnread(
  c: Context,
  channel: string | null,
  deps: WebhookDeps,
  { why, limit }: { why: Unread; limit: number },
): Response {
  switch (why) {
    case "over_budget":
      return overloaded(c, deps);
    case "too_large":
      return tooLarge(c, channel, deps, limit);
    case "too_slow":
      return c.json({ error: "the body came too slowly" }, 408, UNREAD);
    case "broken":
      return c.json({ error: "the body could not be read to its end" }, 400, UNREAD);
  }
}

/** Skyvern takes 413 as final, so the log alone tells the operator why no result came. */
function tooLarge(c: Context, channel: string | null, deps: WebhookDeps, limit: number): Response {
  noteRefusal(c, channel, deps, "too_large");
  return c.json({ error: `the body is over ${limit} bytes` }, 413, UNREAD);
}

function overloaded(c: Context, { log, receiver }: WebhookDeps): Response {
  receiver.overloaded();
  log.warn("webhook.overloaded");
  return c.json({ error: "too many webhooks at one time" }, 503, { ...UNREAD, "retry-after": RETRY_AFTER_SECONDS });
}

const unavailable = (c: Context, error: string): Response =>
  c.json({ error }, 503, { "retry-after": RETRY_AFTER_SECONDS });
