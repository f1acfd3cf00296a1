import type { Organization } from "../../domain/run.ts";
import type { StoredRun } from "./runs.ts";

/** What the relay asks of Skyvern: runs that are due for a follow-up, and the runs that Skyvern's own list showed. */
export interface ReconcileStore {
  /** Runs whose follow-up is due, the longest due first. */
  dueFollowUps(now: number, limit: number): Promise<{ run: StoredRun; failures: number }[]>;
  /** When the next follow-up is due, epoch ms; null when none is planned. */
  nextFollowUpAt(): Promise<number | null>;
  /** Plans a run's follow-up; null ends it. Changes nothing when a disputed receipt came at or after `since`. */
  setFollowUp(runId: string, plan: { at: number | null; failures: number; since: number }): Promise<void>;
  /** The known outcome of each of these runs. */
  outcomes(runIds: readonly string[]): Promise<Map<string, KnownOutcome>>;
  /** Runs received since a given time that are not final, oldest first. */
  unfinished(since: number, limit: number): Promise<{ runId: string; organization: string | null }[]>;
  /** Records final runs of Skyvern's own list. A run that targets this relay once does so for good. */
  recordListedRuns(runs: readonly ListedRun[]): Promise<void>;
  /** What Skyvern's own list showed of a run. */
  listedRun(runId: string): Promise<Omit<ListedRun, "runId"> | null>;
  /**
   * By day (UTC) of creation at Skyvern: final runs listed there that target this relay, and those of them that were
   * relayed.
   */
  coverage(since: number, until: number): Promise<Coverage[]>;
  /** The same for the whole days that begin in a span. Its cost grows only with the runs that were not relayed. */
  dailyCoverage(since: number, until: number): Promise<Coverage[]>;
  /** Runs that were created since one time, listed before another, and not relayed, oldest first. */
  unrelayed(query: { since: number; seenBefore: number; limit: number }): Promise<string[]>;
}

export interface KnownOutcome {
  status: string;
  reportedStatus: string;
  /** As in `RunState`. */
  owners: readonly Organization[];
  /** The number of its run attempt. */
  attempt: number;
}

export interface ListedRun {
  runId: string;
  createdAt: number;
  seenAt: number;
  /** Its `webhook_url` is this relay's. */
  targetsThisRelay: boolean;
}

/**
 * `day` is its first millisecond. A run is relayed when it is settled and none of its deliveries is pending or dead.
 */
export interface Coverage {
  day: number;
  seen: number;
  relayed: number;
}
