/** What the page of one run shows. */
import type { Report } from "../../domain/report.ts";
import type { ArtifactKey, Circuit, Delivery } from "../../domain/run.ts";
import type { Attempt } from "../../store/contract/deliveries.ts";
import type { Receipt } from "../../store/contract/receipts.ts";
import type { StoredRun } from "../../store/contract/runs.ts";
import type { Session } from "../login/session.ts";

export interface RunView {
  stored: StoredRun;
  /** Links lead to the relay under the address at which it is being read. */
  report: Report;
  receipts: readonly Receipt[];
  /** Newest first. */
  deliveries: readonly Delivery[];
  attempts: readonly Attempt[];
  sinks: readonly { name: string; kind: string }[];
  /** By sink. */
  circuits: ReadonlyMap<string, Circuit>;
  session: Session;
  /** How many deliveries were queued, or artifacts found, when a button was just pressed. */
  queued: number | null;
  refreshed: number | null;
  /** The id of the last change that the page shows. */
  event: string;
  link(key: ArtifactKey): string;
}
