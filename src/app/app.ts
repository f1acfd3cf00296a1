/** The composition: the one place that knows every part and connects them. */
import { randomBytes } from "node:crypto";
import type { createCopies, createArchive } from "../archive/archive.ts";
import type { BlobStore } from "../archive/blob-store.ts";
import type { Config } from "../config/config.ts";
import { alertRound, type AlertDeps } from "../alerts/alerts.ts";
import { createAttempt } from "../deliver/attempt.ts";
import { WAITS_AFTER_CUT_MS } from "../deliver/backoff.ts";
import { createEvidence } from "../deliver/attachments.ts";
import { createHeartbeat } from "../alerts/heartbeat.ts";
import { AHEAD_PER_SLOT } from "../deliver/lane.ts";
import { createTestSend } from "../deliver/test-message.ts";
import { Worker } from "../deliver/worker.ts";
import { listEveryMs } from "../history/unknown-run.ts";
import { createLinks } from "../http/links.ts";
import { createReadiness } from "../http/probes.ts";
import { createHttp } from "../http/server.ts";
import { TokenGate, type AddressOf } from "../http/auth.ts";
import { REFUSALS_ALLOWED } from "../http/webhook.ts";
import type { DiskSpace } from "../platform/disk-space.ts";
import { silentLog, type Log } from "../platform/log.ts";
import type { Gauges, Metrics } from "../telemetry/metrics.ts";
import { createOtlp } from "../telemetry/otlp.ts";
import type { HttpClient, Outbound, Permit } from "../net/http-client.ts";
import { createRateLimit } from "../platform/rate-limit.ts";
import { createAddresses } from "../receive/own-addresses.ts";
import { createConfirm } from "../reconcile/confirm.ts";
import { ARTIFACTS_DELAY_MS, lacksRelations } from "../domain/follow-up-plan.ts";
import { followUpDue } from "../reconcile/follow-up.ts";
import { fillHistory, type CompleteHistoryDeps } from "../reconcile/history.ts";
import { createDetailsReader, type ReadDetails } from "../reconcile/details.ts";
import { createIngest } from "../reconcile/ingest.ts";
import { createIntake, type ReadApart } from "../receive/intake.ts";
import { createReceiver, type Receiver } from "../receive/receive.ts";
import { measureCoverage, createReconciler, findGap, GRACE_MS, WHOLE_EVERY_MS } from "../reconcile/reconcile.ts";
import { rereadUnrecognized } from "../receive/reread.ts";
import { prune } from "./retention.ts";
import type { ArtifactsStatus } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import { findKind } from "../sinks/kinds.ts";
import { createSkyvernClient } from "../skyvern/client.ts";
import { createRedact } from "../skyvern/redact.ts";
import { createEnricher } from "../skyvern/artifacts/artifact-list.ts";
import { LinkedMedia } from "../skyvern/artifacts/media.ts";
import { createRequestBudget, withinBudget } from "../skyvern/request-budget.ts";
import { MINUTE_MS } from "../platform/time.ts";
import type { Fleet } from "../store/postgres/fleet.ts";
import type { Store } from "../store/store.ts";
import { createDiskWatch } from "./disk-watch.ts";
import { upkeep } from "./upkeep.ts";
import { createEndedSessions } from "../web/login/ended-sessions.ts";
import { LoginLinks } from "../web/login/links.ts";
import { createSessionCheck } from "../web/login/session.ts";
import type { AssetTexts } from "../web/assets/assets.ts";
import { mountWeb } from "../web/web.ts";
import { planJobs, type DueTimes, type PeriodicJob, type Rounds } from "./jobs.ts";
import { Lifecycle } from "./lifecycle.ts";

