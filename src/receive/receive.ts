import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Verdict } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import { traceIdOf, type Trace } from "../telemetry/trace.ts";
import type { Accepted } from "../store/contract/receipts.ts";
import { whyNoDelivery } from "./no-delivery.ts";
import type { Intake, IntakeResult } from "./intake.ts";
import { traceReceipt } from "../telemetry/receipt-span.ts";
import {
  MAX_UNSIGNED_BYTES,
  precheckBody,
  verify,
  type Precheck,
  type SignatureFault,
  type VerifiedBody,
  type VerifyKey,
} from "./verify.ts";

export interface Incoming {
  bytes: Buffer;
  /** `x-skyvern-signature` */
  signature: string | null;
  /** `x-skyvern-timestamp`: stored, never trusted. */
  sentAt: string | null;
  channel: string | null;
  /** The query of the address it came to; null: none. */
  query: string | null;
  /** The address of the sender. */
  from: string;
}

export type Received =
  | { kind: "refused"; reason: SignatureFault }
  /** No key signed it, and of a body that large Skyvern is not asked. */
  | { kind: "too_large"; limit: number }
  /** Genuine, but Skyvern asks for a one-time code. */
  | { kind: "totp" }
  /** Skyvern's test button was pressed: nothing is stored, and these sinks get a test message. */
  | { kind: "test"; runId: string; sinks: string[] }
  /** On disk. `runId` is null when the webhook is unrecognized. */
  | { kind: "accepted"; verdict: Verdict; runId: string | null }
  /** Not on disk, nothing half-done: come again. */
  | { kind: "unavailable" };

/** What asking Skyvern about a body that no key signed led to. */
export type Confirmed =
  | { kind: "accepted"; accepted: Accepted }
  /** Skyvern said that it knows no such run of ours. */
  | { kind: "refused" }
  /** Skyvern could not be asked, or too much was asked for: come again. */
  | { kind: "unavailable" };

/** Asks Skyvern about the run that an unsigned body names. `from` is the sender's address. */
export type Confirm = (bytes: Buffer, from: string) => Promise<Confirmed>;

export interface ReceiveDeps {
  /** Those that verify now: a key that is taken away counts no more, also for a body that is being read. */
  keys(): readonly VerifyKey[];
  intake: Intake;
  runtime: Pick<Runtime, "now">;
  log: Log;
  metrics: Metrics;
  /** Null or absent when no traces are collected. */
  trace?: Trace;
  /** Called when deliveries were queued. */
  nudge(): void;
  /** Begins to send a test message through a sink. */
  tryOut(sink: string): void;
}

export interface Receiver {
  precheck(signature: string | null): Precheck;
  receive(incoming: Incoming): Promise<Received>;
  /** Counts a webhook that was not read, because too many came at one time. */
  overloaded(): void;
}

/**
 * The use case: verify → (the intake) mask → parse → normalize → settle → route → commit. It answers only after the
 * commit. `confirm` asks Skyvern about a run whose webhook no key signed; null refuses such webhooks.
 */
export function createReceiver(deps: ReceiveDeps, confirm: Confirm | null): Receiver {
  const { metrics } = deps;
  const refusal = (reason: SignatureFault): SignatureFault => {
    metrics.webhooks.inc({ result: reason });
    return reason;
  };
  return {
    precheck: (signature) => {
      const checked = precheckBody(signature, confirm !== null);
      if (checked.refused !== null) refusal(checked.refused);
      return checked;
    },
    receive: async (incoming) => {
      const body = verify(incoming.bytes, incoming.signature, deps.keys());
      if (typeof body === "string")
        return (await confirmed(deps, confirm, incoming)) ?? { kind: "refused", reason: refusal(body) };
      return receiveVerified(deps, body, incoming);
    },
    overloaded: () => metrics.webhooks.inc({ result: "overloaded" }),
  };
}

/** The result of Skyvern's own answer about the run; null when it has none that counts. */
async function confirmed(
  { metrics, log }: ReceiveDeps,
  confirm: Confirm | null,
  { bytes, from }: Incoming,
): Promise<Received | null> {
  if (!confirm) return null;
  if (bytes.length > MAX_UNSIGNED_BYTES) return { kind: "too_large", limit: MAX_UNSIGNED_BYTES };
  try {
    const answer = await confirm(bytes, from);
    if (answer.kind === "refused") return null;
    metrics.webhooks.inc({
      result: answer.kind === "accepted" ? `confirmed_${answer.accepted.verdict}` : "unconfirmed",
    });
    if (answer.kind === "unavailable") return { kind: "unavailable" };
    return { kind: "accepted", verdict: answer.accepted.verdict, runId: answer.accepted.runId };
  } catch (error) {
    log.error("webhook.not_stored", { result: "storage_failed", error: String(error) });
    return { kind: "unavailable" };
  }
}

async function receiveVerified(
  deps: ReceiveDeps,
  body: VerifiedBody,
  { sentAt, channel, query }: Incoming,
): Promise<Received> {
  const { intake, log, metrics, trace = null } = deps;
  const startedAt = performance.now();
  const { bytes, key: keyName, organization } = body;
  const about = { key: keyName, channel };
  try {
    const receivedAt = deps.runtime.now();
    const result = await intake.webhook({ bytes, keyName, organization, channel, query, sentAt, receivedAt });
    if (result.kind === "failed") return unstored(deps, result.error);
    if (result.kind === "totp") {
      metrics.webhooks.inc({ result: "totp" });
      log.warn("webhook.totp_request", { key: keyName, hint: "a totp_url points at the relay; it has no codes" });
      return { kind: "totp" };
    }
    if (result.kind === "test") {
      metrics.webhooks.inc({ result: "test" });
      log.info("webhook.test", { run_id: result.runId, key: keyName, channel, sinks: result.sinks });
      for (const sink of result.sinks) deps.tryOut(sink);
      return result;
    }
    const { accepted, crashed } = result;
    if (accepted.deliveries > 0) deps.nudge();
    metrics.webhooks.inc({ result: accepted.verdict });
    metrics.receiveSeconds.observe((performance.now() - startedAt) / 1000);
    if (crashed) log.error("webhook.crashed", { run_id: crashed.runId, error: crashed.error });
    logReceived(log, result, about);
    const finishedAt = deps.runtime.now();
    const times = { startedAt: finishedAt - (performance.now() - startedAt), finishedAt };
    traceReceipt(trace, result, { kind: "server", source: "webhook", ...times });
    return { kind: "accepted", verdict: accepted.verdict, runId: accepted.runId };
  } catch (error) {
    return unstored(deps, String(error));
  }
}

function unstored({ metrics, log }: ReceiveDeps, error: string): Received {
  const result = "storage_failed";
  metrics.webhooks.inc({ result });
  log.error("webhook.not_stored", { result, error });
  return { kind: "unavailable" };
}

function logReceived(
  log: Log,
  { accepted, receiptId, reportedStatus, bytes }: IntakeResult & { kind: "stored" },
  about: { key: string; channel: string | null },
): void {
  const fields = {
    run_id: accepted.runId,
    trace_id: accepted.runId === null ? null : traceIdOf(accepted.runId),
    receipt_id: receiptId,
    verdict: accepted.verdict,
    note: accepted.note,
    status: reportedStatus,
    ...about,
    bytes,
    deliveries: accepted.deliveries,
    no_delivery: whyNoDelivery(accepted),
  };
  if (accepted.verdict === "unrecognized") log.warn("webhook.unrecognized", fields);
  else if (accepted.verdict === "disputed") log.warn("webhook.disputed", fields);
  else log.info("webhook.received", fields);
}
