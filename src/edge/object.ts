/** The relay as one Durable Object: the single writer on its own SQLite storage. */
import { DurableObject, type State, type Storage } from "cloudflare:workers";
import schema from "../../schema.sql";
import sqliteSchema from "../../schema.sqlite.sql";
import htmx from "../web/assets/htmx.js";
import icon from "../web/assets/icon.svg";
import script from "../web/assets/script.js";
import style from "../web/assets/style.css";
import { createApp, type App } from "../app/app.ts";
import type { PeriodicJob } from "../app/jobs.ts";
import { announce, createMetrics, watch } from "../telemetry/metrics.ts";
import { viaFetch } from "../net/http-client.ts";
import { DAY_MS } from "../platform/time.ts";
import type { Received } from "../receive/receive.ts";
import type { Incoming } from "../receive/verify.ts";
import { systemRuntime, type Fetch, type Runtime } from "../platform/runtime.ts";
import type { Database } from "../store/database.ts";
import { migrate } from "../store/schema/migrate.ts";
import { withClauses } from "../store/schema/clauses.ts";
import { createSqlStore } from "../store/sql-store.ts";
import { VERSION } from "../platform/version.ts";
import { durableDatabase } from "./durable-database.ts";
import { dropLoosePieces } from "./large-values.ts";
import { edgeFetch, edgePermit } from "./egress.ts";
import { createConsoleLog } from "./log.ts";
import { readSettings, type Bindings } from "./settings.ts";
import { createAlarmTurns, type Turns } from "./alarm.ts";

/**
 * The most bytes of bodies being read in one object. It has 128 MB in all, and reading a body takes up to seven times
 * its size.
 */
const IN_FLIGHT_BYTES = 12 * 1024 * 1024;

/** The schema of the store on this storage. */
export const SCHEMA = `${withClauses(schema)}\n${sqliteSchema}`;

/** The relay while its object is in memory. */
export interface Life {
  app: App;
  /**
   * One webhook. What it says is durable when the answer leaves the object: the platform holds every answer back until
   * then.
   */
  receive(incoming: Omit<Incoming, "bytes"> & { bytes: Uint8Array }): Promise<Received>;
  /** The alarm's work. */
  turn(): Promise<void>;
  /** Something may be due. */
  wake(): Promise<void>;
}

export class RelayObject extends DurableObject<Bindings> {
  readonly #life: Promise<Life>;

  constructor(ctx: State, env: Bindings) {
    super(ctx, env);
    this.#life = ctx.blockConcurrencyWhile(() => begin(ctx.storage, env, systemRuntime()));
  }

  /** Everything but webhooks. */
  async fetch(request: Request): Promise<Response> {
    return (await this.#life).app.fetch(request);
  }

  async receive(incoming: Parameters<Life["receive"]>[0]): Promise<Received> {
    return (await this.#life).receive(incoming);
  }

  async alarm(): Promise<void> {
    await (await this.#life).turn();
  }

  /** A second timer beside the alarm, should that ever be lost. */
  async wake(): Promise<void> {
    await (await this.#life).wake();
  }
}

/**
 * Opens the store, reclaims what an earlier life of the object left, and sets the alarm. Rejects on a wrong
 * configuration.
 */
export async function begin(storage: Storage, env: Bindings, runtime: Runtime): Promise<Life> {
  const { config, warnings, off } = readSettings(env);
  const log = createConsoleLog(config.logLevel);
  const database = durableDatabase(storage, SCHEMA);
  await migrate(database);
  let requests = 0;
  const counted =
    (guarded: Fetch): Fetch =>
    (url, init) => {
      requests += 1;
      return guarded(url, init);
    };
  const { allowPrivateNetworks: allow, trustedOrigins, heartbeat } = config;
  const fetch = counted(edgeFetch({ allow, trusted: trustedOrigins }));
  const operatorFetch = counted(edgeFetch({ allow, trusted: heartbeat ? [heartbeat.url.reveal()] : [] }));
  let turns: Turns | null = null;
  const metrics = createMetrics();
  const app: App = await createApp(config, {
    runtime,
    log,
    metrics,
    store: createSqlStore(database),
    fetch,
    request: viaFetch(fetch),
    permit: edgePermit({ allow, trusted: trustedOrigins }),
    operatorRequest: viaFetch(operatorFetch),
    archiving: null,
    diskSpace: null,
    readApart: null,
    assets: { htmx, script, style, icon },
    // One object: there are no others.
    fleet: null,
    addressOf: (c) => c.req.header("cf-connecting-ip") ?? "unknown",
    publicUrl: () => config.publicUrl,
    damage: () => null,
    isStopping: () => false,
    keys: () => config.keys,
    nudge: () => {
      app.worker.nudge();
      void turns?.wake();
    },
  });
  announce(metrics, app.gauges);
  watch(metrics, () => app.gauges, runtime.now);
  turns = createAlarmTurns({
    app,
    jobs: [...app.jobs.filter(({ name }) => name !== "upkeep"), dropPieces(storage)],
    ...createAlarm(storage, database),
    requests: () => requests,
    now: runtime.now,
    log,
  });
  const { wake, turn } = turns;
  const leases = await app.reclaimLeases();
  if ((await storage.getAlarm()) === null) await storage.setAlarm(runtime.now());
  for (const warning of warnings) log.warn("config.warning", { warning });
  for (const one of off) log.info("config.off", { ...one });
  log.info("relay.started", {
    sinks: config.sinks.map(({ name }) => name),
    reclaimed: leases.reclaimed,
    orphaned: leases.orphaned,
  });
  return {
    app,
    wake,
    turn: () => {
      requests = 0;
      return turn();
    },
    receive: receiveWithin(app, wake),
  };
}

/** Receives a webhook while the bytes in flight are few, and sets an alarm for what came of it. */
function receiveWithin(app: App, wake: () => Promise<void>): Life["receive"] {
  let inFlight = 0;
  return async (incoming) => {
    const bytes = Buffer.from(incoming.bytes);
    if (inFlight > 0 && inFlight + bytes.length > IN_FLIGHT_BYTES) return { kind: "unavailable" };
    inFlight += bytes.length;
    try {
      const received = await app.receiver.receive({ ...incoming, bytes });
      if ("verdict" in received && received.verdict !== "duplicate") await wake();
      return received;
    } finally {
      inFlight -= bytes.length;
    }
  };
}

/** Removes what large values left behind. */
const dropPieces = (storage: Storage): PeriodicJob => ({
  name: "pieces",
  everyMs: DAY_MS,
  exclusive: false,
  run: async () => dropLoosePieces(storage),
});

/** Keyed by version: after an upgrade every receipt is due, as the new release may recognize it. */
const roundKey = (job: string): string => `round:${VERSION} ${job}`;

const createAlarm = (storage: Storage, database: Database) => ({
  // Between transactions, so that none that fails can take it back.
  setAlarm: (at: () => number) => database.read(() => storage.setAlarm(at())),
  planned: async (job: string) => ((await storage.get(roundKey(job))) as number | undefined) ?? 0,
  plan: (job: string, at: number) => database.read(() => storage.put(roundKey(job), at)),
});