/** What the host gives to an app. Its outgoing requests are guarded. */
export interface AppHost extends Outbound {
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
  store: Store;
  /**
   * The other relays on the same database; null where there can be none. In a fleet the runtime uses the database's
   * clock.
   */
  fleet: Fleet | null;
  /**
   * Also reaches private addresses that the operator named: heartbeat and collector. Nothing from a payload may choose
   * its target.
   */
  operatorRequest: HttpClient;
  /** Whether `fetch` would go to an address that a reader is about to be sent to. */
  permit: Permit;
  /** How and where artifacts are archived; null when they are not. */
  archiving: { blobs: BlobStore; copiesOf: typeof createCopies; createArchive: typeof createArchive } | null;
  /** The disk of the database; null when the database has none of its own. */
  diskSpace: (() => Promise<DiskSpace>) | null;
  /** Reads large bodies in a thread of their own; null where there are no threads. */
  readApart: ReadApart | null;
  /** The files that pages load. */
  assets: AssetTexts;
  addressOf: AddressOf;
  /**
   * The base of links in messages, without a trailing slash. It is a function, because a port may be chosen only at the
   * start.
   */
  publicUrl(): string;
  /** What is wrong with the database's file, or null; the relay is not ready then. */
  damage(): string | null;
  /** True once the relay is shutting down: webhooks are answered 503. */
  isStopping(): boolean;
  /** Wakes the worker after deliveries were queued. */
  nudge(): void;
  /**
   * The keys that verify webhooks now: of the configuration in force, also for bodies that an app before began to read.
   */
  keys(): Config["keys"];
}

/**
 * A relay with one configuration. It closes what it opened itself; the store and outgoing connections belong to its
 * host.
 */
export interface App extends Rounds {
  readonly config: Config;
  /** Serves all addresses of the relay. */
  fetch(request: Request, env?: object): Response | Promise<Response>;
  readonly store: Store;
  readonly receiver: Receiver;
  readonly worker: Pick<Worker, "work" | "nudge" | "silentMs">;
  readonly jobs: readonly PeriodicJob[];
  readonly gauges: Gauges;
  /** Runs one round of a job by its name, as {@link App.start} does. */
  runJob(name: string): Promise<void>;
  /** An address that logs a person in, once, within a quarter of an hour; null while there is no token. */
  loginLink(): string | null;
  /** Attempts everything that is due now, then ends. For tests; not to be combined with `start`. */
  deliverDue(): Promise<void>;
  /**
   * Reclaims what an earlier process or configuration left in flight. To be called before `start`, while nothing else
   * delivers.
   */
  reclaimLeases(): Promise<{ reclaimed: number; orphaned: number }>;
  /** Marks deliveries to removed sinks as dead. Returns how many. */
  deadLetterOrphans(): Promise<number>;
  /** Starts delivering and the jobs' rounds. */
  start(): void;
  /** Lets attempts and rounds end within some 20 s and keeps answering requests; nothing is delivered from then on. */
  drain(): Promise<void>;
  /** To be called after `drain`, when no request is in flight any more. */
  close(): Promise<void>;
}

/**
 * The most bytes of bodies being read. Skyvern's are a few kB. Reading takes several times as much memory for a moment:
 * filled with bodies of 5 MB, the process grew by less than 320 MB, and a small machine has 512.
 */
const IN_FLIGHT_BYTES = 24 * 1024 * 1024;
/** A delivery loop that is silent for this long makes the relay not ready. */
const SILENT_NOT_READY_MS = 90_000;
const LEASE_MARGIN_MS = 60_000;
/** How long the last spans may take at the end, in case the collector hangs. */
const LAST_SPANS_MS = 2_000;

