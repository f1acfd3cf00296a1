/**
 * Fills in past runs from Skyvern's list, one request at a time. It skips known runs, so repeating it continues where
 * it stopped.
 */
import { retry } from "../platform/retry.ts";
import { maySpeakFor } from "../domain/ownership.ts";
import { isFinal, isTerminal, TERMINAL_STATUSES } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { KeyClient, SkyvernRunRow } from "../skyvern/client.ts";
import { mayPass, type SkyvernFault, type SkyvernResult } from "../skyvern/api-call.ts";
import { StorageFault } from "../store/contract/faults.ts";
import type { ReconcileStore } from "../store/contract/reconcile.ts";
import { webhookUrlOf, type Ingest } from "./ingest.ts";
import { listRuns } from "./list-runs.ts";
import { byOrganization, takeListed, type ReconcileDeps } from "./reconcile.ts";

export interface BackfillDeps extends Pick<ReconcileDeps, "client" | "addresses" | "scope"> {
  store: Pick<ReconcileStore, "outcomes" | "recordListedRuns">;
  /** Null only counts and writes nothing. */
  ingest: Ingest | null;
  runtime: Pick<Runtime, "now" | "sleep">;
  signal: AbortSignal;
  progress(progress: Progress): void;
}

export type Progress =
  | { doing: "listing"; rows: number }
  | { doing: "reading"; done: number; of: number }
  | { doing: "waiting"; reason: string };

export interface BackfillQuery {
  /** Runs created at or after this time, epoch ms. */
  since: number;
  /** Runs created before this time, epoch ms. */
  until: number;
  /** Permanent ids of workflows; empty means every run. */
  workflow: readonly string[];
  /** Runs that ended after this are left to the relay, because their webhook may still come. */
  endedBefore: number;
  /** The most runs of each organization, the newest. */
  limit?: number;
}

export interface Tally {
  /** Final runs in the range. */
  listed: number;
  known: number;
  /** Runs that were filled in, or would be when only counting. */
  added: number;
  /** Runs whose webhook leads elsewhere. */
  elsewhere: number;
  /** Runs that ended too recently. */
  recent: number;
  /** Runs that are gone at Skyvern or were not recognized. */
  unreadable: number;
  /**
   * Skyvern blocks the host of their webhook address, and so does not show them: of these only the list's row is known.
   */
  blocked: number;
  /** When the last examined run had ended, epoch ms. */
  reached: number | null;
  /** Why the backfill is not complete. */
  faults: string[];
}

/** The waits between tries of one request, about three minutes together. */
const WAITS_MS = [1_000, 5_000, 15_000, 30_000, 60_000, 90_000];
const LONGEST_WAIT_MS = 120_000;
const STORAGE_WAITS_MS = [500, 1_000, 2_000, 4_000];

export async function backfill(deps: BackfillDeps, query: BackfillQuery): Promise<Tally> {
  const tally: Tally = {
    listed: 0,
    known: 0,
    added: 0,
    elsewhere: 0,
    recent: 0,
    unreadable: 0,
    blocked: 0,
    reached: null,
    faults: [],
  };
  for (const keys of byOrganization(deps.client.perKey()).values()) {
    const fault = await backfillOrganization(deps, query, keys, tally);
    if (fault !== null) tally.faults.push(fault.reason);
    if (deps.signal.aborted || (fault !== null && mayPass(fault))) break;
  }
  return tally;
}

/** Uses the first of the organization's keys that Skyvern accepts. */
async function backfillOrganization(
  deps: BackfillDeps,
  query: BackfillQuery,
  keys: readonly KeyClient[],
  tally: Tally,
): Promise<SkyvernFault | null> {
  let refused: SkyvernFault | null = null;
  for (const key of keys) {
    const fault = await backfillKey(deps, query, { ...key, client: key.client.with({ tries: 1 }) }, tally);
    if (fault?.kind !== "forbidden") return fault;
    refused ??= { ...fault, reason: `${key.name}: ${fault.reason}` };
  }
  return refused;
}

