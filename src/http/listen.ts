/** Serves HTTP on a Node socket. */
import type { EventEmitter } from "node:events";
import { createServer as createHttpServer, maxHeaderSize, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";

/** The other end of a request's connection. `none`: the app was called as a function. */
export function addressOf(c: Context): string {
  const { incoming } = (c.env ?? {}) as Partial<HttpBindings>;
  return incoming === undefined ? "none" : (incoming.socket.remoteAddress ?? "unknown");
}

/** Slow senders are cut off: headers within 15 s, everything within 30 s, after which Skyvern itself gives up. */
export const TIMEOUTS = {
  headersTimeout: 15_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 65_000,
  connectionsCheckingInterval: 5_000,
};
const NOT_HTTP = { error: "the request is not valid HTTP" };
/** Of Node's own codes. */
const REFUSALS: Record<string, [status: string, body: { error: string }]> = {
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", { error: "the request took too long" }],
  HPE_HEADER_OVERFLOW: [
    "431 Request Header Fields Too Large",
    { error: `the request's address and headers are over ${maxHeaderSize} bytes` },
  ],
};
/** How long requests in flight get to end. */
const CLOSING_MS = 2_000;
/**
 * How long a sender that was answered before its request was complete gets to read the answer. Then its connection is
 * destroyed.
 */
const LINGER_MS = 1_000;

/** A server that is listening. */
export interface Listening {
  port: number;
  /** Accepts no more requests and gives those in flight a moment to end. */
  close(): Promise<void>;
}

/** Serves on a port (0 means a free one). Rejects when the port is taken. */
export async function listen(
  app: Pick<Hono, "fetch">,
  { host, port }: { host: string; port: number },
  timeouts = TIMEOUTS,
): Promise<Listening> {
  const server = createServer(app, timeouts);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  return { port: (server.address() as AddressInfo).port, close: () => closeServer(server) };
}

function createServer(app: Pick<Hono, "fetch">, timeouts: typeof TIMEOUTS): Server {
  // Node's own check would refuse a missing Host without a body; the listener answers with one.
  const refused = { status: 400, headers: { connection: "close" } };
  const answer = getRequestListener(app.fetch, { errorHandler: () => Response.json(NOT_HTTP, refused) });
  const server = createHttpServer({ ...timeouts, requireHostHeader: false }, (incoming, outgoing) => {
    // HTTP/1.0 needs no Host, and probes of load balancers send none.
    if (incoming.httpVersion === "1.0") incoming.headers.host ??= "localhost";
    outgoing.once("close", () => {
      if (!incoming.complete) destroyLater(incoming.socket, incoming);
    });
    void answer(incoming, outgoing);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return socket.destroy();
    const [status, answer] = REFUSALS[error.code ?? ""] ?? ["400 Bad Request", NOT_HTTP];
    const body = JSON.stringify(answer);
    socket.end(
      `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\n` +
        `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
    // Ending the own side is not enough, because the other side may never end.
    destroyLater(socket, socket);
  });
  return server;
}

/** Destroys a connection unless what it waits for ends first. */
function destroyLater(socket: Duplex, waitsFor: EventEmitter): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  waitsFor.once("close", () => clearTimeout(timer));
}

const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), CLOSING_MS);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
