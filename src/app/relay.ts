import { Hono } from "hono";
import { compareConfigs } from "../config/changes.ts";
import type { Config } from "../config/config.ts";
import { addressOf, listen, type Listening } from "../http/listen.ts";
import { refuseOtherMethods } from "../http/method-not-allowed.ts";
import { mountMetrics } from "../http/probes.ts";
import type { Log } from "../platform/log.ts";
import { announce, collectProcess, createMetrics, watch, type Metrics } from "../telemetry/metrics.ts";
import { idMaker, type Runtime } from "../platform/runtime.ts";
import { joinFleet, type Fleet } from "../store/postgres/fleet.ts";
import { createApp, type App } from "./app.ts";
import type { AppHost } from "./host.ts";
import { createOutboundClients } from "./outside.ts";
import { readPageAssets } from "./page-assets.ts";
import { createReadApart } from "../receive/read-apart.ts";
import { isInMemory } from "../store/address.ts";
import { watchIntegrity, type IntegrityWatch } from "../store/sqlite/integrity.ts";
import { findOthersWritable } from "./trusted-file.ts";
import { openStorage, type RelayStorage } from "./storage.ts";

export interface Ports {
  port: number;
  metricsPort: number | null;
}

export interface Reloaded {
  /** Names of the changed parts that are in force now. */
  changed: string[];
  /** Names of the changed parts that need a restart. */
  fixed: string[];
}

/** Attempts are aborted after 20 s. What has not ended by this time never will. */
const HANDOVER_MS = 60_000;
/** How long requests that the replaced app had begun get to end. */
const RETIRE_MS = 60_000;
/** A delivery loop that is silent for this long ends the process. */
const SILENT_FATAL_MS = 300_000;
const WATCH_MS = 10_000;

/**
 * Opens the database and creates or migrates it, without starting anything. Rejects when it is in use or cannot be
 * opened.
 */
export async function createRelay(config: Config, machine: Runtime, log: Log): Promise<Relay> {
  const ending = new AbortController();
  const { database } = config;
  const integrity =
    database.kind === "sqlite" && !isInMemory(database)
      ? watchIntegrity({
          path: database.path,
          onDamage: (damage) => log.error("database.damaged", { damage }),
          signal: ending.signal,
        })
      : null;
  const storage = await openStorage(database, () => void integrity?.check());
  const exposed = database.kind === "sqlite" && !isInMemory(database) ? findOthersWritable(database.path) : null;
  if (exposed !== null) log.warn("database.exposed", { path: exposed, hint: EXPOSED_HINT });
  let fleet: Fleet | null = null;
  try {
    fleet = await openFleet(storage, machine, log);
    const runtime = fleet ? { ...machine, now: fleet.now, newId: idMaker(fleet.now) } : machine;
    return await Relay.open(config, { store: storage.store, fleet, runtime, log, integrity, ending });
  } catch (error) {
    await fleet?.leave();
    await storage.store.close();
    throw error;
  }
}

/**
 * Not a fault, as it is for settings: volumes of containers are often like that, and nobody else is in there.
 */
const EXPOSED_HINT = "other users can write there, and put another database in its place: chmod o-w it";

/** Joins the fleet, where the database can have several relays. */
async function openFleet(
  { shared: database }: RelayStorage,
  { newId, sleep }: Runtime,
  log: Log,
): Promise<Fleet | null> {
  if (!database?.session) return null;
  return joinFleet({ database, openSession: database.session, name: newId("relay"), sleep, log });
}

interface RelayDeps extends Pick<AppHost, "store" | "fleet" | "runtime" | "log"> {
  /** Of a SQLite file. */
  integrity: IntegrityWatch | null;
  /** Aborted when the relay stops. */
  ending: AbortController;
}

/** The app of one configuration, and how to close it with its connections. */
interface RunningApp {
  app: App;
  close(): Promise<void>;
}

