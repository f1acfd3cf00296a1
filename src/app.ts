/** The composition root: the one file that knows every part. */
import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { Hono } from "hono";
import type { Config } from "./config.ts";
import { createAttempt } from "./deliver/attempt.ts";
import { createWorker } from "./deliver/worker.ts";
import { createEgress } from "./egress.ts";
import { createLinks } from "./http/links.ts";
import { mountMetrics } from "./http/ops.ts";
import { createHttp } from "./http/server.ts";
import type { Log } from "./log.ts";
import { createMetrics, watchBacklog } from "./metrics.ts";
import { createReceive, type ReceiveParts } from "./receive/receive.ts";
import { rereadKept } from "./receive/reread.ts";
import type { Runtime } from "./runtime.ts";
import * as kinds from "./sinks/kinds.ts";
import type { SinkKind } from "./sinks/sink.ts";
import { createSkyvernClient } from "./skyvern/client.ts";
import { createEnricher } from "./skyvern/enrich.ts";
import { createRedact } from "./skyvern/redact.ts";
import { openSqlite } from "./store/database.ts";
import { migrate } from "./store/migrate.ts";
import { createSqlStore } from "./store/sql.ts";
import type { Store } from "./store/store.ts";

export interface App {
  /** Every address of the relay, for tests and for {@link App.start}. */
  fetch(request: Request): Response | Promise<Response>;
  store: Store;
  /** Attempts all that is due now, and ends. For tests; not beside `start`. */
  deliverDue(): Promise<void>;
  /** Listens and delivers. Resolves with the ports when it accepts webhooks. */
  start(): Promise<{ port: number; metricsPort: number | null }>;
  /** Answers 503 from now on, lets attempts end, closes everything. Resolves within about 25 s. */
  stop(): Promise<void>;
}

/** What attempts get to end in after a stop, ms; hosts give 30 s in all. */
const DRAIN_MS = 20_000;
const LEASE_MARGIN_MS = 60_000;

