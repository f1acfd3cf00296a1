/**
 * The Store: named atomic operations. Each is all or nothing and durable when it resolves; none hands out a transaction,
 * so that a storage without interactive ones can implement it and nobody can wait for the network inside one.
 *
 * Every operation that writes rejects with a StorageFault when the storage cannot do it. Nothing is half-done then.
 */
import type { Json } from "../platform/json.ts";
import type { ChangesPage } from "./history/changes.ts";
import type {
  Artifact,
  ArtifactKey,
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
} from "../domain/run.ts";

/** The storage cannot be written or read: full, read-only, locked, gone. The same call may be made again. */
export class StorageFault extends Error {
  override readonly name = "StorageFault";
}

/** Code that decides what to write met a bug; `cause` is what it threw. Nothing was written. */
export class DecisionCrashed extends Error {
  override readonly name = "DecisionCrashed";
}

export interface Store {
  /** Leases due deliveries of one sink, counting an attempt for each. */
  claimDue(queue: Queue, claim: Claim): Promise<Claimed[]>;
  /** When the queue's next delivery is due, epoch ms, perhaps past; null when none waits. */
  nextDue(queue: Queue, now: number): Promise<number | null>;
  /** Releases claims of deliveries that were not begun: they are due as if they had not been claimed. */
  release(deliveryIds: readonly string[], now: number): Promise<void>;
  /**
   * Writes what an attempt came to, its sink's circuit, and the artifacts it found. A delivered one settles the waiting updates and corrections
   * of its run and sink that it told already: those are canceled. False when the lease was lost to another claim meanwhile:
   * the delivery is left as it is then.
   */
  record(attempt: FinishedAttempt): Promise<boolean>;
  /** Waiting deliveries to a sink that were created before a time become dead. Returns their ids. */
  expire(sink: string, createdBefore: number, reason: string): Promise<string[]>;
  /** Brings the due times of all that waits forward by so many ms: the clock was set back. */
  shiftDue(byMs: number): Promise<void>;
  circuits(): Promise<Map<string, Circuit>>;
  saveCircuit(sink: string, circuit: Circuit): Promise<void>;
  /**
   * Releases what this name has leased but those given: a claim was written whose answer never came, and nothing of it was attempted. Returns
   * how many. Only of several relays on one database.
   */
  releaseLost(holder: string, except: readonly string[], now: number): Promise<number>;
  /** When a destination may get its next message, epoch ms, perhaps past. Likewise. */
  slotAt(destination: string): Promise<number>;
  /** A destination asked for a pause: no relay sends to it until then. Likewise. */
  pause(destination: string, until: number): Promise<void>;
  /**
   * What processes that died had leased is due some ms from now: the first of `waitsMs` when one attempt of it was cut short, the second
   * when two were, and so on, the last for more; without, at once. Theirs whose names are given; without names everybody's, as at the
   * start of the only process on this database. Returns how many.
   */
  takeOver(now: number, waitsMs?: readonly number[], holders?: readonly string[]): Promise<number>;
  /** Deliveries that wait at `now`, under nobody's lease, to sinks that are not configured any more become dead. Returns how many. */
  buryOrphans(sinks: readonly string[], reason: string, now?: number): Promise<number>;
  /**
   * For each delivery that fits and is the last one of its run and sink, oldest first, one new delivery of the run's
   * current revision to the same sink, unless that one still waits. What was sent again since is so left out, and calling
   * again goes on. Returns how many: no more than there are ids for them.
   */
  redeliverAll(filter: DeliveryFilter, ids: readonly string[], now: number): Promise<number>;
  /** How many {@link Store.redeliverAll} would make of that many ids. */
  redeliverable(filter: DeliveryFilter, limit: number): Promise<number>;
  /** Writes what a test of a sink came to, as a delivery that is over. It belongs to no run. */
  saveTest(test: FinishedTest): Promise<Delivery>;
  /** New deliveries of a run's current revision, cause `redelivery`. Null when the run is not known. */
  redeliver(runId: string, deliveries: readonly NewDelivery[], now: number): Promise<Delivery[] | null>;

  artifacts(runId: string): Promise<KnownArtifacts>;
  /** `followUpAt`: as of {@link FoundArtifacts}. */
  saveArtifacts(runId: string, known: KnownArtifacts, followUpAt: number | null): Promise<void>;

