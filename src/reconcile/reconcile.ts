/**
 * Finds the runs whose webhook never came. Skyvern tries a webhook for some seconds and then forgets it, and sends none on
 * several paths; its list of runs knows them all. A round pages through the list, newest first, takes every final run that
 * is not known as such, reads it, and feeds it to the same use case as a webhook.
 */
import { isJsonObject, type JsonObject } from "../platform/json.ts";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { DAY_MS } from "../platform/time.ts";
import { isTerminal } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { KeyClient, RunRow, SkyvernClient, SkyvernFault } from "../skyvern/client.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import type { Addresses } from "../receive/own-addresses.ts";
import type { Ingest } from "./ingest.ts";
import { listRuns } from "./list-runs.ts";

export interface ReconcileDeps {
  client: SkyvernClient;
  store: Pick<ReconcileStore, "outcomes" | "unfinished" | "recordListedRuns" | "coverage" | "unrelayed">;
  ingest: Ingest;
  addresses: Addresses;
  /** `mine`: only runs whose `webhook_url` leads here. */
  scope: "mine" | "all";
  /** How far back, ms. */
  lookbackMs: number;
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
}

export interface Round {
  /** Rows of Skyvern's list within the lookback. */
  listed: number;
  /** Runs read one by one. */
  read: number;
  /** Runs that were news to the relay. */
  found: number;
  /** Runs that were not read because the round had read enough: the next one goes on. */
  left: number;
  /** Why the round is not complete, one reason for each organization; the next one goes on. */
  faults: string[];
}

export interface Reconciler {
  /** One round over every organization, one request at a time. Never rejects for what Skyvern answers. */
  round(signal: AbortSignal): Promise<Round>;
}

/** Runs read in one round: the rest waits for the next one. */
export const MAX_READS = 500;
/** A run that ended so recently may have its webhook on the way, which says more than the API: that one goes first. */
export const GRACE_MS = 30_000;
/** A run seen so long ago and still not relayed is a gap. Deliveries take a moment; outages longer. */
export const GAP_AFTER_MS = 900_000;
/** Of a gap's runs, so many are named in the log. */
const NAMED = 10;

/**
 * Runs read before that need no reading again while their status is the same, by organization: they belong to others,
 * cannot be read, or had nothing new to say. Forgotten with the process, so that a mended PUBLIC_URL is believed.
 */
type Aside = Map<string, string>;

export function createReconciler(deps: ReconcileDeps): Reconciler {
  const { client, log, metrics } = deps;
  const asides = new Map<string, Aside>();
  return {
    round: async (signal) => {
      const round: Round = { listed: 0, read: 0, found: 0, left: 0, faults: [] };
      for (const [organization, keys] of byOrganization(client.perKey())) {
        const aside = asides.get(organization) ?? new Map<string, string>();
        asides.set(organization, aside);
        const fault = await reconcileOrganization(deps, keys, { aside, round, signal });
        if (fault !== null) round.faults.push(`${fault.key}: ${fault.reason}`);
      }
      const complete = round.faults.length === 0 && round.left === 0;
      metrics.rounds.inc({ result: complete ? "complete" : "incomplete" });
      log[complete ? "info" : "warn"]("reconcile.round", { ...round });
      if (!signal.aborted) await watchGap(deps);
      return round;
    },
  };
}

/** Keys of one organization list the same runs. A key whose organization is not known stands for itself. */
export function byOrganization(keys: readonly KeyClient[]): Map<string, KeyClient[]> {
  return Map.groupBy(keys, ({ organization, name }) => organization ?? `of the key ${name}`);
}

interface KeyRound {
  aside: Aside;
  round: Round;
  signal: AbortSignal;
}

type Asking = KeyRound & Pick<KeyClient, "client" | "organization">;

/** With its first key that is let in. */
async function reconcileOrganization(deps: ReconcileDeps, keys: readonly KeyClient[], round: KeyRound) {
  let refused: { key: string; reason: string } | null = null;
  for (const { name, client, organization } of keys) {
    const fault = await reconcileKey(deps, { client, organization, ...round });
    if (fault?.kind !== "forbidden") return fault && { key: name, reason: fault.reason };
    refused ??= { key: name, reason: fault.reason };
  }
  return refused;
}

