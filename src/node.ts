/** The relay as a process of Node: SQLite in a file, a listener, undici's connections. */
import { createServer as createHttpServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import type { Hono } from "hono";
import { createApp, type App, type Host } from "./app.ts";
import { copiesOf, createArchive } from "./archive/archive.ts";
import { folderPlace } from "./archive/folder.ts";
import { s3Place } from "./archive/s3.ts";
import type { Config } from "./config.ts";
import { createEgress } from "./egress.ts";
import type { Log } from "./log.ts";
import { collectProcess, createMetrics } from "./metrics.ts";
import { idMaker, type Fetch, type Runtime } from "./runtime.ts";
import { openStorage, type Storage } from "./storage.ts";
import { joinFleet, type Fleet } from "./store/fleet.ts";

/** Opens the database (and creates or migrates it). Rejects when it is in use or cannot be opened. */
export async function createNodeApp(config: Config, machine: Runtime, log: Log): Promise<App> {
  const storage = await openStorage(config.database);
  const fleet = await fleetOf(storage, machine, log);
  const runtime = runtimeOf(fleet, machine);
  const outside = outsideOf(config, runtime.now);
  const metrics = createMetrics();
  collectProcess(metrics);
  const servers: Server[] = [];
  return createApp(config, {
    runtime,
    log,
    metrics,
    store: storage.store,
    fleet,
    ...outside.parts,
    listen: (app, port) => {
      const server = createServer(app);
      servers.push(server);
      return listenOn(server, config.host, port);
    },
    close: async () => {
      await Promise.all(servers.map(closeServer));
      await outside.close();
      await fleet?.leave();
    },
  });
}

/** What a configuration says of the world outside of the process; `close` ends its connections. */
export function outsideOf(config: Config, now: () => number) {
  const { fetch, request, operatorRequest, close } = egressOf(config);
  const parts = {
    fetch,
    request,
    operatorRequest,
    archiving: archivingOf(config, fetch, now),
    addressOf: (c) => (c.env as HttpBindings).incoming.socket.remoteAddress,
    busyShare: busyShareOf(),
  } satisfies Partial<Host>;
  return { parts, close };
}

/** The more of two: how busy this thread was, and how much of one core all threads had. */
function busyShareOf(): Host["busyShare"] {
  let before = { loop: performance.eventLoopUtilization(), cpu: process.cpuUsage(), at: performance.now() };
  return () => {
    const last = before;
    before = { loop: performance.eventLoopUtilization(), cpu: process.cpuUsage(), at: performance.now() };
    const { user, system } = process.cpuUsage(last.cpu);
    const cores = (user + system) / 1000 / Math.max(before.at - last.at, 1);
    return Math.min(1, Math.max(performance.eventLoopUtilization(before.loop, last.loop).utilization, cores));
  };
}

/** Of relays on one database, with its clock. */
export const runtimeOf = (fleet: Fleet | null, machine: Runtime): Runtime =>
  fleet ? { ...machine, now: fleet.now, newId: idMaker(fleet.now) } : machine;

/** The relay among others, where its database can have several. */
export async function fleetOf(
  { shared: database }: Storage,
  { newId, sleep }: Runtime,
  log: Log,
): Promise<Fleet | null> {
  if (!database?.session) return null;
  try {
    return await joinFleet({ database, connect: database.session, name: newId("relay"), sleep, log });
  } catch (error) {
    await database.close();
    throw error;
  }
}

/**
 * The ways out. What the operator alone chose to be told of the relay may stand anywhere; the other way, on which payloads and
 * redirects may say where it goes, does not reach it for that.
 */
function egressOf({ allowPrivateNetworks: allow, trustedOrigins, heartbeat, tracing }: Config) {
  const egress = createEgress({ allow, trusted: trustedOrigins });
  const named = createEgress({
    allow,
    trusted: [...(heartbeat ? [heartbeat.url.reveal()] : []), ...(tracing ? [tracing.url] : [])],
  });
  return {
    fetch: egress.fetch,
    request: egress.request,
    operatorRequest: named.request,
    close: async () => {
      await Promise.all([egress.close(), named.close()]);
    },
  };
}

/** Where the configuration has copies kept; null when it has none kept. */
function archivingOf({ archive }: Config, fetch: Fetch, now: () => number): Host["archiving"] {
  if (archive === null) return null;
  const { s3, dir } = archive;
  return { place: s3 ? s3Place({ settings: s3, fetch, now }) : folderPlace(dir), copiesOf, createArchive };
}

const NOT_HTTP = { error: "the request is not proper HTTP" };

/** Slow senders are cut off: headers within 15 s, everything within 30 s, after which Skyvern itself gives up. */
export function createServer(app: Pick<Hono, "fetch">): Server {
  const timeouts = {
    headersTimeout: 15_000,
    requestTimeout: 30_000,
    keepAliveTimeout: 65_000,
    connectionsCheckingInterval: 5_000,
  };
  // The listener refuses what Node's own check would, a missing Host, but with a body of ours.
  const refused = { status: 400, headers: { connection: "close" } };
  const answer = getRequestListener(app.fetch, { errorHandler: () => Response.json(NOT_HTTP, refused) });
  const server = createHttpServer({ ...timeouts, requireHostHeader: false }, (incoming, outgoing) => {
    // HTTP/1.0 need not name a host, and probes of load balancers do not.
    if (incoming.httpVersion === "1.0") incoming.headers.host ??= "localhost";
    void answer(incoming, outgoing);
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return socket.destroy();
    const timeout = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    const body = JSON.stringify(timeout ? { error: "the request took too long" } : NOT_HTTP);
    socket.end(
      `HTTP/1.1 ${timeout ? "408 Request Timeout" : "400 Bad Request"}\r\ncontent-type: application/json\r\n` +
        `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  });
  return server;
}

export const listenOn = (server: Server, host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });

/** Requests under way get 2 s to end. */
export const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), 2_000);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