/**
 * The relay as a process: from start to end one database, one set of metrics and the same listening sockets; an app for
 * each configuration. What `serve` starts is also what the demo, `doctor` and the tests start.
 *
 * States: opened → running (`start`) → stopping (`stop`: 503 for webhooks, attempts end) → stopped. While it runs a
 * configuration is taken up (`reload`) so:
 *
 * 1. Its app is built, and the database must take a write. What fails here is refused, and nothing has changed.
 * 2. The new app answers every request from then on; what it accepts waits in the outbox.
 * 3. The app before claims no more and lets its attempts end. Meanwhile the next configuration may be taken up: what
 *   was taken away from a configuration opens nothing from then on, however long a sink hangs.
 * 4. The new app delivers, unless another has taken its place: at no time do two. Requests that the app before had
 *   begun get a minute to end; then it is closed.
 */
export class Relay {
  /** Resolves with the reason when the relay cannot work any more and its host must restart it. */
  readonly failed: Promise<string>;
  readonly #deps: RelayDeps;
  readonly #metrics: Metrics = createMetrics();
  readonly #ending: AbortController;
  readonly #fail: (reason: string) => void;
  readonly #listening: Listening[] = [];
  readonly #readApart = createReadApart();
  readonly #retiring = new Set<Promise<void>>();
  #current!: RunningApp;
  /** The port, once it listens. */
  #port: number | null = null;
  /** The configurations that are being built and put in force, one after the other. */
  #switching: Promise<unknown> = Promise.resolve();
  /** The apps before that still let attempts end. */
  #handover: Promise<unknown> = Promise.resolve();
  #watching: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | null = null;

  private constructor(deps: RelayDeps) {
    this.#deps = deps;
    this.#ending = deps.ending;
    const { promise, resolve } = Promise.withResolvers<string>();
    this.failed = promise;
    this.#fail = resolve;
  }