async function reconcileKey(deps: ReconcileDeps, asking: Asking): Promise<SkyvernFault | null> {
  const { client, round, signal, aside } = asking;
  const now = deps.runtime.now();
  const { rows, fault } = await listRuns((query) => client.listRuns(query, signal), { since: now - deps.lookbackMs });
  round.listed += rows.length;
  if (fault?.kind === "forbidden") return fault;
  const final = rows.filter(({ status }) => isTerminal(status)).toSorted((a, b) => endOf(a) - endOf(b));
  const isFresh = (row: RunRow): boolean => now - endOf(row) < GRACE_MS;
  const trouble =
    (await readNews(
      deps,
      asking,
      final.filter((row) => !isFresh(row)),
    )) ??
    (await readUnfinished(deps, asking, rows)) ??
    (await readFresh(deps, asking, final.filter(isFresh)));
  if (fault === null) {
    const listed = new Set(rows.map(({ run_id }) => run_id));
    for (const id of aside.keys()) if (!listed.has(id)) aside.delete(id);
  }
  return fault ?? trouble;
}

const endOf = ({ finished_at, created_at }: RunRow): number => finished_at ?? created_at ?? 0;

/** Oldest first: the order in which they ended is the order in which people hear of them. */
async function readNews(deps: ReconcileDeps, asking: Asking, final: readonly RunRow[]): Promise<SkyvernFault | null> {
  const { news, known } = await sort(deps, asking, final);
  for (const [i, row] of news.entries()) {
    if (asking.signal.aborted) return null;
    if (asking.round.read >= MAX_READS) {
      asking.round.left += news.length - i;
      return null;
    }
    const fault = await read(deps, asking, row, known.has(row.run_id));
    if (fault !== null) return fault;
  }
  return null;
}

/** What is known only as not final, and what the list does not show: child runs, and those of long ago. */
async function readUnfinished(deps: ReconcileDeps, asking: Asking, rows: readonly RunRow[]) {
  const listed = new Set(rows.map(({ run_id }) => run_id));
  const unfinished = await deps.store.unfinished(deps.runtime.now() - 2 * deps.lookbackMs, MAX_READS);
  for (const { runId, organization } of unfinished) {
    const isTheirs = organization === null || asking.organization === null || organization === asking.organization;
    if (listed.has(runId) || !isTheirs) continue;
    if (asking.signal.aborted || asking.round.read >= MAX_READS) return null;
    const fault = await confirmFinal(deps, asking, runId);
    if (fault !== null) return fault;
  }
  return null;
}

/** Those that ended just now get their time, and are looked at again. */
async function readFresh(deps: ReconcileDeps, asking: Asking, fresh: readonly RunRow[]) {
  const { news } = await sort(deps, asking, fresh);
  const last = news.at(-1);
  if (last === undefined || asking.round.read >= MAX_READS) {
    asking.round.left += news.length;
    return null;
  }
  const waitMs = endOf(last) + GRACE_MS - deps.runtime.now();
  await deps.runtime.sleep(Math.min(Math.max(waitMs, 0), GRACE_MS), asking.signal);
  return readNews(deps, asking, news);
}

/** Final rows by whether they are news. Those known already are noted as seen. */
async function sort({ store, runtime, scope }: ReconcileDeps, { aside }: Asking, final: readonly RunRow[]) {
  const known = await store.outcomes(final.map(({ run_id }) => run_id));
  const isKnown = ({ run_id, status }: RunRow): boolean => {
    const outcome = known.get(run_id);
    return outcome !== undefined && (outcome.status === status || outcome.reportedStatus === status);
  };
  const ours = final.filter(({ run_id }) => known.has(run_id) || scope === "all");
  await store.recordListedRuns(
    ours.map(({ run_id, created_at }) => ({
      runId: run_id,
      createdAt: created_at ?? runtime.now(),
      seenAt: runtime.now(),
      targetsThisRelay: true,
    })),
  );
  return { known, news: final.filter((row) => !isKnown(row) && aside.get(row.run_id) !== row.status) };
}

