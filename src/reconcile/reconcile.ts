/**
 * Finds runs whose webhook never came. Skyvern retries a webhook for some seconds and then drops it, and sends none on
 * several paths; but its list of runs has them all. A round pages through the list, newest first, takes every final run
 * that is not known as such, reads it, and hands it to the same intake as a webhook's.
 *
 * Where rounds come more often than once a minute, most are quick looks: the newest page, and one request for the runs
 * that were still going at the last look and are older than that page. A whole round comes every ten minutes.
 */
import type { JsonObject } from "../platform/json.ts";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { DAY_MS, isoTime } from "../platform/time.ts";
import { maySpeakFor } from "../domain/ownership.ts";
import { isFinal, isTerminal } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { KeyClient, SkyvernRunRow, SkyvernClient } from "../skyvern/client.ts";
import type { SkyvernFault } from "../skyvern/api-call.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import type { Addresses } from "../receive/own-addresses.ts";
import { webhookUrlOf, type Ingest, type Origin } from "./ingest.ts";
import type { Accepted } from "../store/contract/receipts.ts";
import { listRuns } from "./list-runs.ts";
import { reportedRun } from "../skyvern/normalize.ts";

export interface ReconcileDeps {
  client: SkyvernClient;
  store: Pick<ReconcileStore, "outcomes" | "unfinished" | "recordListedRuns" | "coverage" | "unrelayed">;
  ingest: Ingest;
  addresses: Addresses;
  /** `mine`: only runs whose `webhook_url` leads here. */
  scope: "mine" | "all";
  /** How far back a round looks, ms. */
  lookbackMs: number;
  /**
   * The webhook of a run that ended within this time, ms, may still come, and says more than the API, so it goes first.
   * 0 when no webhook can come.
   */
  graceMs: number;
  /** Runs that ended before this, epoch ms, are left to `history.ts`. Null when there is no history to fill. */
  newsSince: number | null;
  /** The time between two whole rounds, ms; rounds in between are quick looks. 0: every round is whole. */
  wholeEveryMs: number;
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
}

export interface Round {
  /** Rows of Skyvern's list within the lookback. */
  listed: number;
  /** Runs read one by one. */
  read: number;
  /** Runs that the relay did not know. */
  found: number;
  /** Runs left to the next round, because this one had read enough. */
  left: number;
  /** Why the round is incomplete, one reason for each organization; the next round continues. */
  faults: string[];
}

export interface Reconciler {
  /** Runs one round over every organization, one request at a time. Never rejects for what Skyvern answers. */
  round(signal: AbortSignal): Promise<Round>;
}

/** The most runs read in one round; the others wait for the next. */
export const MAX_READS = 500;
/** {@link ReconcileDeps.graceMs} where webhooks can come. */
export const GRACE_MS = 30_000;
/** A run that was listed this long ago and is still not relayed is a gap. Deliveries take a moment, outages longer. */
export const GAP_AFTER_MS = 900_000;
/** {@link ReconcileDeps.wholeEveryMs} where rounds come more often than once a minute. */
export const WHOLE_EVERY_MS = 600_000;
/** How many runs of a gap the log names. */
const NAMED = 10;

/**
 * Runs that need no further read while their status is the same, by organization: they belong to others, cannot be
 * read, or had nothing new. A restart forgets them, so a corrected PUBLIC_URL takes effect.
 */
type AlreadyChecked = Map<string, string>;

/** What is remembered of one organization's list between looks. */
interface ListLook {
  alreadyChecked: AlreadyChecked;
  /** When the list was last read down to the lookback, epoch ms. */
  wholeAt: number;
  /** The {@link progressOf} of each run that was listed by the last look which left nothing to do. */
  listed: ReadonlyMap<string, string>;
  /** Runs that were still going at the last look. */
  open: ReadonlyMap<string, SkyvernRunRow>;
}

/** How far a run is, as a row of the list says it: what changes when there is something new to read. */
const progressOf = ({ status, attempt, next_attempt_at }: SkyvernRunRow): string =>
  `${status} at attempt ${attempt}${next_attempt_at === null ? "" : ", another to come"}`;

