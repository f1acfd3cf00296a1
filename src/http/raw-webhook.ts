import type { IncomingMessage, ServerResponse } from "node:http";
import type { Log } from "../log.ts";
import { answerProbe, PROBES, type OpsParts } from "./ops.ts";
import type { AnswerWebhook, WebhookRequest } from "./webhook.ts";

/** The plain addresses of the webhook; any other spelling is left to the router, and so it is with probes. */
const ADDRESS = /^\/(?:webhook(?:\/([A-Za-z0-9_-]{1,64}))?\/?)?(?:\?.*)?$/;

/** Likewise of the host; whether another is one at all, the router finds out. */
const HOST = /^[A-Za-z0-9._-]+(?::\d{1,5})?$/;

/** What is sent but not wanted is read and thrown away for so long, so that the answer is not lost to a reset connection. */
const DRAIN_MS = 500;

/** Answers a request, or returns false: it is for somebody else, and nothing was done about it. */
export type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => boolean;

/**
 * Takes webhooks and probes as Node hands them over. Request and Response objects of the web cost more than everything that is done
 * with a webhook before it is stored, and their code more than all the rest of a relay that nobody looks at.
 */
export function rawListener(webhook: AnswerWebhook, ops: OpsParts, log: Log): Listener {
  return (incoming, outgoing) => {
    const { method, url = "" } = incoming;
    if (!HOST.test(incoming.headers.host ?? "")) return false;
    const probe = method === "GET" && PROBES.find((path) => path === url);
    if (probe) {
      void answerProbe(probe, ops).then(({ status, body }) => write(outgoing, status, body));
      return true;
    }
    const address = method === "POST" && ADDRESS.exec(url);
    if (!address) return false;
    void answer(webhook, incoming, outgoing, address[1] ?? null, log);
    return true;
  };
}

/** In one piece: a header set for itself would be looked up and checked for itself. */
function write(outgoing: ServerResponse, status: number, body: string, headers?: Record<string, string>): void {
  outgoing.writeHead(status, {
    "content-type": "application/json",
    "content-length": Buffer.byteLength(body),
    ...headers,
  });
  outgoing.end(body);
}

async function answer(
  webhook: AnswerWebhook,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  channel: string | null,
  log: Log,
): Promise<void> {
  try {
    const { status, body, headers } = await webhook(requestOf(incoming, channel));
    if (!incoming.complete) outgoing.once("finish", () => drain(incoming));
    write(outgoing, status, body, headers);
  } catch (error) {
    log.error("request.crashed", { method: "POST", path: "/webhook", error: String((error as Error).stack ?? error) });
    if (outgoing.headersSent) return void outgoing.destroy();
    outgoing.writeHead(500, { "content-type": "application/json", connection: "close" });
    outgoing.end('{"error":"the relay met a bug; its log has the details"}');
  }
}

const requestOf = (incoming: IncomingMessage, channel: string | null): WebhookRequest => ({
  channel,
  header: (name) => {
    const value = incoming.headers[name];
    return Array.isArray(value) ? value.join(", ") : (value ?? null);
  },
  address: () => incoming.socket.remoteAddress ?? "unknown",
  read: (take) =>
    new Promise((resolve, reject) => {
      const onPiece = (piece: Buffer): void => {
        if (take(piece)) return;
        incoming.off("data", onPiece);
        incoming.resume();
        resolve();
      };
      incoming.on("data", onPiece);
      incoming.once("end", resolve);
      incoming.once("error", reject);
      incoming.once("close", () => reject(new Error("the connection was closed")));
    }),
});

function drain(incoming: IncomingMessage): void {
  if (incoming.readableEnded || incoming.destroyed) return;
  const timer = setTimeout(() => incoming.socket.destroySoon(), DRAIN_MS);
  incoming.once("close", () => clearTimeout(timer));
  incoming.resume();
}
