/** The latest changes in the store, for readers that follow them. */
import type { Delivery } from "../../domain/run.ts";

/** `delivery` is the delivery's new state; null means only its id is known, so it must be read. */
export type Change = { kind: "run"; id: string } | { kind: "delivery"; id: string; delivery: Delivery | null };

/** A change as other processes announce it. */
export interface ChangedId {
  kind: Change["kind"];
  id: string;
}

export interface ChangesPage {
  /** Oldest first, each with the id to continue after. */
  changes: { at: string; change: Change }[];
  /** The id to continue after. */
  last: string;
  /** False: the changes after the given id are no longer known. */
  isKnown: boolean;
}