const aLook = (): ListLook => ({ alreadyChecked: new Map(), wholeAt: -Infinity, listed: new Map(), open: new Map() });

export function createReconciler(deps: ReconcileDeps): Reconciler {
  const { client, log, metrics, runtime } = deps;
  const looks = new Map<string, ListLook>();
  let wholeAt = -Infinity;
  let saidFaults = "";
  return {
    round: async (signal) => {
      const round: Round = { listed: 0, read: 0, found: 0, left: 0, faults: [] };
      const hints = new Set<string>();
      const startedAt = runtime.now();
      const isWhole = startedAt - wholeAt >= deps.wholeEveryMs;
      if (isWhole) wholeAt = startedAt;
      for (const [organization, keys] of byOrganization(client.perKey())) {
        const look = looks.get(organization) ?? aLook();
        looks.set(organization, look);
        const fault = await reconcileOrganization(deps, keys, { look, round, signal });
        if (fault === null) continue;
        round.faults.push(`${fault.key}: ${fault.reason}`);
        hints.add(hintOf(fault.kind));
      }
      const complete = round.faults.length === 0 && round.left === 0;
      metrics.rounds.inc({ result: complete ? "complete" : "incomplete" });
      // An unchanged result is not logged again before the next whole round.
      const isSaid = isWhole || round.read > 0 || round.faults.join() !== saidFaults;
      saidFaults = round.faults.join();
      const level = !isSaid || signal.aborted ? "debug" : complete ? "info" : "warn";
      log[level]("reconcile.round", { ...round, ...(hints.size > 0 ? { hint: [...hints].join("; ") } : {}) });
      if (!signal.aborted && isWhole) await watchGap(deps);
      return round;
    },
  };
}

/** What the operator can do about it. */
function hintOf(kind: SkyvernFault["kind"]): string {
  if (kind === "forbidden") return "copy the API key again from Skyvern's settings page";
  if (kind === "rate_limited")
    return "the next round continues; with PUBLIC_URL set, webhooks bring runs without being asked for";
  if (kind === "unavailable")
    return "the next round continues; if it lasts, check Skyvern's address (skyvern.base_url or SKYVERN_BASE_URL) and this machine's network";
  return "the address is not Skyvern's API, or Skyvern is too old: skyvern-relay doctor says more";
}

/** Keys of one organization list the same runs. Each key with an unknown organization is asked for its own. */
export function byOrganization(keys: readonly KeyClient[]): Map<string, KeyClient[]> {
  return Map.groupBy(keys, ({ organization, name }) => organization ?? `of the key ${name}`);
}

interface KeyRound {
  look: ListLook;
  round: Round;
  signal: AbortSignal;
}

type KeyLook = KeyRound & Pick<KeyClient, "client" | "organization">;

/** Uses the first of the organization's keys that Skyvern accepts. */
async function reconcileOrganization(deps: ReconcileDeps, keys: readonly KeyClient[], round: KeyRound) {
  let refused: (SkyvernFault & { key: string }) | null = null;
  for (const { name, client, organization } of keys) {
    const fault = await reconcileKey(deps, { client, organization, ...round });
    if (fault?.kind !== "forbidden") return fault && { ...fault, key: name };
    refused ??= { ...fault, key: name };
  }
  return refused;
}