  run(runId: string): Promise<StoredRun | null>;
  /** What is wrong with a search that asks for too many words, said of the search. Null: nothing. Lists are asked after this only. */
  searchFault(search: Search): Promise<string | null>;
  /**
   * Makes the words of the next `limit` runs anew, where another release made them by another rule. Returns how many runs there were, up to the
   * limit; 0 when all words are this release's.
   */
  rebuildWords(limit: number): Promise<number>;
  /** Gives so many pages back that nothing uses any more. Returns how many. Does nothing where the database sees to it by itself. */
  shrink(pages: number): Promise<number>;
  /** Newest first. Fewer than asked for when they are large: some megabytes at one time. */
  runs(filter: RunFilter, page: Page): Promise<RunPage>;
  /** The same runs, of each what lists show and no more, however large it is; all that were asked for. */
  briefs(filter: RunFilter, page: Page): Promise<RunBrief[]>;
  /** Oldest first. */
  receipts(runId: string): Promise<Receipt[]>;
  /** Genuine bodies that were not understood, newest first. */
  unrecognizedReceipts(limit: number): Promise<Receipt[]>;
  body(receiptId: string): Promise<Uint8Array | null>;
  /** Newest first; of one run: oldest first, with its attempts. */
  deliveries(filter: DeliveryFilter, page: Page): Promise<Delivery[]>;
  delivery(deliveryId: string): Promise<Delivery | null>;
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
  unfinished(since: number, limit: number): Promise<{ runId: string; organization: string | null }[]>;
  /** Notes final runs of Skyvern's own list. One that is mine stays mine. */
  sight(runs: readonly Sighting[]): Promise<void>;
  /** By day (UTC) of creation at Skyvern: final runs seen there that are mine, and those of them that were relayed. */
  coverage(since: number, until: number): Promise<Coverage[]>;
  /** The same of whole days, those that begin in a span, at a cost that grows with what is not relayed only. */
  dailyCoverage(since: number, until: number): Promise<Coverage[]>;
  /** Of those created since a time and seen before another, the ones that were not relayed, oldest first. */
  unrelayed(query: { since: number; seenBefore: number; limit: number }): Promise<string[]>;

  /** Runs whose artifacts are to be copied now, the longest due first. */
  dueArchiving(now: number, limit: number): Promise<Archiving[]>;
  /** Sets when to try again; null: done. Does nothing when the run was queued anew meanwhile. */
  setArchiving(archiving: Archiving, next: { at: number; failures: number } | null): Promise<void>;
  /** Notes a copy, in place of an older one of the same artifact. */
  saveCopy(copy: Copy): Promise<void>;
  copies(runId: string): Promise<Copy[]>;
  copy(runId: string, key: ArtifactKey): Promise<Copy | null>;
  /** Bytes of all copies together, equal ones counted once. */
  copiedBytes(): Promise<number>;
  /** The sha256 of bytes that no copy needs any more, due now. One that a copy is saved of again is none. */
  discarded(now: number, limit: number): Promise<string[]>;
  /** Sets when to try again to remove the bytes; null: they are gone. */
  setDiscarded(sha256: string, at: number | null): Promise<void>;

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
  pruneSightings(step: PruneStep): Promise<Pruned>;

  backlog(): Promise<Backlog[]>;
  /** Counts of deliveries by sink and state, and of unrecognized receipts. */
  counts(): Promise<Counts>;
  /** Runs received in the hours or days (UTC) that begin in a span. */
  runCounts(grain: Grain, since: number, until: number): Promise<Statistics["runs"]>;
  /** The same, and how long deliveries took that arrived, in the hours or days (UTC) that begin in a span. */
  statistics(grain: Grain, since: number, until: number): Promise<Statistics>;
  /** How long deliveries took that arrived, for each hour or day (UTC) that begins in a span, oldest first. */
  deliveryTimes(grain: Grain, since: number, until: number): Promise<DeliveryTimes[]>;
  /** The id of the last change; those that come are behind it. */
  lastChange(): string;
  /** What changed after an id, in the order of commits. */
  changes(page: { after: string; limit: number }): ChangesPage;
  /** What Skyvern's own list said of a run. */
  sighting(runId: string): Promise<Omit<Sighting, "runId"> | null>;
  /** Resolves when a write was made durable. */
  ping(now: number): Promise<void>;
  /** The value stored under a name, or the one given, stored first if there was none. */
  setting(name: string, initial: string): Promise<string>;
  saveSetting(name: string, value: string): Promise<void>;
  close(): Promise<void>;
}

/** What is decided by code, within the transaction that writes it. */
export interface Deciding {
  /**
   * Takes receipts, in order, each (throws DecisionCrashed when `decide` throws): the same bytes again → `duplicate`; no run → `unrecognized`; else `decide` is asked, with what
   * is known at that moment, and its answer is written with the receipt. Answers in the order given.
   */
  accept(items: readonly Arrival[]): Promise<Accepted[]>;

