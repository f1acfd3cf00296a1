/** Counts: what waits, what was delivered and how fast, by sink and by time. */
export interface StatsStore {
  backlog(): Promise<Backlog[]>;
  /** Counts of deliveries by sink and state, and of unrecognized receipts. */
  counts(): Promise<Counts>;
  /** Runs received in the hours or days (UTC) that begin in a span. */
  runCounts(grain: Grain, since: number, until: number): Promise<Statistics["runs"]>;
  /** The same, with how long successful deliveries took, in the hours or days (UTC) that begin in a span. */
  statistics(grain: Grain, since: number, until: number): Promise<Statistics>;
  /** How long successful deliveries took, for each hour or day (UTC) that begins in a span, oldest first. */
  deliveryTimes(grain: Grain, since: number, until: number): Promise<DeliveryTimes[]>;
}

export interface Backlog {
  sink: string;
  size: number;
  /** `created_at` of the oldest delivery not yet delivered, epoch ms. */
  oldest: number;
}

export interface Counts {
  deliveries: { sink: string; state: string; count: number }[];
  unrecognized: number;
}

export type Grain = "hour" | "day";

export interface Statistics {
  /** By the time of the first receipt, oldest first, without zeros. */
  runs: { start: number; status: string; count: number }[];
  /** Times from the outbox to the sink, in the buckets of `latency-buckets.ts`. */
  times: { sink: string; bucket: number; count: number }[];
}

/**
 * How many deliveries that reached a sink in one hour or day took as long as one bucket of `latency-buckets.ts` holds.
 */
export interface DeliveryTimes {
  start: number;
  sink: string;
  bucket: number;
  count: number;
}