/** Builds the app of a configuration, without starting anything. */
export async function createApp(config: Config, host: AppHost): Promise<App> {
  const { runtime, log, store, fleet } = host;
  const ending = new AbortController();
  const otlp = createTracing(config, host);
  const skyvern = await connectSkyvern(config, host);
  const readDetails: ReadDetails = (state, signal) => receiving.readDetails(state, signal);
  const delivering = createDeliverySide(config, host, skyvern, { otlp, readDetails });
  const receiving = createReceiving(config, host, skyvern, { delivering, otlp });
  const { worker, lanes } = delivering;
  const isStalled = () => worker.silentMs() > SILENT_NOT_READY_MS;
  const unready = createReadiness({
    store,
    now: runtime.now,
    isStopping: host.isStopping,
    isStalled,
    damage: host.damage,
    log,
  });
  const rounds = createRounds(config, host, { skyvern, delivering, receiving, otlp, unready, signal: ending.signal });
  const jobs = planJobs(config, rounds, createDueTimes(host), fleet !== null);
  const last = async () => otlp?.flush(LAST_SPANS_MS);
  const lifecycle = new Lifecycle({ worker, jobs, fleet, ending, last, runtime, log });
  const loginLinks = new LoginLinks(runtime.now);
  const stopping = ending.signal;
  const pages = createPages(config, host, { skyvern, delivering, receiving, loginLinks, unready, stopping });
  return {
    ...rounds,
    config,
    fetch: pages.fetch,
    store,
    receiver: receiving.receiver,
    worker,
    jobs,
    gauges: {
      sinks: delivering.sinks.map(({ name }) => name),
      stored: () => loadStored(store),
      isReady: async () => (await unready()) === null,
      coverage: config.reconcile ? () => measureCoverage(receiving.reconciling) : null,
    },
    runJob: (name) => lifecycle.run(name),
    loginLink: () => (config.tokens.length === 0 ? null : `${host.publicUrl()}/login/${loginLinks.issue()}`),
    deliverDue: () => worker.runOnce(),
    reclaimLeases: async () => {
      await skyvern.archive?.prepare();
      // In a fleet the others may be alive; the running relay finds out which are not.
      const reclaimed = fleet ? 0 : await store.reclaimLeases(runtime.now(), WAITS_AFTER_CUT_MS);
      return { reclaimed, orphaned: await deadLetterOrphans(config, host) };
    },
    deadLetterOrphans: () => deadLetterOrphans(config, host),
    start: () => lifecycle.start(),
    drain: () => lifecycle.drain(),
    close: async () => {
      await Promise.all(lanes.map(async ({ sink }) => sink.close?.()));
    },
  };
}

type Otlp = ReturnType<typeof createOtlp>;

/** Null when no traces are collected. */
function createTracing({ tracing }: Config, { operatorRequest, metrics, log }: AppHost): Otlp | null {
  if (tracing === null) return null;
  const headers = Object.entries(tracing.headers).map(([name, value]) => [name, value.reveal()]);
  return createOtlp({
    ...tracing,
    headers: Object.fromEntries(headers) as Record<string, string>,
    request: operatorRequest,
    dropped: (count) => metrics.spansDropped.inc(count),
    log,
  });
}

type SkyvernSide = Awaited<ReturnType<typeof connectSkyvern>>;

/** The Skyvern side: reading its API, serving artifacts, and archiving them. */
async function connectSkyvern(config: Config, host: AppHost) {
  const { runtime, log, store, fetch, request, permit, archiving } = host;
  const linkKey = Buffer.from(await store.setting("link_key", randomBytes(32).toString("base64url")), "base64url");
  const { publicUrl } = host;
  const links = createLinks({ publicUrl, key: linkKey, lifeMs: config.linkLifeMs, now: runtime.now });
  const perHour = config.reconcile?.requestsPerHour ?? null;
  const budget = perHour === null ? null : createRequestBudget({ perHour, now: runtime.now });
  const client = createSkyvernClient({
    ...runtime,
    baseUrl: config.baseUrl,
    keys: config.keys,
    fetch,
    request: budget?.counted(request) ?? request,
  });
  // A relay that follows every run knows since when it does; earlier runs are history.
  const isFollowing = config.reconcile?.scope === "all";
  const newsSince = isFollowing ? Number(await store.setting("news_since", String(runtime.now()))) : null;
  const copies = archiving ? { copies: archiving.copiesOf({ ...archiving, store, log }) } : {};
  const media = new LinkedMedia({ client, fetch, permit, now: runtime.now, log, ...copies });
  const askAgainAt = (status: ArtifactsStatus) => (status === "complete" ? null : runtime.now() + ARTIFACTS_DELAY_MS);
  const enricher = createEnricher({
    ...runtime,
    client,
    log,
    budgetMs: config.delivery.artifactsWaitMs,
    load: (runId) => store.artifacts(runId),
    save: (runId, known) => store.saveArtifacts(runId, known, askAgainAt(known.status)),
    redact: createRedact(config.redactKeys),
  });
  const { enrich } = enricher;
  const archive =
    archiving && config.archive
      ? archiving.createArchive({ ...config.archive, ...archiving, store, media, enrich, now: runtime.now, log })
      : null;
  return { linkKey, links, client, budget, newsSince, media, enricher, askAgainAt, archive };
}

