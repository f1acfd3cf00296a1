/** The composition root: the one file that knows every part. */
import { randomBytes } from "node:crypto";
import { Hono } from "hono";
import type { copiesOf, createArchive } from "./archive/archive.ts";
import type { Place } from "./archive/place.ts";
import type { Config } from "./config.ts";
import { alertRound, type AlertParts } from "./deliver/alerts.ts";
import { createAttempt } from "./deliver/attempt.ts";
import { evidenceOf } from "./deliver/evidence.ts";
import { WAITS_AFTER_CUT_MS } from "./deliver/backoff.ts";
import { createHeartbeat } from "./deliver/heartbeat.ts";
import { AHEAD_PER_SLOT } from "./deliver/lane.ts";
import { createTestSend } from "./deliver/test-send.ts";
import { createWorker, type Worker } from "./deliver/worker.ts";
import { createFlood } from "./http/flood.ts";
import { createLinks } from "./http/links.ts";
import { mountMetrics, unready } from "./http/ops.ts";
import { createHttp } from "./http/server.ts";
import type { AddressOf } from "./http/webhook.ts";
import type { Log } from "./log.ts";
import { announceSinks, isWatched, watchBacklog, watchCoverage, watchReady, type Metrics } from "./metrics.ts";
import { createOtlp } from "./otlp.ts";
import { createAddresses } from "./receive/addresses.ts";
import { createConfirm } from "./receive/confirm.ts";
import { ARTIFACTS_DELAY_MS, followUpDue } from "./receive/follow-up.ts";
import { createIngest } from "./receive/ingest.ts";
import { coverageOf, createReconciler, gapOf, type ReconcileParts, type Round } from "./receive/reconcile.ts";
import { createIntake } from "./receive/intake.ts";
import { createReceiver, type Receiver } from "./receive/receive.ts";
import { rereadKept } from "./receive/reread.ts";
import { prune, type Removed } from "./retention.ts";
import type { HttpClient, Outbound } from "./platform/http-client.ts";
import type { Runtime } from "./runtime.ts";
import * as kinds from "./sinks/kinds.ts";
import type { SinkKind } from "./sinks/sink.ts";
import { createSkyvernClient } from "./skyvern/client.ts";
import { createEnricher } from "./skyvern/enrich.ts";
import { createMedia } from "./skyvern/media.ts";
import type { Fleet } from "./store/fleet.ts";
import type { ArtifactsStatus } from "./run.ts";
import type { Deciding, Store } from "./store/store.ts";
import { upkeep } from "./upkeep.ts";
import { createSessionCheck } from "./web/session.ts";
import { mountWeb } from "./web/web.ts";

/** What the relay is given by the host it runs on. */
/** The ways out are guarded. */
export interface Host extends Outbound {
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
  store: Store & Deciding;
  /** The other relays on the same database; null where there can be none. The runtime has its clock then. */
  fleet: Fleet | null;
  /** Also reaches what the operator alone named, wherever it is: heartbeat and collector. Nothing of a payload may choose where it leads. */
  operatorRequest: HttpClient;
  /** How and where copies of artifacts are kept; null when they are not. */
  archiving: { place: Place; copiesOf: typeof copiesOf; createArchive: typeof createArchive } | null;
  addressOf: AddressOf;
  /** The share of time, 0 to 1, that the process had no rest since it was last asked; 0 where nobody knows. */
  busyShare(): number;
  /** Told when something may be due now: for a host whose relay sleeps meanwhile. */
  nudged?(): void;
  /** Bodies being read at one time, bytes; default {@link IN_FLIGHT_BYTES}. */
  inFlightBytes?: number;
  /** Serves on a port (0: a free one) from then on; resolves with the port. */
  listen(app: Pick<Hono, "fetch">, port: number): Promise<number>;
  /** Stops serving, then the way out; what is under way gets a moment to end. */
  close(): Promise<void>;
}

