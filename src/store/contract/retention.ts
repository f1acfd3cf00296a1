/** Retention: removes in steps what is older than its configured time. */
export interface RetentionStore {
  /**
   * Removes runs that were received before a given time, with their receipts, deliveries, attempts, artifacts and
   * copies. A run stays while anything came for it or was redelivered since, or a delivery of it waits.
   */
  pruneRuns(step: PruneStep): Promise<Pruned>;
  /** Removes bodies that were received before a given time. Their receipts stay, and so do unrecognized bodies. */
  pruneBodies(step: PruneStep): Promise<Pruned>;
  /** Removes unrecognized receipts that were received before a given time. */
  pruneUnrecognized(step: PruneStep): Promise<Pruned>;
  /** Removes test deliveries that were made before a given time. */
  pruneTests(step: PruneStep): Promise<Pruned>;
  /** Removes entries of Skyvern's list about runs that were created before a given time. */
  pruneListedRuns(step: PruneStep): Promise<Pruned>;
}

/** One step of pruning, a short transaction. */
export interface PruneStep {
  /** Rows older than this, epoch ms, are due. */
  before: number;
  /** Where the step before ended; null starts at the beginning. */
  after: string | null;
  /** How many rows the step examines at most, oldest first. */
  limit: number;
  /** Ids of runs that stay with everything that belongs to them. */
  hold: readonly string[];
  /** Only counts, removes nothing. */
  dryRun: boolean;
}

/** `next` is where the next step continues; null when no older rows are left. */
export interface Pruned {
  removed: number;
  next: string | null;
}