type DeliverySide = ReturnType<typeof createDeliverySide>;

/** The delivery side: the sinks, and the worker that serves them. */
function createDeliverySide(
  config: Config,
  { runtime, log, metrics, store, fleet, fetch, request }: AppHost,
  { links, media, enricher, askAgainAt }: SkyvernSide,
  { otlp, readDetails }: { otlp: Otlp | null; readDetails: ReadDetails },
) {
  const { timeoutMs, artifactsWaitMs, scheduleMs } = config.delivery;
  const sinkDeps = { fetch, request, now: runtime.now, sleep: runtime.sleep, log };
  const lanes = config.sinks.map(({ kind, name, config: own, concurrency }) => ({
    sink: findKind(kind).create(name, own, sinkDeps),
    concurrency,
  }));
  const showing = { media, settings: config.attachments, budgetMs: timeoutMs / 2 };
  const attempt = createAttempt({
    traced: otlp !== null,
    enrich: async ({ state, artifactsStatus, maybeSent }, signal) => {
      const { run } = state;
      const { reason: _reason, isNew, ...known } = await enricher.list(run, artifactsStatus, signal);
      // When Skyvern gave no list, it is not asked for more; and a message that may be out is not changed now.
      const later = known.status !== "complete" || maybeSent ? null : await readDetails(state, signal);
      const isLacking = later !== null && lacksRelations(later.run);
      const followUpAt = isLacking ? runtime.now() + ARTIFACTS_DELAY_MS : askAgainAt(known.status);
      const found = { runId: run.run_id, known, followUpAt };
      return { known, ...(isNew ? { found } : {}), ...(later ? { state: later } : {}) };
    },
    evidence: (run, artifacts) => createEvidence(showing, run, artifacts),
    links,
    timeoutMs,
    log,
  });
  const leaseMs = (artifactsWaitMs + timeoutMs) * (AHEAD_PER_SLOT + 1) + LEASE_MARGIN_MS;
  const trace = otlp?.take ?? null;
  const worker = new Worker({ trace, store, lanes, attempt, fleet, scheduleMs, leaseMs, runtime, log, metrics });
  const sendTest = createTestSend({ sinks: lanes.map(({ sink }) => sink), store, links, timeoutMs, runtime, log });
  const sinks = lanes.map(({ sink: { name, kind, updates = false, attempts = false } }) => ({
    name,
    kind,
    updates,
    attempts,
  }));
  return { lanes, sinks, worker, sendTest };
}

type Receiving = ReturnType<typeof createReceiving>;

