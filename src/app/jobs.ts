/** What a relay does from time to time, as one table. {@link Lifecycle} works it off; an edge host rings for what is due next. */
import type { Config } from "../config/config.ts";
import { DAY_MS, HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import type { Tally } from "../reconcile/backfill.ts";
import type { Round } from "../reconcile/reconcile.ts";
import type { Removed } from "./retention.ts";

export interface PeriodicJob {
  /** Of its own in the table. A round that fails is logged as `NAME.failed`. */
  readonly name: string;
  /** From the end of one round to the next, ms. */
  readonly everyMs: number;
  /** Of several relays on one database one does it for all. */
  readonly exclusive: boolean;
  /** One round. */
  run(): Promise<unknown>;
  /** When there is something to do, epoch ms; null: nothing is known of. Left out: always. */
  dueAt?(): Promise<number | null>;
}

/** One round of each, whoever has it done. */
export interface Rounds {
  /** Reads again what was not understood. Returns how many receipts are now. */
  reread(): Promise<number>;
  /** Asks again about runs that may have more to show. Returns how many. */
  followUp(): Promise<number>;
  /** Goes over Skyvern's list for runs whose webhook was lost. */
  reconcile(): Promise<Round>;
  /** Fills in the runs that ended before the first start, where every run is followed. Null: there was nothing to do. */
  fillHistory(): Promise<Tally | null>;
  /** Copies what is due into the archive. Returns of how many runs. */
  archive(): Promise<number>;
  /** Looks how much room the database's disk has; null: it has none of its own. */
  watchDisk: (() => Promise<void>) | null;
  /** Makes words anew where another release made them, and gives back space: all that is due. */
  upkeep(): Promise<void>;
  /** Removes what is older than it is to be kept. */
  prune(): Promise<Removed>;
  /** Says what the relay has to say of itself. */
  alert(): Promise<void>;
  /** Gives a sign of life, if somebody waits for it. */
  beat(): Promise<void>;
  /** Sends the spans that were collected. */
  sendSpans(): Promise<void>;
  /** Takes over what relays that are gone had under way. */
  reclaimFromDeadPeers(): Promise<void>;
}

/** When rounds have something to do, epoch ms; null: nothing is known of. */
export interface DueTimes {
  followUp(): Promise<number | null>;
  archive(): Promise<number | null>;
}

type JobSettings = Pick<Config, "archive" | "tracing" | "heartbeat" | "alerts" | "retention" | "reconcile">;

/** The jobs that a configuration asks for. `isFleet`: there may be other relays on the database. */
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
    // As often as OpenTelemetry's own batches.
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