export interface App {
  parts: Parts;
  /** Every address of the relay, for tests and for {@link App.start}. */
  fetch(request: Request): Response | Promise<Response>;
  store: Store;
  /** Attempts all that is due now, and ends. For tests; not beside `start`. */
  deliverDue(): Promise<void>;
  /** One round over Skyvern's list, and one over the runs to ask about again. For tests. */
  reconcile(): Promise<Round>;
  followUp(): Promise<number>;
  /** Copies what is due into the archive. For tests. */
  archive(): Promise<number>;
  /** One look at what the relay is to say of itself. For tests. */
  alert(): Promise<void>;
  /** One sign of life, if somebody waits for it. */
  beat(): Promise<void>;
  /** What can wait until there is room, such as words for the search: all that is due. */
  upkeep(): Promise<void>;
  /** Removes what is older than it is to be kept. For tests. */
  prune(): Promise<Removed>;
  /** Listens and delivers. Resolves with the ports when it accepts webhooks. */
  start(): Promise<{ port: number; metricsPort: number | null }>;
  /** Something may be due: looks at once. */
  nudge(): void;
  /** Lets attempts and rounds end, as {@link App.stop} does, and goes on to take webhooks: nothing is delivered from then on. */
  quiesce(): Promise<void>;
  /** Resolves, with what is wrong, when the relay can do no more good and must be started anew by its host. */
  failed: Promise<string>;
  /** Answers 503 from now on, lets attempts end, closes everything. Resolves within about 25 s. */
  stop(): Promise<void>;
}

/** The parts, for a host that calls them when their time has come, instead of {@link App.start}. */
export interface Parts {
  receiver: Receiver;
  worker: Pick<Worker, "work">;
  /** Whether {@link App.alert} has anybody to tell. To be called each minute or so. */
  isAlerting: boolean;
  /** When a run is to be asked about again, epoch ms; null when none is. */
  nextFollowUpAt(): Promise<number | null>;
  /** Takes up what an earlier life of this relay left. */
  takeOver(): Promise<{ taken: number; buried: number }>;
  /** Reads what was kept again. Returns how many were understood. */
  adopt(): Promise<number>;
}

/** What attempts get to end in after a stop, ms; hosts give 30 s in all. */
const DRAIN_MS = 20_000;
/**
 * Bodies being read at one time. Skyvern's are a few kB. Reading them, and handing them to the thread that writes, takes several times as much for a moment: filled
 * with bodies of 5 MB, the process grew by less than 320 MB, and a small machine has 512.
 */
const IN_FLIGHT_BYTES = 24 * 1024 * 1024;
/** A delivery loop without a sign of life for so long: not ready, and then not worth keeping. */
const SILENT_NOT_READY_MS = 90_000;
const SILENT_FATAL_MS = 300_000;
const WATCH_MS = 10_000;
const LOOP_RETRY_MS = 10_000;
/** After the start, until what is done from time to time is done first. */
const FIRST_ROUND_MS = 1_000;
/** Follow-ups are seconds to minutes away and not urgent. */
const FOLLOW_UP_LOOK_MS = 2_000;
const LEASE_MARGIN_MS = 60_000;
const UPKEEP_LOOK_MS = 1_000;
const ARCHIVE_LOOK_MS = 2_000;
const ALERT_LOOK_MS = 60_000;
/** As OpenTelemetry's own batches. */
const SPANS_EVERY_MS = 5_000;
/** At the end, when a collector that hangs must not. */
const LAST_SPANS_MS = 2_000;
const PRUNE_EVERY_MS = 3_600_000;
/** For relays that are gone. */
const FLEET_LOOK_MS = 10_000;