  static async open(config: Config, deps: RelayDeps): Promise<Relay> {
    const relay = new Relay(deps);
    relay.#current = await relay.#build(config);
    collectProcess(relay.#metrics);
    announce(relay.#metrics, relay.app.gauges);
    watch(relay.#metrics, () => relay.app.gauges, deps.runtime.now);
    return relay;
  }

  /** The app in force. */
  get app(): App {
    return this.#current.app;
  }

  /** Listens and delivers. Resolves with the ports once it accepts webhooks; rejects, closed, when a port is taken. */
  async start(): Promise<Ports> {
    try {
      return await this.#start();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  async #start(): Promise<Ports> {
    const { log, fleet } = this.#deps;
    const { host, port, metricsPort, sinks } = this.app.config;
    const { reclaimed, orphaned } = await this.app.reclaimLeases();
    this.#port = await this.#listen({ fetch: (request, env) => this.app.fetch(request, env as object) }, host, port);
    const ports = {
      port: this.#port,
      metricsPort: metricsPort === null ? null : await this.#listen(this.#metricsApp(), host, metricsPort),
    };
    fleet?.onPeerChange(() => this.app.worker.nudge());
    this.app.start();
    this.#watching = setInterval(() => {
      if (this.app.worker.silentMs() > SILENT_FATAL_MS) this.#fail("the delivery loop has stalled");
    }, WATCH_MS);
    this.#watching.unref();
    void this.#deps.integrity?.check();
    const names = sinks.map(({ name }) => name);
    log.info("relay.started", {
      port: ports.port,
      metrics_port: ports.metricsPort,
      sinks: names,
      reclaimed,
      orphaned,
    });
    return ports;
  }

  /**
   * Takes up a configuration. Resolves when it is in force and delivers, at once when nothing differs; rejects when it
   * cannot be taken up, and the one before stays.
   */
  async reload(next: Config): Promise<Reloaded> {
    const switched = this.#switchTo(next, this.#switching);
    this.#switching = switched.catch(() => {});
    const { reloaded, going, coming } = await switched;
    if (going && coming) await this.#handOver(going, coming);
    return reloaded;
  }

  /**
   * Answers webhooks with 503 from now on, lets attempts end, and closes everything. Resolves within about 25 s.
   * Repeated calls share one stop.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    const { log, fleet, store } = this.#deps;
    log.info("relay.stopping");
    this.#ending.abort();
    clearInterval(this.#watching);
    await Promise.all([this.#switching, this.#handover, this.app.drain()]);
    // Drains the app that came into force meanwhile, if one did.
    await this.app.drain();
    await Promise.all(this.#listening.map((one) => one.close()));
    await Promise.all([...this.#retiring, this.#current.close()]);
    await fleet?.leave();
    await store.close();
    log.info("relay.stopped");
  }

  async #build(config: Config): Promise<RunningApp> {
    const { runtime } = this.#deps;
    const { close: closeOutside, ...outside } = createOutboundClients(config, runtime.now);
    const app = await createApp(config, {
      ...this.#deps,
      ...outside,
      metrics: this.#metrics,
      readApart: this.#readApart,
      assets: readPageAssets(),
      addressOf,
      publicUrl: () => (this.#port === null ? config.publicUrl : config.publicUrl.replace(/:0$/, `:${this.#port}`)),
      damage: () => this.#deps.integrity?.damage() ?? null,
      isStopping: () => this.#ending.signal.aborted,
      nudge: () => this.app.worker.nudge(),
      keys: () => this.#current.app.config.keys,
    });
    const close = async () => {
      await app.close();
      await closeOutside();
    };
    return { app, close };
  }

  /**
   * Builds the app of a configuration, and has it answer. `going`: the one before; null when there is nothing to take
   * up.
   */
  async #switchTo(next: Config, turn: Promise<unknown>) {
    await turn;
    const { runtime, store } = this.#deps;
    const { config, changed, fixed } = compareConfigs(this.app.config, next);
    if (this.#ending.signal.aborted || changed.length === 0)
      return { reloaded: { changed: [], fixed }, going: null, coming: null };
    const coming = await this.#build(config);
    try {
      await store.ping(runtime.now());
    } catch (error) {
      await coming.close();
      throw error;
    }
    const going = this.#current;
    this.#current = coming;
    announce(this.#metrics, coming.app.gauges);
    return { reloaded: { changed, fixed }, going, coming };
  }

  /** Resolves when the new app delivers, or when a newer one has replaced it. */
  async #handOver(going: RunningApp, coming: RunningApp): Promise<void> {
    const { log } = this.#deps;
    // Its streams end at once, without waiting for earlier apps.
    const ended = Promise.all([this.#handover, this.#drain(going.app)]);
    this.#handover = ended.catch(() => {});
    await ended;
    this.#retire(going);
    if (this.#ending.signal.aborted || this.#current !== coming) return;
    // Leases that cannot be reclaimed now become due when they run out.
    await coming.app
      .reclaimLeases()
      .catch((error: unknown) => log.error("config.reclaim_failed", { error: String(error) }));
    coming.app.start();
    log.info("config.applied", { sinks: coming.app.gauges.sinks });
  }

  /** Nothing may deliver before it resolves; if it never does, the process must be restarted. */
  async #drain(app: App): Promise<void> {
    const timer = setTimeout(() => this.#fail("attempts of the previous configuration do not end"), HANDOVER_MS);
    try {
      await app.drain();
    } catch (error) {
      this.#fail(`attempts of the previous configuration cannot be ended: ${String(error)}`);
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #retire({ close }: RunningApp): void {
    const { runtime, log } = this.#deps;
    const end = async () => {
      await runtime.sleep(RETIRE_MS, this.#ending.signal);
      // Requests that it had begun may have been routed to a sink that is gone.
      if (!this.#ending.signal.aborted) await this.app.deadLetterOrphans();
      await close();
    };
    const gone = end().catch((error: unknown) => log.error("config.close_failed", { error: String(error) }));
    this.#retiring.add(gone);
    void gone.then(() => this.#retiring.delete(gone));
  }

  async #listen(app: Pick<Hono, "fetch">, host: string, port: number): Promise<number> {
    const listening = await listen(app, { host, port });
    this.#listening.push(listening);
    return listening.port;
  }

  #metricsApp(): Hono {
    const app = new Hono();
    mountMetrics(app, this.#metrics);
    refuseOtherMethods(app);
    return app;
  }
}
