import type { Generated, Kysely, Selectable } from "kysely";

/** The columns of schema.sql, and of its parts for one database, as Kysely sees them. */
export interface Tables {
  runs: {
    seq: number;
    run_id: string;
    run_type: string;
    status: string;
    source: string;
    organization_id: string | null;
    channel: string | null;
    workflow: string | null;
    title: string | null;
    received_at: number;
    list_item: string;
    state_receipt: string;
    state_bytes: number;
    artifacts_status: Generated<string>;
    artifacts: string | null;
    follow_up_at: number | null;
    follow_ups: Generated<number>;
  };
  receipts: {
    id: string;
    run_id: string | null;
    body_hash: string;
    body_bytes: number;
    verdict: string;
    note: string | null;
    routing: string | null;
    reported_status: string | null;
    source: string;
    channel: string | null;
    labels: string | null;
    key_name: string | null;
    sent_at: string | null;
    received_at: number;
    copies: number;
    last_received_at: number;
    block: Uint8Array | null;
  };
  deliveries: {
    id: string;
    subject_kind: string;
    subject_id: string;
    revision: number;
    sink: string;
    kind: string;
    cause: string;
    state: string;
    attempts: number;
    ended: number;
    throttled: number;
    next_attempt_at: number | null;
    maybe_sent: number;
    last_error: string | null;
    created_at: number;
    delivered_at: number | null;
    receipt: string | null;
    log: string | null;
    subject_at: number;
  };
  circuits: {
    sink: string;
    state: string;
    failures: number;
    openings: number;
    until: number | null;
    reason: string | null;
    last_success_at: number | null;
    last_failure_at: number | null;
  };
  listed_runs: {
    run_id: string;
    created_at: number;
    seen_at: number;
    targets_this_relay: number;
    settled: Generated<number>;
    dead: Generated<number>;
  };
  listed_run_counts: { day: number; count: number; dead: Generated<number> };
  archiving: { run_id: string; due_at: number; failures: number };
  copies: {
    run_id: string;
    artifact: string;
    sha256: string;
    type: string | null;
    bytes: number;
    copied_at: number;
  };
  discarded: { sha256: string; due_at: number };
  settings: { name: string; value: string };
  run_counts: { grain: string; start: number; status: string; count: number };
  delivery_counts: { sink: string; state: string; count: number };
  delivery_times: { grain: string; start: number; sink: string; bucket: number; count: number };
  run_hours: { hour: number; first_seq: number; last_seq: number };
  run_words: { rowid: number | null; words: string };
  /** Only on PostgreSQL. */
  paces: { destination: string; next_at: number };
  duties: { name: string; holder: string | null; until: number };
}

/** A connection or a transaction. */
export type Db = Kysely<Tables>;
export type DeliveryRow = Selectable<Tables["deliveries"]>;
