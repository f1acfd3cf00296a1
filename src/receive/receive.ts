import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Trace } from "../telemetry/trace.ts";
import { StorageFault } from "../store/contract/faults.ts";
import type { Accepted } from "../store/contract/receipts.ts";
import type { Intake, WithoutReceipt } from "./intake.ts";
import { receiptFields, traceReceipt } from "./receipt-log.ts";
import {
  MAX_UNSIGNED_BYTES,
  precheckBody,
  verify,
  type Incoming,
  type SignatureFault,
  type VerifiedWebhook,
  type VerifyKey,
} from "./verify.ts";

/** What became of a webhook: it is on disk, or why it is not. */
export type Received =
  | Accepted
  | { kind: "refused"; reason: SignatureFault }
  /** No key signed it, and of a body that large Skyvern is not asked. */
  | { kind: "too_large"; limit: number }
  | WithoutReceipt
  /** Not on disk, nothing half-done: come again. */
  | { kind: "unavailable" };

/**
 * Asks Skyvern about the run that an unsigned body names. `from` is the sender's address. Null: Skyvern said that it
 * knows no such run of ours. `unavailable`: Skyvern could not be asked, or too much was asked for.
 */
export type Confirm = (bytes: Buffer, from: string) => Promise<Accepted | { kind: "unavailable" } | null>;

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
  /** How many bytes a body with this signature may have, or why it is refused unread. */
  precheck(signature: string | null): number | SignatureFault;
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
      return typeof checked === "string" ? refusal(checked) : checked;
    },
    receive: async (incoming) => {
      const webhook = verify(incoming, deps.keys());
      if (typeof webhook === "string")
        return (await confirmed(deps, confirm, incoming)) ?? { kind: "refused", reason: refusal(webhook) };
      return receiveVerified(deps, webhook);
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
    if (answer === null) return null;
    metrics.webhooks.inc({ result: "verdict" in answer ? `confirmed_${answer.verdict}` : "unconfirmed" });
    return answer;
  } catch (error) {
    log.error("webhook.not_stored", { result: "storage_failed", error: String(error) });
    return { kind: "unavailable" };
  }
}

async function receiveVerified(deps: ReceiveDeps, webhook: VerifiedWebhook): Promise<Received> {
  const { intake, log, metrics } = deps;
  const startedAt = performance.now();
  const about = { key: webhook.key, channel: webhook.channel };
  try {
    const result = await intake.webhook(webhook, deps.runtime.now());
    if ("verdict" in result) noteAccepted(deps, result, { about, startedAt });
    else if (result.kind === "totp") {
      metrics.webhooks.inc({ result: "totp" });
      log.warn("webhook.totp_request", { key: webhook.key, hint: "a totp_url points at the relay; it has no codes" });
    } else {
      metrics.webhooks.inc({ result: "test" });
      log.info("webhook.test", { run_id: result.runId, ...about, sinks: result.sinks });
      for (const sink of result.sinks) deps.tryOut(sink);
    }
    return result;
  } catch (error) {
    const failure = { result: "storage_failed" };
    metrics.webhooks.inc(failure);
    // A bug is logged with its place, a fault of the storage only with what it says.
    const isBug = error instanceof Error && !(error instanceof StorageFault);
    log.error("webhook.not_stored", { ...failure, error: isBug ? (error.stack ?? String(error)) : String(error) });
    return { kind: "unavailable" };
  }
}

/** `startedAt`: of the process's monotonic clock. */
function noteAccepted(
  { runtime, log, metrics, trace = null, nudge }: ReceiveDeps,
  accepted: Accepted,
  { about, startedAt }: { about: { key: string; channel: string | null }; startedAt: number },
): void {
  const { verdict, bytes } = accepted;
  if (accepted.deliveries > 0) nudge();
  metrics.webhooks.inc({ result: verdict });
  const tookMs = performance.now() - startedAt;
  metrics.receiveSeconds.observe(tookMs / 1000);
  const finishedAt = runtime.now();
  const times = { startedAt: finishedAt - tookMs, finishedAt };
  traceReceipt(trace, accepted, { kind: "server", source: "webhook", ...times });
  const fields = { ...receiptFields(accepted), ...about, bytes };
  if (verdict === "unrecognized") log.warn("webhook.unrecognized", fields);
  else if (verdict === "disputed") log.warn("webhook.disputed", fields);
  else log.info("webhook.received", fields);
}