/** The relay on a host, from its configuration. Nothing runs yet. */
export async function createApp(config: Config, host: Host): Promise<App> {
  const { runtime, log, metrics, store, fetch, request, operatorRequest, archiving, fleet } = host;
  const linkKey = await store.setting("link_key", randomBytes(32).toString("base64url"));
  let publicUrl = config.publicUrl;
  const links = createLinks({
    publicUrl: () => publicUrl,
    key: Buffer.from(linkKey, "base64url"),
    lifeMs: config.linkLifeMs,
    now: runtime.now,
  });
  const client = createSkyvernClient({ ...runtime, baseUrl: config.baseUrl, keys: config.keys, fetch, request });
  const copies = archiving ? { copies: archiving.copiesOf({ ...archiving, store, log }) } : {};
  const media = createMedia({ client, fetch, now: runtime.now, log, ...copies });
  const askAgainAt = (status: ArtifactsStatus) => (status === "complete" ? null : runtime.now() + ARTIFACTS_DELAY_MS);
  const enricher = createEnricher({
    ...runtime,
    client,
    log,
    budgetMs: config.delivery.artifactsWaitMs,
    load: (runId) => store.artifacts(runId),
    save: (runId, artifacts, status) => store.saveArtifacts(runId, { artifacts, status }, askAgainAt(status)),
  });
  const archive =
    archiving && config.archive
      ? archiving.createArchive({
          ...config.archive,
          ...archiving,
          store,
          media,
          enrich: enricher.enrich,
          now: runtime.now,
          log,
        })
      : null;
  const otlp = config.tracing
    ? createOtlp({
        ...config.tracing,
        headers: Object.fromEntries(
          Object.entries(config.tracing.headers).map(([name, value]) => [name, value.reveal()]),
        ),
        request: operatorRequest,
        dropped: (count) => metrics.spansDropped.inc(count),
        log,
      })
    : null;
  const sinkDeps = { fetch, request, now: runtime.now, sleep: runtime.sleep, log };
  const lanes = config.sinks.map(({ kind, name, config: own, concurrency }) => ({
    sink: kindOf(kind).create(name, own, sinkDeps),
    concurrency,
  }));
  const showing = { media, settings: config.attachments, budgetMs: config.delivery.timeoutMs / 2 };
  const worker = createWorker({
    trace: otlp?.take ?? null,
    store,
    lanes,
    attempt: createAttempt({
      traced: otlp !== null,
      enrich: async ({ state: { run }, artifactsStatus }, signal) => {
        const { artifacts, status, isNew } = await enricher.list(run, artifactsStatus, signal);
        const found = { runId: run.run_id, known: { artifacts, status }, followUpAt: askAgainAt(status) };
        return { artifacts, status, ...(isNew ? { found } : {}) };
      },
      evidence: (run, artifacts) => evidenceOf(showing, run, artifacts),
      links,
      timeoutMs: config.delivery.timeoutMs,
      log,
    }),
    fleet,
    scheduleMs: config.delivery.scheduleMs,
    leaseMs: (config.delivery.artifactsWaitMs + config.delivery.timeoutMs) * (AHEAD_PER_SLOT + 1) + LEASE_MARGIN_MS,
    runtime,
    log,
    metrics,
  });
  const nudge = (): void => {
    worker.nudge();
    fleet?.announce();
    host.nudged?.();
  };
  const sinks = lanes.map(({ sink }) => ({ name: sink.name, kind: sink.kind, updates: sink.updates === true }));
  const { routes, redactKeys } = config;
  const intake = createIntake({ routes, sinks, redactKeys, archives: archive !== null, store, runtime });
  const receiving = { intake, keys: config.keys, trace: otlp?.take ?? null, runtime, log, metrics, nudge };
  const addresses = createAddresses(() => publicUrl);
  const ingest = createIngest(receiving);
  const scope = config.reconcile?.scope ?? "mine";
  const confirm = config.confirm ? createConfirm({ client, ingest, addresses, scope, now: runtime.now }) : null;
  const lookbackMs = config.reconcile?.lookbackMs ?? 0;
  const reconciling: ReconcileParts = { client, store, ingest, addresses, scope, lookbackMs, runtime, log, metrics };
  const reconciler = createReconciler(reconciling);
  const followUps = { store, intake, client, ingest, addresses, refresh: enricher.refresh, runtime, log, nudge };
  const receiver = createReceiver(receiving, confirm);
  const ending = new AbortController();
  const loops: Promise<void>[] = [];
  /** Does something again and again until the end; what goes wrong is logged and does not end it. */
  const repeat = (name: string, everyMs: () => Promise<number>, act: () => Promise<unknown>): void => {
    const loop = async () => {
      // Webhooks that came while nobody listened come first.
      await runtime.sleep(FIRST_ROUND_MS, ending.signal);
      while (!ending.signal.aborted) {
        const waitMs = await act()
          .then(everyMs)
          .catch((error: unknown) => {
            log.error(`${name}.failed`, { error: String(error) });
            return LOOP_RETRY_MS;
          });
        await runtime.sleep(waitMs, ending.signal);
      }
    };
    loops.push(loop());
  };
  let stopping = false;
  const isStopping = () => stopping;
  const webhookUrl = () => `${publicUrl}/webhook`;
  const sendTest = createTestSend({
    sinks: lanes.map(({ sink }) => sink),
    store,
    links,
    timeoutMs: config.delivery.timeoutMs,
    runtime,
    log,
  });
  const web = {
    store,
    links,
    sinks,
    tokens: config.tokens,
    key: Buffer.from(linkKey, "base64url"),
    publicUrl: config.publicUrl,
    webhookUrl,
    media,
    runtime,
    log,
    nudge,
    circuit: worker.circuit,
    resume: worker.resume,
    refresh: enricher.refresh,
    sendTest,
    stopping: ending.signal,
  };
  const webhook = {
    receiver,
    addressOf: host.addressOf,
    bodyLimit: config.bodyLimit,
    inFlightLimit: host.inFlightBytes ?? IN_FLIGHT_BYTES,
    flood: createFlood(runtime.now),
    isStopping,
    log,
  };
  const isStalled = () => worker.silentMs() > SILENT_NOT_READY_MS;
  const ops = { store, now: runtime.now, isStopping, isStalled, log };
  const http = createHttp({
    ...web,
    webhook,
    history: web,
    artifacts: { ...web, isSession: createSessionCheck(web) },
    ops,
    metrics,
    pages: (app) => mountWeb(app, web),
  });
  const metricsApp = new Hono();
  mountMetrics(metricsApp, metrics);
  const sinkNames = sinks.map(({ name }) => name);
  const watchStored = () => {
    announceSinks(metrics, sinkNames);
    watchBacklog(metrics, sinkNames, () => gaugesOf(store), runtime.now);
    watchReady(metrics, async () => (await unready(ops)) === null);
    if (config.reconcile) watchCoverage(metrics, () => coverageOf(reconciling));
  };
  // Of an app before on the same metrics, which may stay: from the start of this one on.
  if (!isWatched(metrics)) watchStored();
  const pruneDue = async (): Promise<Removed> => {
    const removed = await prune({ ...runtime, store, settings: config.retention }, { signal: ending.signal });
    if (Object.values(removed).some((count) => count > 0)) log.info("retention.pruned", { ...removed });
    return removed;
  };
  const upkeepDue = () => upkeep({ ...runtime, store, busyShare: host.busyShare }, ending.signal);
  const archiveDue = async (): Promise<number> => {
    const runs = (await archive?.round(ending.signal)) ?? 0;
    await archive?.clear(ending.signal);
    return runs;
  };
  const isArchiveDue = async (): Promise<boolean> =>
    (await store.dueArchiving(runtime.now(), 1)).length > 0 || (await store.discarded(runtime.now(), 1)).length > 0;
  const nextFollowUpIn = async (): Promise<number> => {
    const next = await store.nextFollowUpAt();
    return next === null ? FOLLOW_UP_LOOK_MS : Math.min(FOLLOW_UP_LOOK_MS, Math.max(next - runtime.now(), 100));
  };
  /** What one relay does for all. */
  const once = (duty: string, act: () => Promise<unknown>) => (fleet ? fleet.alone(duty, act) : act());
  const takeOverMissing = async (): Promise<void> => {
    const names = (await fleet?.missing()) ?? [];
    if (names.length === 0) return;
    const taken = await store.takeOver(runtime.now(), WAITS_AFTER_CUT_MS, names);
    log.warn("fleet.taken_over", { from: names, deliveries: taken });
    nudge();
  };
  const fault = () => unready(ops);
  const heartbeat = config.heartbeat
    ? createHeartbeat({ url: config.heartbeat.url, request: operatorRequest, fault, now: runtime.now, log, metrics })
    : null;
  const { alerts } = config;
  const isGapTold = config.reconcile !== null && alerts.onCoverageGap.length > 0;
  const alerting: AlertParts = {
    settings: alerts,
    sinks: lanes.map(({ sink }) => sink),
    store,
    gap: () => (isGapTold ? gapOf(reconciling) : Promise.resolve([])),
    publicUrl: () => publicUrl,
    timeoutMs: config.delivery.timeoutMs,
    runtime,
    log,
    metrics,
  };
  const alertDue = async () => void (await once("alert", () => alertRound(alerting, ending.signal)));
  const isAlerting = [alerts.onDead, alerts.onCoverageGap, alerts.onSinkDown].some((names) => names.length > 0);
  let fail = (_reason: string): void => {};
  const failed = new Promise<string>((resolve) => {
    fail = resolve;
  });
  let watch: NodeJS.Timeout | undefined;

  const quiesce = async (): Promise<void> => {
    ending.abort();
    await worker.stop(DRAIN_MS);
    await Promise.all(loops);
    await otlp?.flush(LAST_SPANS_MS);
  };
  const names = config.sinks.map(({ name }) => name);
  const takeOver = async () => {
    // Of several relays the others may be alive: who is not is found out while it runs.
    const taken = fleet ? 0 : await store.takeOver(runtime.now(), WAITS_AFTER_CUT_MS);
    const buried = await store.buryOrphans(
      names,
      "its sink is not configured any more; name another to redeliver it",
      ...(fleet ? [runtime.now()] : []),
    );
    return { taken, buried };
  };
  const organizationOf = (name: string | null) => config.keys.find((key) => key.name === name)?.organization ?? null;
  const adopt = () => rereadKept({ ...receiving, store, organizationOf });

  return {
    parts: { isAlerting, receiver, worker, nextFollowUpAt: () => store.nextFollowUpAt(), takeOver, adopt },
    failed,
    quiesce,
    nudge,
    fetch: (request) => http.fetch(request),
    store,
    deliverDue: worker.runOnce,
    reconcile: () => reconciler.round(ending.signal),
    followUp: () => followUpDue(followUps, ending.signal),
    archive: archiveDue,
    alert: alertDue,
    beat: async () => heartbeat?.(ending.signal),
    upkeep: upkeepDue,
    prune: pruneDue,
    start: async () => {
      watchStored();
      const { taken, buried } = await takeOver();
      const port = await host.listen(http, config.port);
      publicUrl = publicUrl.replace(/:0$/, `:${port}`);
      const metricsPort = config.metricsPort === null ? null : await host.listen(metricsApp, config.metricsPort);
      worker.start();
      watch = setInterval(() => {
        if (worker.silentMs() > SILENT_FATAL_MS) fail("the delivery loop has stalled");
      }, WATCH_MS);
      watch.unref();
      if (fleet) {
        fleet.onNews(worker.nudge);
        repeat("take_over", async () => FLEET_LOOK_MS, takeOverMissing);
      }
      // Once webhooks are accepted again: there may be many, and none of them is in a hurry.
      const adopted = await adopt();
      if (adopted > 0) nudge();
      repeat("follow_up", nextFollowUpIn, async () => {
        if (((await store.nextFollowUpAt()) ?? Infinity) <= runtime.now())
          await once("follow_up", () => followUpDue(followUps, ending.signal));
      });
      repeat("upkeep", async () => UPKEEP_LOOK_MS, upkeepDue);
      if (archive) {
        await archive.prepare();
        repeat(
          "archive",
          async () => ARCHIVE_LOOK_MS,
          async () => {
            if (await isArchiveDue()) await once("archive", archiveDue);
          },
        );
      }
      if (otlp)
        repeat(
          "traces",
          async () => SPANS_EVERY_MS,
          () => otlp.flush(),
        );
      const { reconcile, retention } = config;
      if (heartbeat && config.heartbeat) {
        const { everyMs } = config.heartbeat;
        repeat(
          "heartbeat",
          async () => everyMs,
          () => heartbeat(ending.signal),
        );
      }
      if (isAlerting) repeat("alert", async () => ALERT_LOOK_MS, alertDue);
      if (retention.runsMs !== null || retention.rawMs !== null)
        repeat(
          "retention",
          async () => PRUNE_EVERY_MS,
          async () => {
            if (!fleet || (await fleet.take("retention", PRUNE_EVERY_MS))) await pruneDue();
          },
        );
      if (reconcile)
        repeat(
          "reconcile",
          async () => reconcile.everyMs,
          async () => {
            if (!fleet || (await fleet.take("reconcile", reconcile.everyMs))) await reconciler.round(ending.signal);
          },
        );
      log.info("relay.started", { port, metrics_port: metricsPort, sinks: names, taken_over: taken, buried, adopted });
      return { port, metricsPort };
    },
    stop: async () => {
      stopping = true;
      clearInterval(watch);
      log.info("relay.stopping");
      await quiesce();
      await host.close();
      await Promise.all(lanes.map(async ({ sink }) => sink.close?.()));
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
  const [backlog, counts, circuits] = await Promise.all([store.backlog(), store.counts(), store.circuits()]);
  const dead = counts.deliveries.filter(({ state }) => state === "dead");
  return { backlog, dead, kept: counts.kept, circuits };
}
