import { createHmac, type KeyObject } from "node:crypto";
import type { Alert } from "../../domain/alert.ts";
import type { Job } from "../sink.ts";

/**
 * Renders the body `{"type":"run.<status>","timestamp":…,"data":<report>}`, with the type `run.attempt_failed` for a
 * run attempt. Numbers keep their digits.
 */
export const renderBody = ({ report, attemptEventId }: Pick<Job, "report" | "attemptEventId">): string =>
  JSON.stringify({
    type: attemptEventId === undefined ? `run.${report.status}` : "run.attempt_failed",
    timestamp: report.finished_at ?? report.received_at,
    data: report,
  });

/** Renders the body of an alert: `{"type":"relay.alert","timestamp":…,"data":<alert>}`. */
export const renderAlertBody = (alert: Alert, timestamp: string): string =>
  JSON.stringify({ type: "relay.alert", timestamp, data: alert });

export interface Signed {
  /** `webhook-id` */
  id: string;
  /** `webhook-timestamp`: unix seconds of the attempt. */
  timestamp: number;
  /** Exactly what is sent. */
  body: string | Uint8Array;
}

/** Returns the `webhook-signature` header: one `v1,<base64>` per key, separated by spaces; null without a key. */
export function sign({ id, timestamp, body }: Signed, keys: readonly KeyObject[]): string | null {
  const signatures = keys.map((key) =>
    createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64"),
  );
  return signatures.length === 0 ? null : signatures.map((signature) => `v1,${signature}`).join(" ");
}
