import type { ArtifactsStatus, Circuit, Delivery, DeliveryReceipt, Outcome, RunState } from "../../domain/run.ts";
import type { KnownArtifacts } from "./runs.ts";

/** The outbox: which deliveries are due, who holds them, what their attempts came to, and how the sinks are. */
export interface OutboxStore {
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
  /** Those that were saved, by sink. */
  circuits(): Promise<Map<string, Circuit>>;
  saveCircuit(sink: string, circuit: Circuit): Promise<void>;
  /**
   * Releases what this name has leased but those given: a claim was written whose answer never came, and nothing of it was attempted. Returns
   * how many. For several relays on one database only.
   */
  releaseUnconfirmed(holder: string, except: readonly string[], now: number): Promise<number>;
  /** When a destination may get its next message, epoch ms, perhaps past. For several relays on one database only. */
  slotAt(destination: string): Promise<number>;
  /** A destination asked for a pause: no relay sends to it until then. For several relays on one database only. */
  pause(destination: string, until: number): Promise<void>;
  /**
   * What processes that died had leased is due some ms from now: the first of `waitsMs` when one attempt of it was cut short, the second
   * when two were, and so on, the last for more; without, at once. Theirs whose names are given; without names everybody's, as at the
   * start of the only process on this database. Returns how many.
   */
  reclaimLeases(now: number, waitsMs?: readonly number[], holders?: readonly string[]): Promise<number>;
  /** Deliveries that wait at `now`, under nobody's lease, to sinks that are not configured any more become dead. Returns how many. */
  deadLetterOrphans(sinks: readonly string[], reason: string, now?: number): Promise<number>;
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

/** What Skyvern just listed for a run. */
export interface FoundArtifacts {
  runId: string;
  known: KnownArtifacts;
  /** When to ask again, epoch ms, unless that is planned or was given up; null does not plan it. */
  followUpAt: number | null;
}
