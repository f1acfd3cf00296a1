/** What changed in the store lately, for whoever follows it. */
import type { Delivery } from "../../domain/run.ts";

/** A delivery is as it became; null where only its id is known: it is to be read. */
export type Change = { kind: "run"; id: string } | { kind: "delivery"; id: string; delivery: Delivery | null };

/** A change as other processes tell it. */
export interface ChangedId {
  kind: Change["kind"];
  id: string;
}

export interface ChangesPage {
  /** Oldest first, each with the id to go on after. */
  changes: { at: string; change: Change }[];
  /** The id to go on after. */
  last: string;
  /** False: what came after the id that was named is not known any more. */
  isKnown: boolean;
}
