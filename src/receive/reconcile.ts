/**
 * Finds the runs whose webhook never came. Skyvern tries a webhook for some seconds and then forgets it, and sends none on
 * several paths; its list of runs knows them all. A round pages through the list, newest first, takes every final run that
 * is not known as such, reads it, and feeds it to the same use case as a webhook.
 */
import { isJsonObject, type JsonObject } from "../json.ts";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { isTerminal, type Source } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import type { RunRow, SkyvernClient, SkyvernFault } from "../skyvern/client.ts";
import type { Store } from "../store/store.ts";
import type { Addresses } from "./addresses.ts";
import type { Ingest } from "./ingest.ts";

export interface ReconcileParts {
  client: SkyvernClient;
  store: Pick<Store, "outcomes" | "unfinished" | "sight" | "coverage">;
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
  /** Why the round is not complete, one reason for each key; the next one goes on. */
  faults: string[];
}

export interface Reconciler {
  /** One round over every key, one request at a time. Never rejects for what Skyvern answers. */
  round(signal: AbortSignal): Promise<Round>;
}

/** Skyvern's limits (contract §4). */
const PAGE_SIZE = 100;
const MAX_PAGES = 100;
/** Runs read in one round: the rest waits for the next one. */
const MAX_READS = 500;
/** Ids known to belong to others are not read again, up to so many. */
const MAX_FOREIGN = 10_000;
const DAY_MS = 86_400_000;

export function createReconciler(parts: ReconcileParts): Reconciler {
  const { client, log, metrics, runtime } = parts;
  const foreign = new Set<string>();
  return {
    round: async (signal) => {
      const round: Round = { listed: 0, read: 0, found: 0, faults: [] };
      for (const key of client.perKey()) {
        const fault = await reconcileKey(parts, { ...key, foreign, round, signal });
        if (fault !== null) round.faults.push(`${key.name}: ${fault.reason}`);
      }
      for (const id of [...foreign].slice(0, Math.max(0, foreign.size - MAX_FOREIGN))) foreign.delete(id);
      metrics.rounds.inc({ result: round.faults.length === 0 ? "complete" : "incomplete" });
      log[round.faults.length === 0 ? "info" : "warn"]("reconcile.round", { ...round });
      await watchCoverage(parts, runtime.now());
      return round;
    },
  };
}

interface KeyRound {
  client: SkyvernClient;
  organization: string | null;
  /** Runs that are not ours. */
  foreign: Set<string>;
  round: Round;
  signal: AbortSignal;
}

async function reconcileKey(parts: ReconcileParts, key: KeyRound): Promise<SkyvernFault | null> {
  const since = parts.runtime.now() - parts.lookbackMs;
  const listed = await listSince(key, since);
  key.round.listed += listed.rows.length;
  const ids = await unknownOf(parts, key, listed.rows);
  // Oldest first: the order in which they ended is the order in which people hear of them.
  for (const row of ids.rows.toReversed()) {
    if (key.signal.aborted || key.round.read >= MAX_READS) return listed.fault;
    const fault = await read(parts, key, row.run_id, row);
    if (fault !== null && fault.kind !== "not_found" && fault.kind !== "unexpected") return fault;
  }
  for (const id of ids.unfinished) {
    if (key.signal.aborted || key.round.read >= MAX_READS) return listed.fault;
    await read(parts, key, id, null);
  }
  return listed.fault;
}

/** The list down to `since`. Pages shift while runs are added, so rows may come twice: they count once. */
async function listSince(
  { client, signal }: KeyRound,
  since: number,
): Promise<{ rows: RunRow[]; fault: SkyvernFault | null }> {
  const rows = new Map<string, RunRow>();
  for (let page = 1; page <= MAX_PAGES && !signal.aborted; page += 1) {
    const answer = await client.listRuns({ page, pageSize: PAGE_SIZE }, signal);
    if (!answer.ok) return { rows: [...rows.values()], fault: answer.fault };
    for (const row of answer.value.rows) if ((row.created_at ?? Infinity) >= since) rows.set(row.run_id, row);
    const last = answer.value.rows.at(-1);
    const full = answer.value.rows.length + answer.value.skipped >= PAGE_SIZE;
    if (!full || (last?.created_at ?? Infinity) < since) break;
  }
  return { rows: [...rows.values()], fault: null };
}

/** The final rows that are not known as such, and what is known only as not final although the list does not show it. */
async function unknownOf(parts: ReconcileParts, { foreign }: KeyRound, rows: readonly RunRow[]) {
  const { store, runtime, scope } = parts;
  const final = rows.filter(({ status }) => isTerminal(status));
  const known = await store.outcomes(final.map(({ run_id }) => run_id));
  const isKnown = ({ run_id, status }: RunRow): boolean => {
    const outcome = known.get(run_id);
    return outcome !== undefined && (outcome.status === status || outcome.reportedStatus === status);
  };
  const mine = final.filter(({ run_id }) => known.has(run_id) || scope === "all");
  await store.sight(
    mine.map(({ run_id, created_at }) => ({
      runId: run_id,
      createdAt: created_at ?? runtime.now(),
      seenAt: runtime.now(),
      mine: true,
    })),
  );
  const listed = new Set(rows.map(({ run_id }) => run_id));
  const unfinished = await store.unfinished(runtime.now() - 2 * parts.lookbackMs, MAX_READS);
  return {
    rows: final.filter((row) => !isKnown(row) && !foreign.has(row.run_id)),
    unfinished: unfinished.filter((id) => !listed.has(id)),
  };
}

/** Reads one run and feeds it to the use case, if it is ours. */
async function read(
  parts: ReconcileParts,
  key: KeyRound,
  id: string,
  row: RunRow | null,
): Promise<SkyvernFault | null> {
  const { addresses, scope, store, runtime } = parts;
  key.round.read += 1;
  const answer = await key.client.getRun(id, key.signal);
  if (!answer.ok) return answer.fault;
  const webhookUrl = webhookUrlOf(answer.value);
  const mine = scope === "all" || row === null || addresses.isMine(webhookUrl);
  if (!mine) {
    key.foreign.add(id);
    return null;
  }
  if (row !== null) {
    const createdAt = row.created_at ?? runtime.now();
    await store.sight([{ runId: id, createdAt, seenAt: runtime.now(), mine: true }]);
  }
  const source: Source = "reconciled";
  const origin = { source, organization: key.organization, channel: addresses.channelOf(webhookUrl) };
  const accepted = await parts.ingest(answer.value, origin);
  if (accepted?.verdict === "accepted" || accepted?.verdict === "corrected") key.round.found += 1;
  return null;
}

/** `run_request.webhook_url` of an answer of GET run. */
export function webhookUrlOf(answer: JsonObject): unknown {
  const request = answer["run_request"];
  return isJsonObject(request) ? request["webhook_url"] : null;
}

/** Seen at Skyvern against relayed, over the lookback; a gap is logged with every round that finds it. */
async function watchCoverage({ store, metrics, log, lookbackMs }: ReconcileParts, now: number): Promise<void> {
  const days = await store.coverage(now - lookbackMs, now + DAY_MS);
  const seen = days.reduce((sum, day) => sum + day.seen, 0);
  const relayed = days.reduce((sum, day) => sum + day.relayed, 0);
  metrics.coverageSeen.set(seen);
  metrics.coverageRelayed.set(relayed);
  if (relayed < seen) log.warn("coverage.gap", { seen, relayed, missing: seen - relayed });
}