  /**
   * Takes an unrecognized receipt that is understood now, as if it had just been settled. False when it is no longer an unrecognized one.
   */
  adopt(receiptId: string, reportedStatus: string, run: NonNullable<Arrival["run"]>, now: number): Promise<boolean>;
  /** Writes what is decided of a known run without a receipt. False when it is not known, or nothing was decided. */
  revise(runId: string, decide: (known: Known) => Decision | null, now: number): Promise<boolean>;
}

/** One authenticated body on its way in. */
export interface Arrival {
  receipt: NewReceipt;
  /** Null: genuine but not understood. */
  run: { id: string; decide: Decide } | null;
}

export interface NewReceipt {
  id: string;
  /** sha256, hex, of the body as masked: nothing that is stored can be computed back to what was masked. */
  bodyHash: string;
  /** Masked. */
  body: Uint8Array;
  source: Source;
  channel: string | null;
  keyName: string | null;
  sentAt: string | null;
  reportedStatus: string | null;
  receivedAt: number;
  /** Why it was not recognized. */
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
  /** When to copy the run's artifacts into the archive; undefined leaves it as it is. */
  archiveAt?: number;
}

export interface NewDelivery {
  id: string;
  sink: string;
  kind: string;
  cause: Cause;
}

export interface Accepted {
  verdict: Verdict;
  /** Null for an unrecognized receipt. */
  runId: string | null;
  note: string | null;
  /** What the run came to; null when nothing was decided: the same bytes again, or no run. */
  revision: number | null;
  /** Those that were made. */
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
  /** Where several relays share the database. */
  shared?: SharedClaim;
}

/** What keeps relays on one database out of each other's way. */
export interface SharedClaim {
  /** The relay's, to be known by in the lease. */
  holder: string;
  /** Nothing if any delivery to the sink is under way: the claim is for a probe. */
  alone: boolean;
  /** One message in `everyMs` goes there, whoever sends it; 0: no limit but pauses. */
  destination: string;
  everyMs: number;
}

export interface Claimed {
  delivery: Delivery;
  maybeSent: boolean;
  /** Attempts that were only told to slow down. */
  throttled: number;
  /** Attempts whose end nobody saw: their process died. */
  cutShort: number;
  /** When its first attempt began whose end was seen, epoch ms; null before. */
  firstTriedAt: number | null;
  state: RunState;
  /** What is known of the run's artifacts. */
  artifactsStatus: ArtifactsStatus;
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
  /** What Skyvern listed for it, to be saved as well. */
  found?: FoundArtifacts;
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

export interface KnownArtifacts {
  artifacts: Artifact[];
  status: ArtifactsStatus;
}

/** What Skyvern just listed for a run. */
export interface FoundArtifacts {
  runId: string;
  known: KnownArtifacts;
  /** When to ask again, epoch ms, unless that is planned or was given up; null does not plan it. */
  followUpAt: number | null;
}

/** A run whose artifacts are to be copied. */
export interface Archiving {
  runId: string;
  dueAt: number;
  /** In a row. */
  failures: number;
}

/** An artifact that the archive holds. */
export interface Copy {
  runId: string;
  key: ArtifactKey;
  /** Hex. */
  sha256: string;
  /** Of a picture or film, by its first bytes. */
  type: string | null;
  bytes: number;
  copiedAt: number;
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

/** A run in a list. No text is longer than some 240 characters but the id. */
export interface RunBrief {
  run_id: string;
  status: string;
  run_type: string;
  /** Title, else prompt. */
  title: string | null;
  channel: string | null;
  /** Permanent id. */
  workflow: string | null;
  /** Host of the page it began at. */
  site: string | null;
  /** Why it failed. */
  reason: string | null;
  duration_ms: number | null;
  received_at: number;
  /** The newest delivery to each sink, by the sink's name. */
  told: { sink: string; state: DeliveryState }[];
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
  /** Runs that hold all of it. */
  search?: Search;
}

/** What is looked for: every term. A term is words in a row (text-words.ts), one at least; `prefix`: the last of them may go on. */
export type Search = readonly { words: readonly string[]; prefix: boolean }[];

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

export interface RunPage {
  runs: StoredRun[];
  /** What the next page comes after; null on the last one. */
  next: NonNullable<Page["after"]> | null;
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

export interface Counts {
  deliveries: { sink: string; state: string; count: number }[];
  unrecognized: number;
}

export type Grain = "hour" | "day";

export interface Statistics {
  /** By the time of their first receipt, oldest first; what is 0 is left out. */
  runs: { start: number; status: string; count: number }[];
  /** Times from outbox to sink, in the buckets of `latency.ts`. */
  times: { sink: string; bucket: number; count: number }[];
}

/** Of the deliveries to a sink that arrived in one hour or day: how many took as long as one bucket of `latency.ts` holds. */
export interface DeliveryTimes {
  start: number;
  sink: string;
  bucket: number;
  count: number;
}