async function backfillKey(deps: BackfillDeps, query: BackfillQuery, key: KeyClient, tally: Tally) {
  const { rows, fault } = await list(deps, query, key.client);
  const inRange = rows.filter((row) => isFinal(row) && (row.created_at ?? 0) < query.until);
  const recent = inRange.filter((row) => endOf(row) > query.endedBefore);
  const due = inRange
    .filter((row) => endOf(row) <= query.endedBefore)
    .toSorted((a, b) => endOf(a) - endOf(b))
    .slice(-(query.limit ?? Infinity));
  const outcomes = await deps.store.outcomes(due.map(({ run_id }) => run_id));
  const configured = deps.client.perKey().map(({ organization }) => organization);
  const unknown = due.filter(({ run_id, attempt }) => {
    const outcome = outcomes.get(run_id);
    if (!outcome || !isTerminal(outcome.status) || attempt > outcome.attempt) return true;
    return !maySpeakFor(outcome, key.organization, configured);
  });
  tally.listed += inRange.length;
  tally.recent += recent.length;
  tally.known += due.length - unknown.length;
  for (const [done, row] of unknown.entries()) {
    deps.progress({ doing: "reading", done, of: unknown.length });
    const trouble = deps.signal.aborted ? INTERRUPTED : await fillIn(deps, key, row, tally);
    if (trouble !== null) return trouble;
    tally.reached = endOf(row);
  }
  if (unknown.length > 0) deps.progress({ doing: "reading", done: unknown.length, of: unknown.length });
  return fault;
}

const INTERRUPTED: SkyvernFault = { kind: "unavailable", status: null, reason: "it was stopped" };

const endOf = ({ finished_at, created_at }: SkyvernRunRow): number => finished_at ?? created_at ?? 0;

function list(deps: BackfillDeps, { since, workflow }: BackfillQuery, client: ReconcileDeps["client"]) {
  let seen = 0;
  return listRuns(
    async (query) => {
      deps.progress({ doing: "listing", rows: seen });
      const answer = await retryWhileDown(deps, () => client.listRuns(query, deps.signal));
      if (answer.ok) seen += answer.value.rows.length;
      return answer;
    },
    { since, status: TERMINAL_STATUSES, workflow },
  );
}

/** Null when the run is done, also when it could not be read. */
async function fillIn(
  deps: BackfillDeps,
  key: KeyClient,
  row: SkyvernRunRow,
  tally: Tally,
): Promise<SkyvernFault | null> {
  const { scope, addresses, ingest, store, runtime, signal } = deps;
  if (ingest === null && scope === "all") {
    tally.added += 1;
    return null;
  }
  const answer = await retryWhileDown(deps, () => key.client.getRun(row.run_id, signal));
  const isBlocked = !answer.ok && answer.fault.kind === "blocked";
  if (isBlocked) tally.blocked += 1;
  if (!answer.ok && !(isBlocked && (scope === "all" || addresses.mayBeBlocked()))) {
    const { kind } = answer.fault;
    if (kind !== "not_found" && kind !== "unexpected" && kind !== "blocked") return answer.fault;
    tally.unreadable += 1;
    return null;
  }
  const run = answer.ok ? answer.value : null;
  if (run !== null && scope !== "all" && !addresses.pointsHere(webhookUrlOf(run))) {
    tally.elsewhere += 1;
    return null;
  }
  if (ingest === null) {
    tally.added += 1;
    return null;
  }
  const origin = { source: "backfill", organization: key.organization, endedAt: row.finished_at } as const;
  const stored = await retryWhileLocked(deps, () => takeListed({ store, runtime, ingest }, row, { run, ...origin }));
  if (stored instanceof StorageFault) return { kind: "unavailable", status: null, reason: stored.message };
  if (stored === null) tally.unreadable += 1;
  else if (stored.verdict === "accepted" || stored.verdict === "corrected") tally.added += 1;
  else tally.known += 1;
  return null;
}

/** Retries for some minutes while Skyvern is down or answers that it gets too many requests. */
const retryWhileDown = <T>(
  { runtime, signal, progress }: BackfillDeps,
  ask: () => Promise<SkyvernResult<T>>,
): Promise<SkyvernResult<T>> =>
  retry({
    act: ask,
    waitMs: (answer, tried) => {
      const planned = WAITS_MS[tried - 1];
      if (answer.ok || planned === undefined) return null;
      const { reason, retryAfterMs = 0 } = answer.fault;
      if (!mayPass(answer.fault)) return null;
      progress({ doing: "waiting", reason });
      return Math.max(planned, Math.min(retryAfterMs, LONGEST_WAIT_MS));
    },
    sleep: runtime.sleep,
    signal,
  });

/** A relay on the same database may hold its lock for a moment. */
const retryWhileLocked = <T>({ runtime, signal }: BackfillDeps, write: () => Promise<T>): Promise<T | StorageFault> =>
  retry({
    act: () => attempt(write),
    waitMs: (result, tried) => (result instanceof StorageFault ? (STORAGE_WAITS_MS[tried - 1] ?? null) : null),
    sleep: runtime.sleep,
    signal,
  });

async function attempt<T>(write: () => Promise<T>): Promise<T | StorageFault> {
  try {
    return await write();
  } catch (error) {
    if (error instanceof StorageFault) return error;
    throw error;
  }
}
