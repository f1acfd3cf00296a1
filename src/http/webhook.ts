import type { Context, Hono } from "hono";
import type { Receive, Received } from "../receive/receive.ts";

export interface WebhookParts {
  receive: Receive;
  /** Bytes. */
  bodyLimit: number;
  /** True once the relay is shutting down. */
  isStopping(): boolean;
}

/** Skyvern waits at most 30 s when told to (contract §2), and comes three times: soon is better. */
const RETRY_AFTER_SECONDS = "5";
const CHANNEL = /^[A-Za-z0-9_-]{1,64}$/;

/**
 * `POST /webhook`, `/webhook/{channel}` and `/`. Answers are short JSON, because Skyvern stores and shows them, and never
 * 403, which Skyvern would try again.
 */
export function mountWebhook(app: Hono, parts: WebhookParts): void {
  app.post("/webhook/:channel?", (c) => answer(c, parts, c.req.param("channel") ?? null));
  app.post("/", (c) => answer(c, parts, null));
  for (const path of ["/webhook/:channel?"]) {
    app.all(path, (c) => c.json({ error: "send the webhook by POST" }, 405, { allow: "POST" }));
  }
}

async function answer(c: Context, parts: WebhookParts, channel: string | null): Promise<Response> {
  if (parts.isStopping()) return unavailable(c, "the relay is restarting");
  if (channel !== null && !CHANNEL.test(channel)) {
    return c.json({ error: "the channel in the URL must be 1 to 64 letters, digits, _ or -" }, 400);
  }
  const body = await readBody(c.req.raw, parts.bodyLimit);
  if (body === "too_large") return c.json({ error: `the body is over ${parts.bodyLimit} bytes` }, 413);
  if (body === "broken") return c.json({ error: "the body could not be read to its end" }, 400);
  const received = await parts.receive({
    bytes: body,
    signature: c.req.header("x-skyvern-signature") ?? null,
    sentAt: c.req.header("x-skyvern-timestamp") ?? null,
    channel,
  });
  return respond(c, received);
}

function respond(c: Context, received: Received): Response {
  switch (received.kind) {
    case "refused":
      return c.json({ error: REFUSALS[received.reason] }, 401);
    case "totp":
      return c.json({ error: "this is a one-time-code request; totp_url must not point at the relay" }, 422);
    case "unavailable":
      return unavailable(c, "the result could not be stored");
    case "accepted":
      if (received.runId === null) return c.json({ result: "kept" }, 202);
      return c.json({ run_id: received.runId, result: received.verdict }, 200);
  }
}

const REFUSALS = {
  missing_signature: "x-skyvern-signature is missing",
  malformed_signature: "x-skyvern-signature must be 64 lowercase hex digits",
  wrong_signature: "x-skyvern-signature fits none of the configured keys",
} as const;

const unavailable = (c: Context, error: string): Response =>
  c.json({ error }, 503, { "retry-after": RETRY_AFTER_SECONDS });

/** The whole body, chunked or not; reading stops as soon as it is known to be too large. */
async function readBody(request: Request, limit: number): Promise<Buffer | "too_large" | "broken"> {
  if (Number(request.headers.get("content-length") ?? 0) > limit) return "too_large";
  if (request.body === null) return Buffer.alloc(0);
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of request.body as ReadableStream<Uint8Array>) {
      size += chunk.length;
      if (size > limit) return "too_large";
      chunks.push(chunk);
    }
  } catch {
    return "broken";
  }
  return Buffer.concat(chunks, size);
}
