import type { Delivery, Outcome } from "../../domain/run.ts";
import type { NewDelivery } from "./receipts.ts";
import type { Page } from "./runs.ts";

/** Deliveries: reading them with their attempts, and making new ones of what was delivered before. */
export interface DeliveryStore {
  /** Newest first; of one run: oldest first, with its attempts. */
  deliveries(filter: DeliveryFilter, page: Page): Promise<Delivery[]>;
  delivery(deliveryId: string): Promise<Delivery | null>;
  attempts(deliveryIds: readonly string[]): Promise<Attempt[]>;
  /** New deliveries of a run's current revision, cause `redelivery`. Null when the run is not known. */
  redeliver(runId: string, deliveries: readonly NewDelivery[], now: number): Promise<Delivery[] | null>;
  /**
   * For each delivery that fits and is the last one of its run and sink, oldest first, one new delivery of the run's
   * current revision to the same sink, unless that one still waits. What was sent again since is so left out, and calling
   * again goes on. Returns how many: no more than there are ids for them.
   */
  redeliverAll(filter: DeliveryFilter, ids: readonly string[], now: number): Promise<number>;
  /** How many {@link DeliveryStore.redeliverAll} would make of that many ids. */
  redeliverable(filter: DeliveryFilter, limit: number): Promise<number>;
  /** Writes what a test of a sink came to, as a delivery that is over. It belongs to no run. */
  saveTest(test: FinishedTest): Promise<Delivery>;
}

export interface DeliveryFilter {
  state?: readonly string[];
  sink?: readonly string[];
  runId?: string;
  since?: number;
  until?: number;
}

export interface Attempt {
  delivery_id: string;
  n: number;
  started_at: number;
  finished_at: number;
  outcome: Outcome["kind"];
  reason: string | null;
}

export interface FinishedTest {
  deliveryId: string;
  /** Of no run that is known. */
  runId: string;
  sink: string;
  kind: string;
  startedAt: number;
  finishedAt: number;
  outcome: Outcome;
}
