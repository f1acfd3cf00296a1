import type { ArtifactsStatus, Circuit, Delivery, DeliveryReceipt, Outcome, RunState } from "../../domain/run.ts";
import type { KnownArtifacts } from "./runs.ts";

/**
 * The outbox: deliveries that are due, who has leased them, what their attempts came to, and the state of the sinks.
 */
export interface OutboxStore {
  /** Leases due deliveries of one sink and counts an attempt for each. */
  claimDue(queue: Queue, claim: Claim): Promise<Claimed[]>;
  /** When the queue's next delivery is due, epoch ms, possibly in the past; null when none waits. */
  nextDue(queue: Queue, now: number): Promise<number | null>;
  /** Releases claims of deliveries whose attempt did not start: they are due as if they had not been claimed. */
  release(deliveryIds: readonly string[], now: number): Promise<void>;
  /**
   * Records what an attempt came to, its sink's circuit, and the artifacts it found. A delivered attempt cancels
   * pending updates and corrections of its run and sink whose revision it already showed, and their dead deliveries.
   * False when another claim has taken the lease meanwhile; the delivery is then left unchanged.
   */
  record(attempt: FinishedAttempt): Promise<boolean>;
  /**
   * Marks pending deliveries to a sink as dead that were attempted and were created before a given time. Returns their
   * ids.
   */
  expire(sink: string, createdBefore: number, reason: string): Promise<string[]>;
  /** Moves the due times of everything that waits forward by `byMs`, after the clock was set back. */
  shiftDue(byMs: number): Promise<void>;
  /** The saved circuits, by sink. */
  circuits(): Promise<Map<string, Circuit>>;
  saveCircuit(sink: string, circuit: Circuit): Promise<void>;
  /**
   * Releases what this holder has leased, except the given ids. It is for a claim that was written but whose answer
   * never came, so that nothing of it was attempted. Returns how many it released. For several relays on one database
   * only.
   */
  releaseUnconfirmed(holder: string, except: readonly string[], now: number): Promise<number>;
  /**
   * When a destination may get its next message, epoch ms, possibly in the past. For several relays on one database
   * only.
   */
  slotAt(destination: string): Promise<number>;
  /**
   * Records that a destination asked for a pause: no relay sends to it before `until`. For several relays on one
   * database only.
   */
  pause(destination: string, until: number): Promise<void>;
  /**
   * Reclaims what dead processes had leased. A delivery becomes due after the first of `waitsMs` when one of its
   * attempts was cut short, after the second when two were, and so on, with the last for all further ones; without
   * `waitsMs` it is due at once. `holders` names the dead processes; without it every lease is reclaimed, as at the
   * start of the only process on this database. Returns how many it reclaimed.
   */
  reclaimLeases(now: number, waitsMs?: readonly number[], holders?: readonly string[]): Promise<number>;
  /**
   * Marks deliveries as dead that wait at `now`, unleased, for sinks that are no longer configured. Returns how many.
   */
  deadLetterOrphans(sinks: readonly string[], reason: string, now?: number): Promise<number>;
}

/** The pending deliveries of one sink. */
export interface Queue {
  sink: string;
  /**
   * With a number the queue is ordered: deliveries go strictly in the order of arrival, one at a time. A delivery that
   * will be retried within `holdMs` holds up those behind it; one that waits longer lets them pass. With null, whatever
   * is due first goes first, side by side.
   */
  holdMs: number | null;
}

export interface Claim {
  now: number;
  leaseMs: number;
  limit: number;
  /** Deliveries this process is still attempting, in case their leases ran out because the clock jumped. */
  except: readonly string[];
  /** Set where several relays share the database. */
  shared?: SharedClaim;
}

/** Keeps relays on one database out of each other's way. */
export interface SharedClaim {
  /** The name of the relay in the lease. */
  holder: string;
  /** Claims nothing while any delivery to the sink is in flight: the claim is for a probe. */
  alone: boolean;
  /** The destination gets one message in `everyMs` from all relays together; 0 means no limit except pauses. */
  destination: string;
  everyMs: number;
}

export interface Claimed {
  delivery: Delivery;
  maybeSent: boolean;
  /** Attempts that the sink answered with a request to slow down. */
  throttled: number;
  /** Attempts whose process died before they ended. */
  cutShort: number;
  /** When the first finished attempt began, epoch ms; null before there is one. */
  firstTriedAt: number | null;
  state: RunState;
  /** How complete the run's artifact list is. */
  artifactsStatus: ArtifactsStatus;
  /** The receipt of the last delivered message about this run in this sink. */
  previous: DeliveryReceipt | null;
}

export interface FinishedAttempt {
  deliveryId: string;
  sink: string;
  /** The number of the attempt, from 1. */
  n: number;
  /** The revision that the message showed. */
  revision: number;
  startedAt: number;
  finishedAt: number;
  outcome: Outcome;
  /** Set for a retry. */
  nextAttemptAt: number | null;
  /** The sink's circuit after the attempt. */
  circuit: Circuit;
  /** What Skyvern listed for the run, to be saved in the same transaction. */
  found?: FoundArtifacts;
}

/** The artifacts that Skyvern just listed for a run. */
export interface FoundArtifacts {
  runId: string;
  known: KnownArtifacts;
  /** When to ask again, epoch ms, unless that is planned already or was given up; null plans nothing. */
  followUpAt: number | null;
}
