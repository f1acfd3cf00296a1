import type { Context, Hono } from "hono";
import type { Log } from "../log.ts";
import type { Received, Receiver } from "../receive/receive.ts";
import type { Flood } from "./flood.ts";

export interface WebhookParts {
  receiver: Receiver;
  /** Of one body, bytes. */
  bodyLimit: number;
  /** Of all bodies being read at one time, bytes. */
  inFlightLimit: number;
  flood: Flood;
  /** The other end of a request's connection; throws when there is none. */
  addressOf(c: Context): string | undefined;
  /** True once the relay is shutting down. */
  isStopping(): boolean;
  log: Log;
}

/** Skyvern waits at most 30 s when told to (contract §2), and comes three times: soon is better. */
const RETRY_AFTER_SECONDS = "5";
const CHANNEL = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * `POST /webhook`, `/webhook/{channel}` and `/`. Answers are short JSON, because Skyvern stores and shows them, and never
 * 403, which Skyvern would try again.
 */
export function mountWebhook(app: Hono, parts: WebhookParts): void {
  const memory = createMemory(parts.inFlightLimit);
  const path = "/webhook/:channel?";
  app.post(path, (c) => answer(c, parts, memory, c.req.param("channel") ?? null));
  app.post("/", (c) => answer(c, parts, memory, null));
  app.all(path, (c) => c.json({ error: "send the webhook by POST" }, 405, { allow: "POST" }));
}

/** Bytes that may be held by requests under way. Counted as they arrive: what a request declares, it may never send. */
interface Memory {
  begin(): Held;
}

/** What one request holds. */
interface Held {
  /** Whether a body of so many bytes in all would fit now. */
  fits(size: number): boolean;
  /** Takes more; false, and nothing is taken, when there is no room. */
  take(bytes: number): boolean;
  giveBack(): void;
}

/** Bodies up to so many bytes, as most are, may use all of the room; larger ones leave an eighth of it to them. */
const SMALL_BODY = 256 * 1024;
const FOR_LARGE = 7 / 8;

function createMemory(limit: number): Memory {
  let taken = 0;
  return {
    begin: () => {
      let own = 0;
      const fits = (size: number) => {
        const others = taken - own;
        // A single body always fits, however the limits are set.
        return others === 0 || others + size <= (size > SMALL_BODY ? limit * FOR_LARGE : limit);
      };
      return {
        fits,
        take: (bytes) => {
          if (!fits(own + bytes)) return false;
          own += bytes;
          taken += bytes;
          return true;
        },
        giveBack: () => {
          taken -= own;
          own = 0;
        },
      };
    },
  };
}

async function answer(c: Context, parts: WebhookParts, memory: Memory, channel: string | null): Promise<Response> {
  if (parts.isStopping()) return unavailable(c, "the relay is restarting");
  if (channel !== null && !CHANNEL.test(channel)) {
    return c.json({ error: "the channel in the URL must be 1 to 64 letters, digits, _ or -" }, 400);
  }
  const signature = c.req.header("x-skyvern-signature") ?? null;
  // What cannot be genuine is refused before its body is read.
  const early = parts.receiver.precheck(signature);
  if (early !== null) return refuse(c, parts, early, channel);
  const declared = Number(c.req.header("content-length") ?? 0);
  if (declared > parts.bodyLimit) return tooLarge(c, parts);
  const held = memory.begin();
  if (!held.fits(declared)) return overloaded(c, parts);
  try {
    const body = await readBody(c.req.raw, parts.bodyLimit, held);
    if (body === "no_room") return overloaded(c, parts);
    if (body === "too_large") return tooLarge(c, parts);
    if (body === "broken") return c.json({ error: "the body could not be read to its end" }, 400);
    const sentAt = c.req.header("x-skyvern-timestamp") ?? null;
    const received = await parts.receiver.receive({ bytes: body, signature, sentAt, channel });
    return respond(c, parts, received, channel);
  } finally {
    held.giveBack();
  }
}

function respond(c: Context, parts: WebhookParts, received: Received, channel: string | null): Response {
  switch (received.kind) {
    case "refused":
      return refuse(c, parts, received.reason, channel);
    case "totp":
      return c.json({ error: "this is a one-time-code request; totp_url must not point at the relay" }, 422);
    case "unavailable":
      return unavailable(c, "the result could not be stored");
    case "accepted":
      if (received.runId === null) return c.json({ result: "kept" }, 202);
      return c.json({ run_id: received.runId, result: received.verdict }, 200);
  }
}

type Refusal = (Received & { kind: "refused" })["reason"];

const REFUSALS = {
  missing_signature: "x-skyvern-signature is missing",
  malformed_signature: "x-skyvern-signature must be 64 lowercase hex digits",
  wrong_signature: "x-skyvern-signature fits none of the configured keys",
} as const;

/** 401; an address that sends nothing else gets 429 and no more log lines. */
function refuse(c: Context, parts: WebhookParts, reason: Refusal, channel: string | null): Response {
  const { flood, log } = parts;
  const address = addressOf(c, parts);
  if (flood.refused(address)) {
    const headers = { "retry-after": RETRY_AFTER_SECONDS, connection: "close" };
    return c.json({ error: "too many webhooks without a right signature from this address" }, 429, headers);
  }
  log.warn("webhook.refused", { reason, address, channel });
  return c.json({ error: REFUSALS[reason] }, 401);
}

/** The rest of the body is not read, so nothing more can come on this connection. */
const UNREAD = { connection: "close" };

const tooLarge = (c: Context, { bodyLimit }: WebhookParts): Response =>
  c.json({ error: `the body is over ${bodyLimit} bytes` }, 413, UNREAD);

function overloaded(c: Context, { log }: WebhookParts): Response {
  log.warn("webhook.overloaded");
  return unavailable(c, "too many webhooks at one time");
}

const unavailable = (c: Context, error: string): Response =>
  c.json({ error }, 503, { "retry-after": RETRY_AFTER_SECONDS });

/** The other end of the connection; a proxy's, where there is one. */
function addressOf(c: Context, parts: WebhookParts): string {
  try {
    return parts.addressOf(c) ?? "unknown";
  } catch {
    // Not behind a socket: the app was called as a function.
    return "none";
  }
}

/** A piece of a few bytes takes more room than these. */
const PIECE_BYTES = 256;

/** The whole body, chunked or not; reading stops as soon as it is known to be too large, or there is no room for it. */
async function readBody(
  request: Request,
  limit: number,
  held: Held,
): Promise<Buffer | "too_large" | "no_room" | "broken"> {
  if (request.body === null) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body as ReadableStream<Uint8Array>) {
      size += chunk.length;
      if (size > limit) return "too_large";
      if (!held.take(chunk.length + PIECE_BYTES)) return "no_room";
      chunks.push(chunk);
    }
  } catch {
    return "broken";
  }
  return Buffer.concat(chunks, size);
}
