/** The composition: the one place that knows every part and connects them. */
import type { Config } from "../config/config.ts";
import { WAITS_AFTER_CUT_MS } from "../deliver/backoff.ts";
import type { Worker } from "../deliver/worker.ts";
import { createReadiness } from "../http/probes.ts";
import type { Gauges } from "../telemetry/metrics.ts";
import type { ReadDetails } from "../reconcile/details.ts";
import type { Receiver } from "../receive/receive.ts";
import { measureCoverage } from "../reconcile/reconcile.ts";
import type { Store } from "../store/store.ts";
import { LoginLinks } from "../web/login/links.ts";
import { planJobs, type DueTimes, type PeriodicJob, type Rounds } from "./jobs.ts";
import { Lifecycle } from "./lifecycle.ts";
import type { AppHost } from "./host.ts";
import { createTracing } from "./wiring/tracing.ts";
import { connectSkyvern } from "./wiring/skyvern.ts";
import { createDeliverySide } from "./wiring/delivery.ts";
import { createReceiving } from "./wiring/receiving.ts";
import { createRounds } from "./wiring/rounds.ts";
import { createPages } from "./wiring/pages.ts";

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

/** A delivery loop that is silent for this long makes the relay not ready. */
const SILENT_NOT_READY_MS = 90_000;
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

const createDueTimes = ({ store, runtime: { now } }: AppHost): DueTimes => ({
  followUp: () => store.nextFollowUpAt(),
  archive: async () => {
    const at = now();
    const isDue = (await store.dueArchiving(at, 1)).length > 0 || (await store.discarded(at, 1)).length > 0;
    return isDue ? at : null;
  },
});

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
