import type { Delivery, Outcome } from "../../domain/run.ts";
import type { NewDelivery } from "./receipts.ts";
import type { Page } from "./runs.ts";

/** Deliveries: reading them with their attempts, and redelivering. */
export interface DeliveryStore {
  /** Newest first; the deliveries of one run oldest first, with their attempts. */
  deliveries(filter: DeliveryFilter, page: Page): Promise<Delivery[]>;
  delivery(deliveryId: string): Promise<Delivery | null>;
  attempts(deliveryIds: readonly string[]): Promise<Attempt[]>;
  /** Creates deliveries of a run's current revision, with the cause `redelivery`. Null when the run is not known. */
  redeliver(runId: string, deliveries: readonly NewDelivery[], now: number): Promise<Delivery[] | null>;
  /**
   * Redelivers everything that the filter selects: for each delivery that fits and is the latest of its run and sink,
   * oldest first, it creates a delivery of the run's current revision to the same sink, unless the selected one still
   * waits. A run that was redelivered since is thereby skipped, so a repeated call continues. Returns how many it
   * created, at most one for each given id.
   */
  redeliverAll(filter: DeliveryFilter, ids: readonly string[], now: number): Promise<number>;
  /** How many deliveries {@link DeliveryStore.redeliverAll} would create with `limit` ids. */
  redeliverable(filter: DeliveryFilter, limit: number): Promise<number>;
  /** Records the outcome of a sink test as a finished delivery that belongs to no run. */
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
  /** The id of a run that does not exist. */
  runId: string;
  sink: string;
  kind: string;
  startedAt: number;
  finishedAt: number;
  outcome: Outcome;
}
