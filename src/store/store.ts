/**
 * The Store: named atomic operations. Each is all or nothing and durable when it resolves; none hands out a transaction,
 * so that a storage without interactive ones can implement it and nobody can wait for the network inside one.
 *
 * Every operation that writes rejects with a StorageFault when the storage cannot do it. Nothing is half-done then.
 */
import type { Json } from "../json.ts";
import type {
  Artifact,
  ArtifactsStatus,
  Cause,
  Circuit,
  Delivery,
  DeliveryReceipt,
  DeliveryState,
  Outcome,
  RunState,
  Source,
  Verdict,
} from "../run.ts";

/** The storage cannot be written or read: full, read-only, locked, gone. The same call may be made again. */
export class StorageFault extends Error {
  override readonly name = "StorageFault";
}

export interface Store {
  /**
   * Takes receipts, in order, each: the same bytes again → `duplicate`; no run → kept; else `decide` is asked, with what
   * is known at that moment, and its answer is written with the receipt. Answers in the order given.
   */
  accept(items: readonly Arrival[]): Promise<Accepted[]>;

  /**
   * Takes a kept receipt that is understood now, as if it had just been settled. False when it is no longer a kept one.
   */
  adopt(receiptId: string, reportedStatus: string, run: NonNullable<Arrival["run"]>, now: number): Promise<boolean>;

  /** Leases due deliveries of one sink, counting an attempt for each. */
  claimDue(queue: Queue, claim: Claim): Promise<Claimed[]>;
  /** When the next delivery of the queue is due, epoch ms, perhaps past; null when nothing waits that could be. */
  nextDueAt(queue: Queue, now: number): Promise<number | null>;
  /**
   * Writes what an attempt came to, and its sink's circuit. A delivered one settles the waiting updates and corrections
   * of its run and sink that it told already: those are canceled. False when the lease was lost to another claim meanwhile: only
   * the circuit is written then.
   */
  record(attempt: FinishedAttempt): Promise<boolean>;
  /** Waiting deliveries to a sink that were created before a time become dead. Returns their ids. */
  expire(sink: string, createdBefore: number, reason: string): Promise<string[]>;
  /** Brings the due times of all that waits forward by so many ms: the clock was set back. */
  shiftDue(byMs: number): Promise<void>;
  circuits(): Promise<Map<string, Circuit>>;
  saveCircuit(sink: string, circuit: Circuit): Promise<void>;
  /** At the start of the only process on this database: leases of a process that died are due at once. Returns how many. */
  takeOver(now: number): Promise<number>;
  /** Waiting deliveries to sinks that are not configured any more become dead. Returns how many. */
  buryOrphans(sinks: readonly string[], reason: string): Promise<number>;
  /**
   * For each delivery that fits, oldest first, one new delivery of its run's current revision to the same sink, unless one
   * waits for that run and sink already. Returns how many; with `dryRun` how many it would be, and makes none.
   */
  redeliverAll(
    filter: DeliveryFilter,
    make: (delivery: { sink: string; kind: string }) => NewDelivery,
    options: { now: number; limit: number; dryRun: boolean },
  ): Promise<number>;
  /** New deliveries of a run's current revision, cause `redelivery`. Null when the run is not known. */
  redeliver(runId: string, deliveries: readonly NewDelivery[], now: number): Promise<Delivery[] | null>;

  /** Writes what is decided of a known run without a receipt. False when it is not known, or nothing was decided. */
  revise(runId: string, decide: (known: Known) => Decision | null, now: number): Promise<boolean>;
  artifacts(runId: string): Promise<KnownArtifacts>;
  saveArtifacts(runId: string, known: KnownArtifacts): Promise<void>;

  run(runId: string): Promise<StoredRun | null>;
  /** Newest first. */
  runs(filter: RunFilter, page: Page): Promise<StoredRun[]>;
  /** Oldest first. */
  receipts(runId: string): Promise<Receipt[]>;
  /** Genuine bodies that were not understood, newest first. */
  keptReceipts(limit: number): Promise<Receipt[]>;
  body(receiptId: string): Promise<Uint8Array | null>;
  /** Newest first; of one run: oldest first, with its attempts. */
  deliveries(filter: DeliveryFilter, page: Page): Promise<Delivery[]>;
  attempts(deliveryIds: readonly string[]): Promise<Attempt[]>;

  /** Runs that are to be looked at again now, the longest due first. */
  dueFollowUps(now: number, limit: number): Promise<{ run: StoredRun; failures: number }[]>;
  /** When the next one is due, epoch ms; null when none is. */
  nextFollowUpAt(): Promise<number | null>;
  /** Sets when a run is to be looked at again; null: no more. */
  setFollowUp(runId: string, at: number | null, failures: number): Promise<void>;
  /** What is known of these runs. */
  outcomes(runIds: readonly string[]): Promise<Map<string, KnownOutcome>>;
  /** Runs received since a time that are not final, oldest first. */
  unfinished(since: number, limit: number): Promise<string[]>;
  /** Notes final runs of Skyvern's own list. One that is mine stays mine. */
  sight(runs: readonly Sighting[]): Promise<void>;
  /** By day (UTC) of creation at Skyvern: final runs seen there that are mine, and those of them that were relayed. */
  coverage(since: number, until: number): Promise<Coverage[]>;

