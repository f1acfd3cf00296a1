/** Retention: removing what is older than it is to be kept, in steps. */
export interface RetentionStore {
  /**
   * Retention. A run goes with its receipts, deliveries, attempts, artifacts and copies when it was received before a time
   * and nothing came for it or was sent again since; one with a waiting delivery stays.
   */
  pruneRuns(step: PruneStep): Promise<Pruned>;
  /** Bytes received before a time; their receipts stay. Those that were not understood stay too. */
  pruneBodies(step: PruneStep): Promise<Pruned>;
  /** What was not understood, received before a time. */
  pruneUnrecognized(step: PruneStep): Promise<Pruned>;
  /** Test deliveries made before a time. */
  pruneTests(step: PruneStep): Promise<Pruned>;
  /** What Skyvern's list said of runs created before a time. */
  pruneListedRuns(step: PruneStep): Promise<Pruned>;
}

/** One step of pruning: a short transaction. */
export interface PruneStep {
  /** Epoch ms: what is older is due. */
  before: number;
  /** Where the step before ended; null: begin. */
  after: string | null;
  /** Most rows that are looked at, oldest first. */
  limit: number;
  /** Ids of runs that stay, with all that belongs to them. */
  hold: readonly string[];
  /** Count only. */
  dryRun: boolean;
}

/** `next`: where to go on, null when there is no more that is old enough. */
export interface Pruned {
  removed: number;
  next: string | null;
}
