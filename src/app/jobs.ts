/**
 * The relay's periodic jobs, as one table. {@link Lifecycle} runs them; an edge host sets its alarm for the next one.
 */
import type { Config } from "../config/config.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import type { Tally } from "../reconcile/backfill.ts";
import type { Round } from "../reconcile/reconcile.ts";
import type { Removed } from "./retention.ts";

export interface PeriodicJob {
  /** The unique name of the job. A failed round is logged as `NAME.failed`. */
  readonly name: string;
  /** The time from the end of one round to the next, ms. */
  readonly everyMs: number;
  /** In a fleet one relay runs the job for all. */
  readonly exclusive: boolean;
  /** Runs one round. */
  run(): Promise<unknown>;
  /** When there is something to do, epoch ms; null when nothing is known. Absent: always. */
  dueAt?(): Promise<number | null>;
}

/** One round of each job. */
export interface Rounds {
  /** Reads unrecognized receipts again. Returns how many were recognized. */
  reread(): Promise<number>;
  /** Follows up runs that may have more to show. Returns how many. */
  followUp(): Promise<number>;
  /** Searches Skyvern's list for runs whose webhook was lost. */
  reconcile(): Promise<Round>;
  /** Fills in runs that ended before the first start, where every run is followed. Null: there was nothing to do. */
  fillHistory(): Promise<Tally | null>;
  /** Archives the artifacts that are due. Returns of how many runs. */
  archive(): Promise<number>;
  /** Reads the free space of the database's disk; null when it has none of its own. */
  watchDisk: (() => Promise<void>) | null;
  /** Rebuilds words that another release made, and returns unused space. */
  upkeep(): Promise<void>;
  /** Removes what retention says is due. */
  prune(): Promise<Removed>;
  /** Sends the relay's alerts. */
  alert(): Promise<void>;
  /** Sends a heartbeat, if one is configured. */
  beat(): Promise<void>;
  /** Sends the collected spans. */
  sendSpans(): Promise<void>;
  /** Reclaims what dead relays of the fleet had leased. */
  reclaimFromDeadPeers(): Promise<void>;
}

/** When jobs have something to do, epoch ms; null when nothing is known. */
export interface DueTimes {
  followUp(): Promise<number | null>;
  archive(): Promise<number | null>;
}

type JobSettings = Pick<Config, "archive" | "tracing" | "heartbeat" | "alerts" | "retention" | "reconcile">;

/** The jobs that a configuration needs. `isFleet`: there may be other relays on the database. */
export function planJobs(config: JobSettings, rounds: Rounds, due: DueTimes, isFleet: boolean): PeriodicJob[] {
  const { heartbeat, retention, reconcile, alerts } = config;
  const isAlerting = [alerts.onDead, alerts.onCoverageGap, alerts.onDiskLow, alerts.onSinkDown].some(
    (names) => names.length > 0,
  );
  const isPruning = retention.runsMs !== null || retention.rawMs !== null;
  const table: (PeriodicJob | false)[] = [
    isFleet && { name: "reclaim", everyMs: 5_000, exclusive: false, run: rounds.reclaimFromDeadPeers },
    { name: "reread", everyMs: DAY_MS, exclusive: false, run: rounds.reread },
    { name: "follow_up", everyMs: 2_000, exclusive: true, run: rounds.followUp, dueAt: due.followUp },
    { name: "upkeep", everyMs: MINUTE_MS, exclusive: false, run: rounds.upkeep },
    config.archive !== null && {
      name: "archive",
      everyMs: 2_000,
      exclusive: true,
      run: rounds.archive,
      dueAt: due.archive,
    },
    // The interval of OpenTelemetry's own batches.
    config.tracing !== null && { name: "traces", everyMs: 5_000, exclusive: false, run: rounds.sendSpans },
    heartbeat !== null && { name: "heartbeat", everyMs: heartbeat.everyMs, exclusive: false, run: rounds.beat },
    rounds.watchDisk !== null && { name: "disk", everyMs: MINUTE_MS, exclusive: false, run: rounds.watchDisk },
    isAlerting && { name: "alert", everyMs: MINUTE_MS, exclusive: true, run: rounds.alert },
    isPruning && { name: "retention", everyMs: HOUR_MS, exclusive: true, run: rounds.prune },
    reconcile !== null && {
      name: "reconcile",
      everyMs: reconcile.everyMs,
      exclusive: true,
      run: rounds.reconcile,
    },
    (reconcile?.historyMs ?? null) !== null && {
      name: "history",
      everyMs: DAY_MS,
      exclusive: true,
      run: rounds.fillHistory,
    },
  ];
  return table.filter((job) => job !== false);
}