/** Opens the database (and creates or migrates it). Rejects when it is in use or cannot be opened. */
export async function createApp(config: Config, runtime: Runtime, log: Log): Promise<App> {
  const database = openSqlite(config.database.path, { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  const metrics = createMetrics();
  const egress = createEgress({ allow: config.allowPrivateNetworks, trusted: config.trustedOrigins });
  const linkKey = await store.setting("link_key", randomBytes(32).toString("base64url"));
  let publicUrl = config.publicUrl;
  const links = createLinks({
    publicUrl: () => publicUrl,
    key: Buffer.from(linkKey, "base64url"),
    now: runtime.now,
  });
  const client = createSkyvernClient({ ...runtime, baseUrl: config.baseUrl, keys: config.keys, fetch: egress.fetch });
  const enricher = createEnricher({
    ...runtime,
    client,
    log,
    budgetMs: config.delivery.artifactsWaitMs,
    load: (runId) => store.artifacts(runId),
    save: (runId, artifacts, status) => store.saveArtifacts(runId, { artifacts, status }),
  });
  const lanes = config.sinks.map((settings) => ({
    sink: kindOf(settings.kind).create(settings.name, settings.config, {
      fetch: egress.fetch,
      now: runtime.now,
      log,
    }),
    concurrency: settings.concurrency,
  }));
  const worker = createWorker({
    store,
    lanes,
    attempt: createAttempt({ enrich: enricher.enrich, links, timeoutMs: config.delivery.timeoutMs, log }),
    scheduleMs: config.delivery.scheduleMs,
    leaseMs: config.delivery.artifactsWaitMs + config.delivery.timeoutMs + LEASE_MARGIN_MS,
    runtime,
    log,
    metrics,
  });
  const { nudge } = worker;
  const sinks = config.sinks.map(({ name, kind }) => ({ name, kind }));
  const receiving: ReceiveParts = {
    keys: config.keys,
    redact: createRedact(config.redactKeys),
    routes: config.routes,
    sinks,
    store,
    runtime,
    log,
    metrics,
    nudge,
  };
  let stopping = false;
  const isStopping = () => stopping;
  const http = createHttp({
    webhook: { receive: createReceive(receiving), bodyLimit: config.bodyLimit, isStopping },
    history: { store, links, sinks, runtime, nudge },
    artifacts: { store, client, links, now: runtime.now },
    ops: { store, metrics, now: runtime.now, isStopping, log },
    metrics,
    tokens: config.tokens,
    log,
  });
  watchBacklog(metrics, () => gaugesOf(store), runtime.now);
  const servers: Server[] = [];
  const listen = async (app: Pick<Hono, "fetch">, port: number): Promise<number> => {
    const server = createServer(app);
    servers.push(server);
    return listenOn(server, config.host, port);
  };

  return {
    fetch: (request) => http.fetch(request),
    store,
    deliverDue: worker.runOnce,
    start: async () => {
      const taken = await store.takeOver(runtime.now());
      const names = config.sinks.map(({ name }) => name);
      const buried = await store.buryOrphans(
        names,
        "its sink is not configured any more; name another to redeliver it",
      );
      const organizationOf = (name: string | null) =>
        config.keys.find((key) => key.name === name)?.organization ?? null;
      const adopted = await rereadKept({ ...receiving, store, organizationOf });
      const port = await listen(http, config.port);
      publicUrl = publicUrl.replace(/:0$/, `:${port}`);
      const metricsPort = config.metricsPort === null ? null : await listen(metricsApp(metrics), config.metricsPort);
      worker.start();
      log.info("relay.started", { port, metrics_port: metricsPort, sinks: names, taken_over: taken, buried, adopted });
      return { port, metricsPort };
    },
    stop: async () => {
      stopping = true;
      log.info("relay.stopping");
      await worker.stop(DRAIN_MS);
      await Promise.all(servers.map(closeServer));
      await Promise.all(lanes.map(async ({ sink }) => sink.close?.()));
      await egress.close();
      await store.close();
      log.info("relay.stopped");
    },
  };
}

function kindOf(name: string): SinkKind {
  const kind = Object.values(kinds).find((candidate) => candidate.kind === name);
  if (!kind) throw new Error(`there is no sink kind ${name}`);
  return kind;
}

async function gaugesOf(store: Store) {
  const [backlog, counts] = await Promise.all([store.backlog(), store.counts()]);
  const dead = counts.deliveries.filter(({ state }) => state === "dead");
  return { backlog, dead, kept: counts.kept };
}

function metricsApp(metrics: ReturnType<typeof createMetrics>): Hono {
  const app = new Hono();
  mountMetrics(app, metrics);
  return app;
}

/** Slow senders are cut off: headers within 15 s, everything within 60 s (Skyvern itself gives up after 30 s). */
function createServer(app: Pick<Hono, "fetch">): Server {
  const server = createAdaptorServer({
    fetch: app.fetch,
    serverOptions: { headersTimeout: 15_000, requestTimeout: 60_000, keepAliveTimeout: 65_000 },
  }) as Server;
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (!socket.writable || error.code === "ECONNRESET") return socket.destroy();
    const timeout = error.code === "ERR_HTTP_REQUEST_TIMEOUT";
    const body = JSON.stringify({ error: timeout ? "the request took too long" : "the request is not proper HTTP" });
    socket.end(
      `HTTP/1.1 ${timeout ? "408 Request Timeout" : "400 Bad Request"}\r\ncontent-type: application/json\r\n` +
        `content-length: ${body.length}\r\nconnection: close\r\n\r\n${body}`,
    );
  });
  return server;
}

const listenOn = (server: Server, host: string, port: number): Promise<number> =>
  new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });

/** Requests under way get 2 s to end. */
const closeServer = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), 2_000);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
