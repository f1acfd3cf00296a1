/**
 * A relay whose configuration can change while it runs. Each configuration has an app of its own, on one database, one set of metrics
 * and the same listening sockets. A change goes so:
 *
 * 1. The new app is built, and the database must take a write. What fails here is refused, and nothing has changed.
 * 2. The old one claims no more deliveries and lets its attempts end. Webhooks go on to be taken, by the old configuration.
 * 3. The new one takes the requests and the outbox over. At no time do two of them deliver.
 * 4. Requests that the old one had begun get a minute to end; then it is closed.
 */
import type { Server } from "node:http";
import type { Hono } from "hono";
import { createApp, type App, type Host } from "./app.ts";
import { changeOf } from "./config/change.ts";
import type { Config } from "./config.ts";
import type { Log } from "./log.ts";
import { collectProcess, createMetrics } from "./metrics.ts";
import { closeServer, createServer, fleetOf, listenOn, outsideOf, runtimeOf } from "./node.ts";
import type { Runtime } from "./runtime.ts";
import { openStorage } from "./storage.ts";

export interface Relay {
  start(): Promise<{ port: number; metricsPort: number | null }>;
  /**
   * Takes up a configuration. Resolves when it is in force, at once when nothing differs; rejects when it cannot be, and the one before
   * stays. One at a time: others wait for their turn.
   */
  reload(next: Config): Promise<Reloaded>;
  /** The configuration in force. */
  config(): Config;
  failed: Promise<string>;
  stop(): Promise<void>;
}

export interface Reloaded {
  changed: string[];
  fixed: string[];
}

/** Beyond it something keeps attempts from ending that nothing can end: the process is not worth keeping. */
const HANDOVER_MS = 60_000;
const RETIRE_MS = 60_000;
const LATE_LOOK_MS = 1_000;

/** An app and the configuration it is of. */
interface Tenure {
  config: Config;
  app: App;
  /** However often it is called, once. */
  stop(): Promise<void>;
}

/** Opens the database. Rejects when it is in use or cannot be opened. */
export async function createRelay(first: Config, machine: Runtime, log: Log): Promise<Relay> {
  const storage = await openStorage(first.database);
  const fleet = await fleetOf(storage, machine, log);
  const runtime = runtimeOf(fleet, machine);
  const metrics = createMetrics();
  collectProcess(metrics);
  const sockets = createSockets(first.host);
  const ending = new AbortController();
  const retired = new Set<Promise<void>>();
  let fail = (_reason: string): void => {};
  const failed = new Promise<string>((resolve) => {
    fail = resolve;
  });

  const build = async (config: Config, isFirst: boolean): Promise<Tenure> => {
    const outside = outsideOf(config, runtime.now);
    const app = await createApp(config, {
      runtime,
      metrics,
      log: isFirst ? lastingLog(log, "relay.started") : lastingLog(log, "relay.continued"),
      store: { ...storage.store, close: async () => {} },
      fleet,
      ...outside.parts,
      listen: sockets.next(),
      close: async () => {
        if (ending.signal.aborted) await sockets.close();
        await outside.close();
      },
    });
    void app.failed.then((reason) => fail(reason));
    let stopped: Promise<void> | null = null;
    return { config, app, stop: () => (stopped ??= app.stop()) };
  };
  let current = await build(first, true).catch(async (error: unknown) => {
    await fleet?.leave();
    await storage.store.close();
    throw error;
  });
  let queue: Promise<unknown> = Promise.resolve();

  const retire = async (tenure: Tenure): Promise<void> => {
    // Webhooks that it had begun to read are taken into the outbox without a word to the new one.
    for (let waited = 0; waited < RETIRE_MS && !ending.signal.aborted; waited += LATE_LOOK_MS) {
      await runtime.sleep(LATE_LOOK_MS, ending.signal);
      current.app.nudge();
    }
    // …or for a sink that is no more.
    const names = current.config.sinks.map(({ name }) => name);
    const now = fleet ? [runtime.now()] : [];
    if (!ending.signal.aborted) await tenure.app.store.buryOrphans(names, GONE, ...now).catch(() => 0);
    await tenure.stop();
  };
  const retireLater = (tenure: Tenure): void => {
    const gone = retire(tenure).catch((error: unknown) => log.error("config.retire_failed", { error: String(error) }));
    retired.add(gone);
    void gone.then(() => retired.delete(gone));
  };
  /** Puts one in the place of the one in force, unless all is to end. */
  const succeed = async (coming: Tenure): Promise<void> => {
    const going = current;
    const settled = new AbortController();
    void runtime.sleep(HANDOVER_MS, settled.signal).then(() => {
      if (!settled.signal.aborted) fail("attempts under the configuration before do not end");
    });
    await going.app.quiesce();
    settled.abort();
    current = coming;
    retireLater(going);
    if (!ending.signal.aborted) await coming.app.start();
  };

  const takeUp = async (next: Config, turn: Promise<unknown>): Promise<Reloaded> => {
    await turn;
    const { config, changed, fixed } = changeOf(current.config, next);
    if (ending.signal.aborted || changed.length === 0) return { changed: [], fixed };
    const before = current.config;
    const coming = await build(config, false);
    // A database that cannot be written just now would leave the outbox to neither of them.
    await coming.app.store.ping(runtime.now()).catch(async (error: unknown) => {
      await coming.stop();
      throw error;
    });
    try {
      await succeed(coming);
    } catch (error) {
      // A folder that cannot be made, a disk that fails: what worked until now goes on.
      log.error("config.not_taken_up", { error: String(error) });
      await build(before, false)
        .then(succeed)
        .catch((reason: unknown) =>
          fail(`neither the new nor the old configuration can be started: ${String(reason)}`),
        );
      throw error;
    }
    return { changed, fixed };
  };

  return {
    failed,
    config: () => current.config,
    start: () => current.app.start(),
    reload: (next) => {
      const result = takeUp(next, queue);
      queue = result.catch(() => {});
      return result;
    },
    stop: async () => {
      log.info("relay.stopping");
      ending.abort();
      await Promise.all([queue, current.stop()]);
      // The one that came into force meanwhile, if one did.
      await current.stop();
      await Promise.all(retired);
      await fleet?.leave();
      await storage.store.close();
      log.info("relay.stopped");
    },
  };
}

const GONE = "its sink is not configured any more; name another to redeliver it";

/** An app begins and ends with its configuration, and says so in words that are the process's. */
const lastingLog = (log: Log, started: string): Log => ({
  ...log,
  info: (event, fields) => {
    if (event === "relay.stopping" || event === "relay.stopped") return;
    log.info(event === "relay.started" ? started : event, fields);
  },
});

interface Socket {
  app: Pick<Hono, "fetch">;
  port: number;
}

/** Listening sockets, which outlive the apps that answer on them. */
function createSockets(host: string) {
  const servers: Server[] = [];
  let closed: Promise<void> | null = null;
  /** In the order in which an app opens them. */
  const open: Socket[] = [];
  return {
    /** For one more app: how it listens, in the places of the app before. */
    next: (): Host["listen"] => {
      let place = 0;
      return async (app, port) => {
        const there = open[place++];
        if (there) {
          there.app = app;
          return there.port;
        }
        const socket: Socket = { app, port };
        const server = createServer({ fetch: (...request) => socket.app.fetch(...request) });
        servers.push(server);
        socket.port = await listenOn(server, host, port);
        open.push(socket);
        return socket.port;
      };
    },
    /** However often it is called, once. */
    close: () => (closed ??= Promise.all(servers.map(closeServer)).then(() => {})),
  };
}