/** Reads a final run and feeds it to the use case, if it is ours. Null also when this one run cannot be had. */
async function read(deps: ReconcileDeps, asking: Asking, row: RunRow, isKnown: boolean) {
  const { addresses, scope, store, runtime } = deps;
  const answer = await get(deps, asking, row.run_id);
  if (answer.fault !== null) {
    if (isFinalFault(answer.fault)) asking.aside.set(row.run_id, row.status);
    return isFinalFault(answer.fault) ? null : answer.fault;
  }
  const webhookUrl = webhookUrlOf(answer.run);
  if (scope === "all" || isKnown || addresses.pointsHere(webhookUrl)) {
    // A v2 task may be listed by the id of the workflow run it runs in (contract §4).
    const runId = typeof answer.run["run_id"] === "string" ? answer.run["run_id"] : row.run_id;
    const createdAt = row.created_at ?? runtime.now();
    await store.recordListedRuns([{ runId, createdAt, seenAt: runtime.now(), targetsThisRelay: true }]);
    await take(deps, asking, answer.run);
  }
  asking.aside.set(row.run_id, row.status);
  return null;
}

/** Reads a run that was not final when it was last heard of; says nothing when it still is not. */
async function confirmFinal(deps: ReconcileDeps, asking: Asking, runId: string): Promise<SkyvernFault | null> {
  const answer = await get(deps, asking, runId);
  if (answer.fault !== null) return isFinalFault(answer.fault) ? null : answer.fault;
  const { status } = answer.run;
  if (typeof status === "string" && isTerminal(status)) await take(deps, asking, answer.run);
  return null;
}

async function get({ log }: ReconcileDeps, { client, round, signal }: Asking, runId: string) {
  round.read += 1;
  const answer = await client.getRun(runId, signal);
  if (answer.ok) return { fault: null, run: answer.value };
  if (isFinalFault(answer.fault)) log.warn("reconcile.run_unreadable", { run_id: runId, reason: answer.fault.reason });
  return { fault: answer.fault };
}

/** It concerns this one run, and will not pass. */
const isFinalFault = ({ kind }: SkyvernFault): boolean => kind === "not_found" || kind === "unexpected";

async function take({ ingest, addresses }: ReconcileDeps, { organization, round }: Asking, run: JsonObject) {
  const channel = addresses.channelOf(webhookUrlOf(run));
  const accepted = await ingest(run, { source: "reconciled", organization, channel });
  if (accepted?.verdict === "accepted" || accepted?.verdict === "corrected") round.found += 1;
}

/** `run_request.webhook_url` of an answer of GET run. */
export function webhookUrlOf(answer: JsonObject): unknown {
  const request = answer["run_request"];
  return isJsonObject(request) ? request["webhook_url"] : null;
}

/** Seen at Skyvern against relayed, over the lookback, for the metrics. */
export async function coverageOf({
  store,
  runtime,
  lookbackMs,
}: Pick<ReconcileDeps, "store" | "runtime" | "lookbackMs">) {
  const days = await store.coverage(runtime.now() - lookbackMs, runtime.now() + DAY_MS);
  const seen = days.reduce((sum, day) => sum + day.seen, 0);
  const relayed = days.reduce((sum, day) => sum + day.relayed, 0);
  return { seen, relayed };
}

/** Ids of runs that did not reach everyone they were for a quarter of an hour after they were seen, a thousand at most. */
export function gapOf({ store, lookbackMs, runtime }: Pick<ReconcileDeps, "store" | "lookbackMs" | "runtime">) {
  const now = runtime.now();
  return store.unrelayed({ since: now - lookbackMs, seenBefore: now - GAP_AFTER_MS, limit: 1_000 });
}

/** A gap that does not close is said with every round. */
async function watchGap(deps: ReconcileDeps): Promise<void> {
  const missing = await gapOf(deps);
  if (missing.length > 0) deps.log.warn("coverage.gap", { missing: missing.length, run_ids: missing.slice(0, NAMED) });
}