async function reconcileKey(deps: ReconcileDeps, asking: KeyLook): Promise<SkyvernFault | null> {
  const { client, round, signal, look } = asking;
  const now = deps.runtime.now();
  const isWhole = now - look.wholeAt >= deps.wholeEveryMs;
  const since = now - deps.lookbackMs;
  const { rows, fault } = await listRuns(
    (query) => client.listRuns(query, signal),
    isWhole ? { since } : { since, knownFrom: look.listed },
  );
  round.listed += rows.length;
  if (fault?.kind === "forbidden") return fault;
  // A list that outgrows the budget would use it up alone if it were begun again every ten seconds.
  if (isWhole && (fault === null || fault.kind === "rate_limited")) look.wholeAt = now;
  const ended = await readEnded(deps, asking, { rows, isWhole });
  const leftBefore = round.left;
  const final = rows
    .filter(isFinal)
    .filter((row) => isWhole || look.listed.get(row.run_id) !== progressOf(row))
    .toSorted((a, b) => endOf(a) - endOf(b));
  const isFresh = (row: SkyvernRunRow): boolean => now - endOf(row) < deps.graceMs;
  const trouble =
    ended ??
    (await readUnseen(
      deps,
      asking,
      final.filter((row) => !isFresh(row)),
    )) ??
    (isWhole ? await readUnfinished(deps, asking, rows) : null) ??
    (await readJustEnded(deps, asking, final.filter(isFresh)));
  if (fault === null && isWhole) {
    const listed = new Set(rows.map(({ run_id }) => run_id));
    for (const id of look.alreadyChecked.keys()) if (!listed.has(id)) look.alreadyChecked.delete(id);
  }
  const isDone = fault === null && trouble === null && round.left === leftBefore && !signal.aborted;
  if (isDone) look.listed = new Map(rows.map((row) => [row.run_id, progressOf(row)]));
  return fault ?? trouble;
}

/** The statuses of unfinished runs, as Skyvern's list takes them. */
const OPEN_STATUSES = ["created", "queued", "running", "paused"];

/** Reads runs that were going at the last look, are older than a quick look lists, and have ended since. */
async function readEnded(
  deps: ReconcileDeps,
  asking: KeyLook,
  { rows, isWhole }: { rows: SkyvernRunRow[]; isWhole: boolean },
) {
  const { client, look, signal } = asking;
  const open = new Map(rows.filter(({ status }) => !isTerminal(status)).map((row) => [row.run_id, row]));
  const listed = new Set(rows.map(({ run_id }) => run_id));
  const beyond = isWhole ? [] : [...look.open.values()].filter(({ run_id }) => !listed.has(run_id));
  look.open = open;
  if (beyond.length === 0) return null;
  for (const row of beyond) open.set(row.run_id, row);
  const since = deps.runtime.now() - deps.lookbackMs;
  const ask = { since, status: OPEN_STATUSES };
  const { rows: under, fault } = await listRuns((query) => client.listRuns(query, signal), ask);
  if (fault !== null) return fault;
  const underWay = new Set(under.map(({ run_id }) => run_id));
  for (const row of beyond.filter(({ run_id }) => !underWay.has(run_id))) {
    if (signal.aborted || asking.round.read >= MAX_READS) return null;
    const answer = await get(deps, asking, row.run_id);
    if (answer.fault !== null && !isFinalFault(answer.fault)) return answer.fault;
    // Runs in an unknown status are left to the next whole round.
    open.delete(row.run_id);
    if (answer.fault === null && isFinalAnswer(answer.run)) {
      const known = await deps.store.outcomes([row.run_id]);
      await takeIfOurs(deps, asking, { row, run: answer.run, isKnown: known.has(row.run_id) });
    }
  }
  return null;
}

const endOf = ({ finished_at, created_at }: SkyvernRunRow): number => finished_at ?? created_at ?? 0;

/** Oldest first, so people get runs in the order in which they ended. */
async function readUnseen(
  deps: ReconcileDeps,
  asking: KeyLook,
  final: readonly SkyvernRunRow[],
): Promise<SkyvernFault | null> {
  const { unseen, known } = await recordAndPartition(deps, asking, final);
  for (const [i, row] of unseen.entries()) {
    if (asking.signal.aborted) return null;
    if (asking.round.read >= MAX_READS) {
      asking.round.left += unseen.length - i;
      return null;
    }
    const fault = await read(deps, asking, row, known.has(row.run_id));
    if (fault !== null) return fault;
  }
  return null;
}