  backlog(): Promise<Backlog[]>;
  /** Counts of deliveries by sink and state, and of kept receipts. */
  counts(): Promise<{ deliveries: { sink: string; state: string; count: number }[]; kept: number }>;
  /** Resolves when a write was made durable. */
  ping(now: number): Promise<void>;
  /** The value stored under a name, or the one given, stored first if there was none. */
  setting(name: string, initial: string): Promise<string>;
  close(): Promise<void>;
}

/** One authenticated body on its way in. */
export interface Arrival {
  receipt: NewReceipt;
  /** Null: genuine but not understood. */
  run: { id: string; decide: Decide } | null;
}

export interface NewReceipt {
  id: string;
  /** sha256, hex, of the bytes as received. */
  bodyHash: string;
  bodyBytes: number;
  /** The bytes, masked. */
  body: Uint8Array;
  source: Source;
  channel: string | null;
  keyName: string | null;
  sentAt: string | null;
  reportedStatus: string | null;
  receivedAt: number;
  /** Why it was kept. */
  note: string | null;
}

/** Pure: called inside the transaction, perhaps more than once. */
export type Decide = (known: Known | null) => Decision;

export interface Known {
  state: RunState;
  deliveries: { id: string; sink: string; state: DeliveryState; attempts: number }[];
}

export interface Decision {
  verdict: Verdict;
  note: string | null;
  /** What each route said, when sinks were chosen. */
  routing: Json;
  state: RunState;
  deliveries: NewDelivery[];
  /** Waiting deliveries that the new ones make needless. */
  cancel: string[];
  /** When to ask Skyvern what the payload could not say; undefined leaves it as it is. */
  followUpAt?: number;
}

export interface NewDelivery {
  id: string;
  sink: string;
  kind: string;
  cause: Cause;
}

export interface Accepted {
  verdict: Verdict;
  /** Null for what was kept. */
  runId: string | null;
  note: string | null;
  deliveries: number;
}

/** What waits for one sink. */
export interface Queue {
  sink: string;
  /**
   * Ordered: strictly in the order of arrival, one at a time. One that is to be tried again within `holdMs` holds up those
   * behind it; one that waits longer lets them pass. Without: what is due first goes first, side by side.
   */
  holdMs: number | null;
}

export interface Claim {
  now: number;
  leaseMs: number;
  limit: number;
  /** Deliveries this process still works on, should their leases have run out by a clock that jumped. */
  except: readonly string[];
}

export interface Claimed {
  delivery: Delivery;
  maybeSent: boolean;
  /** Attempts that were only told to slow down. */
  throttled: number;
  state: RunState;
  /** Receipt of the last delivered message about this run in this sink. */
  previous: DeliveryReceipt | null;
}

export interface FinishedAttempt {
  deliveryId: string;
  sink: string;
  /** Which attempt, from 1. */
  n: number;
  /** The revision it told. */
  revision: number;
  startedAt: number;
  finishedAt: number;
  outcome: Outcome;
  /** Of a retry. */
  nextAttemptAt: number | null;
  /** The sink's circuit after it. */
  circuit: Circuit;
}

export interface KnownArtifacts {
  artifacts: Artifact[];
  status: ArtifactsStatus;
}

export interface KnownOutcome {
  status: string;
  reportedStatus: string;
}

export interface Sighting {
  runId: string;
  createdAt: number;
  seenAt: number;
  mine: boolean;
}

/** `day`: its first millisecond. Relayed: settled, and no delivery waits or is dead. */
export interface Coverage {
  day: number;
  seen: number;
  relayed: number;
}

export interface StoredRun extends KnownArtifacts {
  state: RunState;
}

export interface RunFilter {
  status?: readonly string[];
  run_type?: readonly string[];
  /** Permanent ids or titles. */
  workflow?: readonly string[];
  organization?: readonly string[];
  channel?: readonly string[];
  source?: readonly string[];
  /** Runs with a delivery to one of these sinks… */
  sink?: readonly string[];
  /** …or in one of these states; both must hold of the same delivery. */
  delivery?: readonly string[];
  since?: number;
  until?: number;
}

export interface DeliveryFilter {
  state?: readonly string[];
  sink?: readonly string[];
  runId?: string;
  since?: number;
  until?: number;
}

/** Keyset paging: rows older than the one named. */
export interface Page {
  limit: number;
  after?: { at: number; id: string };
}

export interface Receipt {
  id: string;
  run_id: string | null;
  verdict: Verdict;
  note: string | null;
  routing: Json;
  reported_status: string | null;
  source: Source;
  channel: string | null;
  key_name: string | null;
  body_hash: string;
  body_bytes: number;
  sent_at: string | null;
  received_at: number;
  copies: number;
  last_received_at: number;
}

export interface Attempt {
  delivery_id: string;
  n: number;
  started_at: number;
  finished_at: number;
  outcome: Outcome["kind"];
  reason: string | null;
}

export interface Backlog {
  sink: string;
  waiting: number;
  /** `created_at` of the oldest delivery not yet delivered, epoch ms. */
  oldest: number;
}
