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
  /** True once the relay is shutting down. */
  isStopping(): boolean;
  log: Log;
}

/** Skyvern waits at most 30 s when told to (contract §2), and comes three times: soon is better. */
const RETRY_AFTER_SECONDS = "5";
const CHANNEL = /^[A-Za-z0-9_-]{1,64}$/;

/** The other end of a request's connection; throws when there is none. */
export type AddressOf = (c: Context) => string | undefined;

/**
 * `POST /webhook`, `/webhook/{channel}` and `/`. Answers are short JSON, because Skyvern stores and shows them, and never
 * 403, which Skyvern would try again.
 */
export function mountWebhook(app: Hono, webhook: AnswerWebhook, addressOf: AddressOf): void {
  const path = "/webhook/:channel?";
  const answer = async (c: Context, channel: string | null): Promise<Response> => {
    const { body, status, headers } = await webhook(requestOf(c, channel, addressOf));
    return c.body(body, status, { "content-type": "application/json", ...headers });
  };
  app.post(path, (c) => answer(c, c.req.param("channel") ?? null));
  app.post("/", (c) => answer(c, null));
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

/** One webhook as it comes, by whatever server. */
export interface WebhookRequest {
  channel: string | null;
  header(name: "x-skyvern-signature" | "x-skyvern-timestamp" | "content-length"): string | null;
  /** The other end of the connection; a proxy's, where there is one. */
  address(): string;
  /** Hands over the body piece by piece, until told to stop by false. Rejects when it breaks off. */
  read(take: (piece: Uint8Array) => boolean): Promise<void>;
}

/** What is answered; `body` is JSON. */
export interface WebhookAnswer {
  status: 200 | 202 | 400 | 401 | 413 | 422 | 429 | 503;
  body: string;
  headers?: Record<string, string>;
}

export type AnswerWebhook = (request: WebhookRequest) => Promise<WebhookAnswer>;

export function createWebhook(parts: WebhookParts): AnswerWebhook {
  const memory = createMemory(parts.inFlightLimit);
  return (request) => answer(request, parts, memory);
}

const json = (status: WebhookAnswer["status"], body: object, headers?: Record<string, string>): WebhookAnswer => ({
  status,
  body: JSON.stringify(body),
  ...(headers ? { headers } : {}),
});

async function answer(request: WebhookRequest, parts: WebhookParts, memory: Memory): Promise<WebhookAnswer> {
  const { channel } = request;
  if (parts.isStopping()) return unavailable("the relay is restarting");
  if (channel !== null && !CHANNEL.test(channel)) {
    return json(400, { error: "the channel in the URL must be 1 to 64 letters, digits, _ or -" });
  }
  const signature = request.header("x-skyvern-signature");
  // What cannot be genuine is refused before its body is read.
  const early = parts.receiver.precheck(signature);
  if (early !== null) return refuse(request, parts, early);
  const declared = Number(request.header("content-length") ?? 0);
  if (declared > parts.bodyLimit) return tooLarge(parts);
  const held = memory.begin();
  if (!held.fits(declared)) return overloaded(parts);
  try {
    const body = await readBody(request, parts.bodyLimit, held);
    if (body === "no_room") return overloaded(parts);
    if (body === "too_large") return tooLarge(parts);
    if (body === "broken") return json(400, { error: "the body could not be read to its end" });
    const sentAt = request.header("x-skyvern-timestamp");
    const received = await parts.receiver.receive({ bytes: body, signature, sentAt, channel });
    return respond(request, parts, received);
  } finally {
    held.giveBack();
  }
}

function respond(request: WebhookRequest, parts: WebhookParts, received: Received): WebhookAnswer {
  switch (received.kind) {
    case "refused":
      return refuse(request, parts, received.reason);
    case "totp":
      return json(422, { error: "this is a one-time-code request; totp_url must not point at the relay" });
    case "unavailable":
      return unavailable("the result could not be stored");
    case "accepted":
      if (received.runId === null) return json(202, { result: "kept" });
      return json(200, { run_id: received.runId, result: received.verdict });
  }
}

type Refusal = (Received & { kind: "refused" })["reason"];

const REFUSALS = {
  missing_signature: "x-skyvern-signature is missing",
  malformed_signature: "x-skyvern-signature must be 64 lowercase hex digits",
  wrong_signature: "x-skyvern-signature fits none of the configured keys",
} as const;

/** 401; an address that sends nothing else gets 429 and no more log lines. */
function refuse(request: WebhookRequest, { flood, log }: WebhookParts, reason: Refusal): WebhookAnswer {
  const address = request.address();
  if (flood.refused(address)) {
    const headers = { "retry-after": RETRY_AFTER_SECONDS, connection: "close" };
    return json(429, { error: "too many webhooks without a right signature from this address" }, headers);
  }
  log.warn("webhook.refused", { reason, address, channel: request.channel });
  return json(401, { error: REFUSALS[reason] });
}

/** The rest of the body is not read, so nothing more can come on this connection. */
const UNREAD = { connection: "close" };

const tooLarge = ({ bodyLimit }: WebhookParts): WebhookAnswer =>
  json(413, { error: `the body is over ${bodyLimit} bytes` }, UNREAD);

function overloaded({ log }: WebhookParts): WebhookAnswer {
  log.warn("webhook.overloaded");
  return unavailable("too many webhooks at one time");
}

const unavailable = (error: string): WebhookAnswer => json(503, { error }, { "retry-after": RETRY_AFTER_SECONDS });

/** A piece of a few bytes takes more room than these. */
const PIECE_BYTES = 256;

/** The whole body, chunked or not; reading stops as soon as it is known to be too large, or there is no room for it. */
async function readBody(
  request: WebhookRequest,
  limit: number,
  held: Held,
): Promise<Buffer | "too_large" | "no_room" | "broken"> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  let fault: "too_large" | "no_room" | null = null;
  try {
    await request.read((piece) => {
      size += piece.length;
      if (size > limit) fault = "too_large";
      else if (!held.take(piece.length + PIECE_BYTES)) fault = "no_room";
      else pieces.push(piece);
      return fault === null;
    });
  } catch {
    return "broken";
  }
  if (fault !== null) return fault;
  const [first] = pieces;
  return first && pieces.length === 1 ? bufferOf(first) : Buffer.concat(pieces, size);
}

const bufferOf = (piece: Uint8Array): Buffer =>
  Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.length);

// --- on Hono --------------------------------------------------------------------------------------------------------

const requestOf = (c: Context, channel: string | null, addressOf: AddressOf): WebhookRequest => ({
  channel,
  header: (name) => c.req.header(name) ?? null,
  address: () => {
    try {
      return addressOf(c) ?? "unknown";
    } catch {
      // Not behind a socket: the app was called as a function.
      return "none";
    }
  },
  read: async (take) => {
    if (c.req.raw.body === null) return;
    for await (const piece of c.req.raw.body as ReadableStream<Uint8Array>) if (!take(piece)) return;
  },
});