/** The receiving side: webhooks, and the questions to Skyvern where none came. */
function createReceiving(
  config: Config,
  { runtime, log, metrics, store, nudge, publicUrl, readApart, keys: keysInForce }: AppHost,
  { client, budget, newsSince, enricher, archive }: SkyvernSide,
  { delivering: { sinks, sendTest }, otlp }: { delivering: DeliverySide; otlp: Otlp | null },
) {
  const { routes, redactKeys, keys, labels } = config;
  const organizations = keys.map(({ organization }) => organization);
  const intake = createIntake({
    routes,
    sinks,
    organizations,
    labels,
    redactKeys,
    archives: archive !== null,
    store,
    runtime,
    readApart,
    log,
  });
  const tryOut = (sink: string): void => {
    // A test is not worth a webhook that waits for it; what went wrong is in the log and among the deliveries.
    sendTest(sink, "skyvern").catch((error: unknown) => log.error("sink.test_failed", { sink, error: String(error) }));
  };
  const deps = { intake, keys: keysInForce, trace: otlp?.take ?? null, runtime, log, metrics, nudge, tryOut };
  const addresses = createAddresses(publicUrl);
  const ingest = createIngest(deps);
  const { scope = "mine", lookbackMs = 0 } = config.reconcile ?? {};
  const confirm = config.confirm ? createConfirm({ client, ingest, addresses, scope, now: runtime.now }) : null;
  const { everyMs = 0, hasWebhooks = true, historyMs = null } = config.reconcile ?? {};
  const unhurried = withinBudget(client, budget);
  const reconciling = {
    client: unhurried,
    store,
    ingest,
    addresses,
    scope,
    lookbackMs,
    graceMs: hasWebhooks ? GRACE_MS : 0,
    wholeEveryMs: everyMs < MINUTE_MS ? WHOLE_EVERY_MS : 0,
    newsSince,
    runtime,
    log,
    metrics,
  };
  // One log line for each past run would hide the start.
  const quiet = createIngest({ ...deps, log: silentLog }, { deliver: false });
  const history: CompleteHistoryDeps | null =
    historyMs === null || newsSince === null
      ? null
      : { client: unhurried, store, ingest: quiet, addresses, runtime, log, historyMs, newsSince };
  const organizationOf = (name: string | null) => keys.find((key) => key.name === name)?.organization ?? null;
  const quietIngest = createIngest(deps, { deliver: false });
  const budgetMs = config.delivery.artifactsWaitMs;
  return {
    receiver: createReceiver(deps, confirm),
    readDetails: createDetailsReader({ ...deps, client, ingest, quietIngest, addresses, store, budgetMs }),
    reconciling,
    reconciler: createReconciler(reconciling),
    history,
    followUps: { ...deps, store, client, ingest, addresses, organizationOf, refresh: enricher.refresh },
    rereading: { ...deps, store, organizationOf },
  };
}

interface RoundDeps {
  skyvern: SkyvernSide;
  delivering: DeliverySide;
  receiving: Receiving;
  otlp: Otlp | null;
  unready(): Promise<string | null>;
  signal: AbortSignal;
}

function createRounds(
  config: Config,
  host: AppHost,
  { skyvern: { archive }, delivering, receiving, otlp, unready, signal }: RoundDeps,
): Rounds {
  const { runtime, log, metrics, store, fleet, nudge } = host;
  const disk = host.diskSpace
    ? createDiskWatch({
        ...host,
        now: runtime.now,
        space: host.diskSpace,
        seen: (free) => metrics.diskFree.set({ disk: "database" }, free),
      })
    : null;
  const isGapTold = config.reconcile !== null && config.alerts.onCoverageGap.length > 0;
  const alerting: AlertDeps = {
    settings: config.alerts,
    sinks: delivering.lanes.map(({ sink }) => sink),
    store,
    gap: () => (isGapTold ? findGap(receiving.reconciling) : Promise.resolve([])),
    isDiskLow: () => disk?.isLow() ?? false,
    publicUrl: host.publicUrl,
    timeoutMs: config.delivery.timeoutMs,
    runtime,
    log,
    metrics,
  };
  const { heartbeat, retention: settings } = config;
  const beat = heartbeat
    ? createHeartbeat({
        url: heartbeat.url,
        request: host.operatorRequest,
        fault: unready,
        now: runtime.now,
        log,
        metrics,
      })
    : null;
  return {
    reread: async () => {
      const understood = await rereadUnrecognized(receiving.rereading);
      if (understood > 0) nudge();
      return understood;
    },
    followUp: () => followUpDue(receiving.followUps, signal),
    reconcile: () => receiving.reconciler.round(signal),
    fillHistory: async () => (receiving.history ? fillHistory(receiving.history, signal) : null),
    archive: async () => {
      const runs = (await archive?.round(signal)) ?? 0;
      await archive?.clear(signal);
      return runs;
    },
    watchDisk: disk?.look ?? null,
    upkeep: () => upkeep({ ...runtime, store }, signal),
    prune: async () => {
      const removed = await prune({ ...runtime, store, settings }, { signal });
      if (Object.values(removed).some((count) => count > 0)) log.info("retention.pruned", { ...removed });
      return removed;
    },
    alert: () => alertRound(alerting, signal),
    beat: async () => beat?.(signal),
    sendSpans: async () => otlp?.flush(),
    reclaimFromDeadPeers: async () => {
      const names = (await fleet?.deadPeers()) ?? [];
      if (names.length === 0) return;
      const reclaimed = await store.reclaimLeases(runtime.now(), WAITS_AFTER_CUT_MS, names);
      log.warn("fleet.leases_reclaimed", { from: names, deliveries: reclaimed });
      nudge();
    },
  };
}

