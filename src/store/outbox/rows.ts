/** Maps rows of deliveries to the domain's objects, and new deliveries to rows. */
import { sql } from "kysely";
import type { Delivery, DeliveryReceipt, RunState } from "../../domain/run.ts";
import type { NewDelivery } from "../contract/receipts.ts";
import type { DeliveryRow } from "../tables.ts";

export const parseReceipt = (json: string | null): DeliveryReceipt | null =>
  json === null ? null : (JSON.parse(json) as DeliveryReceipt);

export const toDelivery = (row: DeliveryRow): Delivery => ({
  id: row.id,
  run_id: row.subject_id,
  subject: row.subject_kind as Delivery["subject"],
  revision: row.revision,
  sink: row.sink,
  kind: row.kind,
  cause: row.cause as Delivery["cause"],
  state: row.state as Delivery["state"],
  attempts: row.attempts,
  next_attempt_at: row.state === "pending" ? row.next_attempt_at : null,
  last_error: row.last_error,
  created_at: row.created_at,
  delivered_at: row.delivered_at,
  receipt: parseReceipt(row.receipt),
});

/** A delivery that was just planned. */
export const deliveryRow = (state: RunState, { runAttempt, ...delivery }: NewDelivery, now: number): DeliveryRow => ({
  ...delivery,
  subject_kind: runAttempt === undefined ? "run" : "attempt",
  subject_id: state.run.run_id,
  revision: runAttempt ?? state.revision,
  state: "pending",
  attempts: 0,
  ended: 0,
  throttled: 0,
  next_attempt_at: now,
  maybe_sent: 0,
  last_error: null,
  created_at: now,
  delivered_at: null,
  receipt: null,
  log: null,
  subject_at: state.run.received_at,
});

/** The condition, in SQL, that two deliveries are about the same run, or the same attempt of it. */
export const sameSubject = (one: "e" | "l" | "deliveries", other: "d" | "deliveries" | "v"): string =>
  `${one}.subject_id = ${other}.subject_id and ${one}.subject_kind = ${other}.subject_kind
    and (${one}.subject_kind = 'run' or ${one}.revision = ${other}.revision)`;

/**
 * The condition that a delivery is pending or sending. It is written out because SQLite uses a partial index only where
 * the query repeats the index's own condition.
 */
export const isWaiting = (table: "deliveries" | "d") =>
  sql<boolean>`${sql.ref(`${table}.state`)} in ('pending', 'sending')`;
