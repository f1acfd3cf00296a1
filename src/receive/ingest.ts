import { hash } from "node:crypto";
import type { JsonObject } from "../json.ts";
import type { Source } from "../run.ts";
import { parsePayload } from "../skyvern/payload.ts";
import { asInWebhooks } from "../skyvern/webhook-numbers.ts";
import type { Accepted, Decide } from "../store/store.ts";
import { traceIdOf } from "../trace.ts";
import { revisionOf, traceReceipt } from "./tracing.ts";
import { runArrival, type ReceiveParts } from "./receive.ts";

export interface Origin {
  source: Source;
  /** Of the key that asked. */
  organization: string | null;
  channel: string | null;
}

/**
 * Feeds an answer of Skyvern's API (GET run) to the same use case as a webhook. Null when it is not understood. Rejects
 * with what the store could not do.
 */
export type Ingest = (answer: JsonObject, origin: Origin) => Promise<Accepted | null>;

/** `deliver: false` stores and settles, and tells nobody; what waits to be told is left as it is. */
export function createIngest(parts: ReceiveParts, { deliver }: { deliver: boolean } = { deliver: true }): Ingest {
  const { store, redact, runtime, log, metrics, nudge, trace = null } = parts;
  return async (answer, { source, organization, channel }) => {
    const text = JSON.stringify(asInWebhooks(answer));
    const masked = redact(text);
    const parsed = parsePayload(masked);
    if (parsed.kind !== "run") {
      log.warn("answer.not_understood", { source, reason: parsed.kind === "unknown" ? parsed.reason : parsed.kind });
      return null;
    }
    const receivedAt = runtime.now();
    const { payload } = parsed;
    const receipt = {
      id: runtime.newId("rcp"),
      bodyHash: hash("sha256", lasting(masked.text)),
      bodyBytes: Buffer.byteLength(text),
      body: Buffer.from(masked.text, "utf8"),
      source,
      channel,
      keyName: null,
      sentAt: null,
      reportedStatus: payload.status,
      receivedAt,
      note: null,
    };
    const run = runArrival(parts, payload, { receivedAt, source, channel, organization });
    const noted = revisionOf({ receipt, run: deliver ? run : { ...run, decide: quietly(run.decide) } });
    const [accepted] = await store.accept([noted.arrival]);
    if (!accepted) throw new Error("the store gave no answer for an arrival");
    if (accepted.deliveries > 0) nudge();
    metrics.ingested.inc({ source, verdict: accepted.verdict });
    const { verdict, note } = accepted;
    const times = { startedAt: receivedAt, finishedAt: runtime.now() };
    traceReceipt(trace, noted.arrival, accepted, { kind: "internal", revision: noted.revision(), ...times });
    log.info("run.ingested", {
      run_id: run.id,
      trace_id: traceIdOf(run.id),
      receipt_id: receipt.id,
      source,
      verdict,
      note,
      status: payload.status,
    });
    return accepted;
  };
}

const quietly =
  (decide: Decide): Decide =>
  (known) => {
    const decision = decide(known);
    const silenced = decision.deliveries.length > 0;
    return { ...decision, deliveries: [], cancel: [], routing: null, note: silenced ? UNTOLD : decision.note };
  };

const UNTOLD = "filled in without telling anybody";

/**
 * Every answer mints its URLs anew, for an hour or so. Without what gives them access and its time, the same run is the
 * same text, however often it is asked for.
 */
const lasting = (masked: string): string => masked.replace(/\?[^"\s?]*\[redacted\][^"\s]*/g, "");