const createDueTimes = ({ store, runtime: { now } }: AppHost): DueTimes => ({
  followUp: () => store.nextFollowUpAt(),
  archive: async () => {
    const at = now();
    const isDue = (await store.dueArchiving(at, 1)).length > 0 || (await store.discarded(at, 1)).length > 0;
    return isDue ? at : null;
  },
});

interface PageDeps {
  skyvern: SkyvernSide;
  delivering: DeliverySide;
  receiving: Receiving;
  loginLinks: LoginLinks;
  unready(): Promise<string | null>;
  /** Ends the streams when it aborts. */
  stopping: AbortSignal;
}

/** All addresses: webhook, probes, history API, pages. */
function createPages(
  config: Config,
  host: AppHost,
  {
    skyvern,
    delivering: { sinks, worker, sendTest },
    receiving: { receiver },
    loginLinks,
    unready,
    stopping,
  }: PageDeps,
) {
  const { runtime, log, metrics, store, nudge, addressOf, isStopping, assets } = host;
  const { links, media, enricher, linkKey } = skyvern;
  const gate = new TokenGate({ tokens: config.tokens, addressOf, now: runtime.now, log });
  const web = {
    gate,
    ended: createEndedSessions({ store, now: runtime.now }),
    assets,
    store,
    links,
    sinks,
    tokens: config.tokens,
    loginLinks,
    key: linkKey,
    publicUrl: config.publicUrl,
    webhookUrl: () => `${host.publicUrl()}/webhook`,
    listEveryMs: listEveryMs(config),
    media,
    runtime,
    log,
    nudge,
    circuit: (sink: string) => worker.circuit(sink),
    resume: (sink: string) => worker.resume(sink),
    refresh: enricher.refresh,
    sendTest,
    stopping,
  };
  const { bodyLimit } = config;
  const refusals = createRateLimit({ ...REFUSALS_ALLOWED, now: runtime.now });
  return createHttp({
    ...web,
    webhook: { receiver, addressOf, bodyLimit, inFlightLimit: IN_FLIGHT_BYTES, refusals, isStopping, log },
    history: web,
    artifacts: { ...web, isSession: createSessionCheck(web) },
    unready,
    metrics,
    pages: (app) => mountWeb(app, web),
  });
}

const GONE = "its sink is no longer configured; redeliver it to another sink";

const deadLetterOrphans = ({ sinks }: Config, { store, fleet, runtime: { now } }: AppHost): Promise<number> =>
  store.deadLetterOrphans(
    sinks.map(({ name }) => name),
    GONE,
    ...(fleet ? [now()] : []),
  );

async function loadStored(store: Store) {
  const [backlog, counts, circuits] = await Promise.all([store.backlog(), store.counts(), store.circuits()]);
  const dead = counts.deliveries.filter(({ state }) => state === "dead");
  return { backlog, dead, unrecognized: counts.unrecognized, circuits };
}
