import type { Organization } from "../../domain/run.ts";
import type { StoredRun } from "./runs.ts";

/** What is asked of Skyvern: runs that are due for another look, and what Skyvern's own list said of runs. */
export interface ReconcileStore {
  /** Runs that are to be looked at again now, the longest due first. */
  dueFollowUps(now: number, limit: number): Promise<{ run: StoredRun; failures: number }[]>;
  /** When the next one is due, epoch ms; null when none is. */
  nextFollowUpAt(): Promise<number | null>;
  /** Sets when a run is to be looked at again; null: no more. */
  setFollowUp(runId: string, at: number | null, failures: number): Promise<void>;
  /** What is known of these runs. */
  outcomes(runIds: readonly string[]): Promise<Map<string, KnownOutcome>>;
  /** Runs received since a time that are not final, oldest first. */
  unfinished(since: number, limit: number): Promise<{ runId: string; organization: string | null }[]>;
  /** Records final runs of Skyvern's own list. A run that targets this relay once does so for good. */
  recordListedRuns(runs: readonly ListedRun[]): Promise<void>;
  /** What Skyvern's own list said of a run. */
  listedRun(runId: string): Promise<Omit<ListedRun, "runId"> | null>;
  /** By day (UTC) of creation at Skyvern: final runs listed there that target this relay, and those of them that were relayed. */
  coverage(since: number, until: number): Promise<Coverage[]>;
  /** The same of whole days, those that begin in a span, at a cost that grows with what is not relayed only. */
  dailyCoverage(since: number, until: number): Promise<Coverage[]>;
  /** Of those created since a time and seen before another, the ones that were not relayed, oldest first. */
  unrelayed(query: { since: number; seenBefore: number; limit: number }): Promise<string[]>;
}

export interface KnownOutcome {
  status: string;
  reportedStatus: string;
  /** As of `RunState`. */
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

/** `day`: its first millisecond. Relayed: settled, and no delivery waits or is dead. */
export interface Coverage {
  day: number;
  seen: number;
  relayed: number;
}