/** Reads runs that are known only as not final and that the list does not show: child runs, and old ones. */
async function readUnfinished(deps: ReconcileDeps, asking: KeyLook, rows: readonly SkyvernRunRow[]) {
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

/** Waits for the webhooks of runs that ended just now, then looks again. */
async function readJustEnded(deps: ReconcileDeps, asking: KeyLook, fresh: readonly SkyvernRunRow[]) {
  const { unseen } = await recordAndPartition(deps, asking, fresh);
  const last = unseen.at(-1);
  if (last === undefined || asking.round.read >= MAX_READS) {
    asking.round.left += unseen.length;
    return null;
  }
  const waitMs = endOf(last) + deps.graceMs - deps.runtime.now();
  await deps.runtime.sleep(Math.min(Math.max(waitMs, 0), deps.graceMs), asking.signal);
  return readUnseen(deps, asking, unseen);
}

/** Records the known final rows as listed and returns the unknown ones. */
async function recordAndPartition(
  deps: ReconcileDeps,
  { look: { alreadyChecked }, organization }: KeyLook,
  all: readonly SkyvernRunRow[],
) {
  const { store, runtime, scope, newsSince, client } = deps;
  const known = await store.outcomes(all.map(({ run_id }) => run_id));
  const isHistory = (row: SkyvernRunRow): boolean =>
    newsSince !== null && !known.has(row.run_id) && endOf(row) < newsSince;
  const final = all.filter((row) => !isHistory(row));
  const configured = client.perKey().map((key) => key.organization);
  const isKnown = ({ run_id, status, attempt }: SkyvernRunRow): boolean => {
    const outcome = known.get(run_id);
    // A run that only another organization's key reported is unknown for this one.
    if (outcome === undefined || !maySpeakFor(outcome, organization, configured)) return false;
    // A run that waits for its next attempt was reported with the very status that a later one may end with.
    if (!isTerminal(outcome.status) || attempt > outcome.attempt) return false;
    return outcome.status === status || outcome.reportedStatus === status;
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
  return { known, unseen: final.filter((row) => !isKnown(row) && alreadyChecked.get(row.run_id) !== progressOf(row)) };
}

/** Reads a final run and ingests it if it belongs here. Null also when only this run cannot be read. */
async function read(deps: ReconcileDeps, asking: KeyLook, row: SkyvernRunRow, isKnown: boolean) {
  const answer = await get(deps, asking, row.run_id);
  if (answer.fault?.kind === "blocked") {
    // Nothing says where its webhook was to go. To here, if this relay has a host that Skyvern blocks.
    if (deps.scope === "all" || isKnown || deps.addresses.mayBeBlocked()) {
      const { organization } = asking;
      count(asking, await takeListed(deps, row, { run: null, source: "reconciled", organization }));
    }
    asking.look.alreadyChecked.set(row.run_id, progressOf(row));
    return null;
  }
  if (answer.fault !== null) {
    if (isFinalFault(answer.fault)) asking.look.alreadyChecked.set(row.run_id, progressOf(row));
    return isFinalFault(answer.fault) ? null : answer.fault;
  }
  await takeIfOurs(deps, asking, { row, run: answer.run, isKnown });
  // Skyvern may decide on another run attempt a moment after it wrote the row: the run is no less to be read later.
  if (isFinalAnswer(answer.run)) asking.look.alreadyChecked.set(row.run_id, progressOf(row));
  return null;
}

async function takeIfOurs(
  deps: ReconcileDeps,
  asking: KeyLook,
  { row, run, isKnown }: { row: SkyvernRunRow; run: JsonObject; isKnown: boolean },
): Promise<void> {
  if (deps.scope !== "all" && !isKnown && !deps.addresses.pointsHere(webhookUrlOf(run))) return;
  const { organization } = asking;
  count(asking, await takeListed(deps, row, { run, source: "reconciled", organization }));
}

const count = ({ round }: KeyLook, accepted: Accepted | null): void => {
  if (accepted?.verdict === "accepted" || accepted?.verdict === "corrected") round.found += 1;
};

interface TakeDeps {
  store: Pick<ReconcileStore, "recordListedRuns">;
  runtime: Pick<Runtime, "now">;
  ingest: Ingest;
}

/** Records a run as listed and ingests it: Skyvern's answer about it, or where that is null only its row. */
export async function takeListed(
  { store, runtime, ingest }: TakeDeps,
  row: SkyvernRunRow,
  { run, ...origin }: Origin & { run: JsonObject | null },
): Promise<Accepted | null> {
  const answer = run ?? rowAsAnswer(row);
  // Skyvern may list a v2 task by the id of its workflow run (contract §4).
  const runId = typeof answer["run_id"] === "string" ? answer["run_id"] : row.run_id;
  const createdAt = row.created_at ?? runtime.now();
  await store.recordListedRuns([{ runId, createdAt, seenAt: runtime.now(), targetsThisRelay: true }]);
  return ingest(answer, run === null ? { ...origin, note: BLOCKED_NOTE } : origin);
}

/** Reads a run that was not final before, and ingests it if it is final now. */
async function confirmFinal(deps: ReconcileDeps, asking: KeyLook, runId: string): Promise<SkyvernFault | null> {
  const answer = await get(deps, asking, runId);
  if (answer.fault !== null) return isFinalFault(answer.fault) ? null : answer.fault;
  if (isFinalAnswer(answer.run)) {
    const { organization } = asking;
    count(asking, await deps.ingest(answer.run, { source: "reconciled", organization }));
  }
  return null;
}

/** Whether an answer of GET run is about a run that is over. */
function isFinalAnswer(answer: JsonObject): boolean {
  const said = reportedRun(answer, 0);
  return said !== null && isFinal(said);
}

async function get({ log }: ReconcileDeps, { client, round, signal }: KeyLook, runId: string) {
  round.read += 1;
  const answer = await client.getRun(runId, signal);
  if (answer.ok) return { fault: null, run: answer.value };
  if (isFinalFault(answer.fault)) log.warn("reconcile.run_unreadable", { run_id: runId, reason: answer.fault.reason });
  return { fault: answer.fault };
}

/** True for a lasting fault that concerns this one run. */
const isFinalFault = ({ kind }: SkyvernFault): boolean =>
  kind === "not_found" || kind === "unexpected" || kind === "blocked";

const BLOCKED_NOTE =
  "Skyvern blocks the host of this run's webhook address, and so does not show the run: its status is from Skyvern's list";

/** A row of Skyvern's list as GET run would answer it, as far as the row goes. */
function rowAsAnswer(row: SkyvernRunRow): JsonObject {
  const { run_id, status, title = null, workflow_permanent_id = null, task_run_type = null, attempt } = row;
  return {
    run_id,
    status,
    run_type: task_run_type,
    title,
    workflow_permanent_id,
    attempt,
    created_at: isoTime(row.created_at),
    started_at: isoTime(row.started_at),
    finished_at: isoTime(row.finished_at),
  };
}

/** How many listed runs were relayed within the lookback, for the metrics. */
export async function measureCoverage({
  store,
  runtime,
  lookbackMs,
}: Pick<ReconcileDeps, "store" | "runtime" | "lookbackMs">) {
  const days = await store.coverage(runtime.now() - lookbackMs, runtime.now() + DAY_MS);
  const seen = days.reduce((sum, day) => sum + day.seen, 0);
  const relayed = days.reduce((sum, day) => sum + day.relayed, 0);
  return { seen, relayed };
}

/** Ids of runs, at most a thousand, that were listed a quarter of an hour ago and are still not relayed. */
export function findGap({ store, lookbackMs, runtime }: Pick<ReconcileDeps, "store" | "lookbackMs" | "runtime">) {
  const now = runtime.now();
  return store.unrelayed({ since: now - lookbackMs, seenBefore: now - GAP_AFTER_MS, limit: 1_000 });
}

/** A gap that does not close is logged with every round. */
async function watchGap(deps: ReconcileDeps): Promise<void> {
  const missing = await findGap(deps);
  if (missing.length > 0) deps.log.warn("coverage.gap", { missing: missing.length, run_ids: missing.slice(0, NAMED) });
}
