import type { Cause, DeliveryState, RunState, Source, Verdict } from "../../domain/run.ts";
import type { Json } from "../../platform/json.ts";

/** Receipts: taking bodies in with what is decided about their runs, and reading what was taken in. */
export interface ReceiptStore {
  /**
   * Takes receipts, in order: the same bytes again → `duplicate`; no run → `unrecognized`; else `decide` is asked, with what is known at that
   * moment, and its answer is written with the receipt. Answers in the order given. Throws DecisionCrashed when `decide` throws.
   */
  accept(items: readonly IncomingReceipt[]): Promise<Accepted[]>;
  /**
   * Takes an unrecognized receipt that is understood now, or a disputed one whose owner is known now, as if it had just been
   * settled. False when it is neither any more.
   */
  adopt(
    receiptId: string,
    reportedStatus: string,
    run: NonNullable<IncomingReceipt["run"]>,
    now: number,
  ): Promise<boolean>;
  /** Writes what is decided of a known run without a receipt. False when it is not known, or nothing was decided. */
  revise(runId: string, decide: (known: Known) => Decision | null, now: number): Promise<boolean>;
  /** Oldest first. */
  receipts(runId: string): Promise<Receipt[]>;
  /** Genuine bodies that were not understood, newest first. */
  unrecognizedReceipts(limit: number): Promise<Receipt[]>;
  /** The bytes as they were masked; null when the receipt is not known or retention removed them. */
  body(receiptId: string): Promise<Uint8Array | null>;
}

/** One authenticated body on its way in. */
export interface IncomingReceipt {
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
