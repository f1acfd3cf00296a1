import type { Cause, Delivery, Run, RunState, Source, Verdict } from "../../domain/run.ts";
import type { Json } from "../../platform/json.ts";
import type { Page } from "./runs.ts";

/** Receipts: accepting bodies together with what they mean for their runs, and reading them back. */
export interface ReceiptStore {
  /**
   * Accepts receipts in order. The same bytes again become `duplicate`; a receipt without a run becomes `unrecognized`;
   * for any other, `decide` gets what is known at that moment, and its decision is written with the receipt. The
   * answers come in the order given. Throws DecisionCrashed when `decide` throws.
   */
  accept(items: readonly IncomingReceipt[]): Promise<Accepted[]>;
  /**
   * Takes in a stored receipt, as if it had just been settled: an unrecognized one that is understood now, or a
   * disputed one whose owner is known now. False when it is neither any more.
   */
  adopt(
    receiptId: string,
    reportedStatus: string,
    run: NonNullable<IncomingReceipt["run"]>,
    now: number,
  ): Promise<boolean>;
  /** Writes a decision about a known run without a receipt. False when the run is not known or nothing was decided. */
  revise(runId: string, decide: (known: Known) => Decision | null, now: number): Promise<boolean>;
  /** Null when it is not known. */
  receipt(id: string): Promise<Receipt | null>;
  /** The receipts of a run, oldest first. */
  receipts(runId: string): Promise<Receipt[]>;
  /** Verified bodies that were not recognized as a run, newest first unless `oldestFirst`. */
  unrecognizedReceipts(page: Page & { oldestFirst?: boolean }): Promise<Receipt[]>;
  /** The bytes, masked; null when the receipt is not known or retention removed them. */
  body(receiptId: string): Promise<Uint8Array | null>;
}

/** One authenticated body on its way in. */
export interface IncomingReceipt {
  receipt: {
    id: string;
    /** The sha256 of the masked body, in hex: nothing stored can be computed back to what was masked. */
    bodyHash: string;
    /** Masked bytes. */
    body: Uint8Array;
    source: Source;
    channel: string | null;
    /** The stored body has the query of its address masked. */
    labels: Run["labels"];
    keyName: string | null;
    sentAt: string | null;
    reportedStatus: string | null;
    receivedAt: number;
    /** Why the body was not recognized. */
    note: string | null;
  };
  /** Null when the body was not recognized as a run. */
  run: { id: string; decide: Decide } | null;
}

/** Decides what a receipt means for its run. Pure: the transaction may call it more than once. */
export type Decide = (known: Known | null) => Decision;

export interface Known {
  state: RunState;
  /** Oldest first. */
  deliveries: KnownDelivery[];
}

/** `maybe_sent`: 1 when an attempt's answer was lost, so that the message may show another outcome than `revision`. */
export type KnownDelivery = Pick<Delivery, "id" | "subject" | "revision" | "sink" | "kind" | "state" | "attempts"> & {
  maybe_sent?: number;
};

export interface Decision {
  verdict: Verdict;
  note: string | null;
  /** The trace of the routes, when sinks were chosen. */
  routing: Json;
  state: RunState;
  deliveries: NewDelivery[];
  /** Ids of pending deliveries that the new ones replace. */
  cancel: string[];
  /** When to ask Skyvern for what the payload did not say; undefined leaves the plan as it is. */
  followUpAt?: number;
  /** When to copy the run's artifacts into the archive; undefined leaves the plan as it is. */
  archiveAt?: number;
}

export interface NewDelivery {
  id: string;
  sink: string;
  kind: string;
  cause: Cause;
  /** The number of the run attempt that it is about; absent: it is about the run. */
  runAttempt?: number;
}

export interface Accepted {
  /** The id under which the receipt came. The same bytes again are counted at the first one, and have no row. */
  receiptId: string;
  reportedStatus: string | null;
  /** The length of the stored body: that of the received one would reveal how long its secrets are. */
  bytes: number;
  verdict: Verdict;
  /** Null for an unrecognized receipt. */
  runId: string | null;
  note: string | null;
  /** The run's revision after the receipt; null when nothing was decided: the same bytes again, or no run. */
  revision: number | null;
  /** How many deliveries the receipt created. */
  deliveries: number;
  /** How many routes matched; null when no sinks were chosen. */
  matchedRoutes: number | null;
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
  labels: Run["labels"];
  key_name: string | null;
  body_hash: string;
  body_bytes: number;
  sent_at: string | null;
  received_at: number;
  copies: number;
  last_received_at: number;
}
