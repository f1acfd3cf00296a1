import type { ReceiveDeps } from "../receive/receive.ts";
import { isJsonObject, type JsonObject } from "../platform/json.ts";
import type { Source } from "../domain/run.ts";
import { asInWebhooks } from "../skyvern/webhook-numbers.ts";
import type { Accepted } from "../store/contract/receipts.ts";
import type { Intake } from "../receive/intake.ts";
import { receiptFields, traceReceipt } from "../receive/receipt-log.ts";
import type { Addresses } from "../receive/own-addresses.ts";

export interface Origin {
  /** What is to be said of the answer beside what settling says. */
  note?: string;
  source: Source;
  /** The organization of the key that asked. */
  organization: string | null;
  /** Where the webhook address that the answer names says none. */
  channel?: string | null;
  /** When the run ended, epoch ms: a run that is not delivered is listed at this time. */
  endedAt?: number | null;
}

export interface IngestDeps extends Pick<ReceiveDeps, "runtime" | "log" | "metrics" | "trace" | "nudge"> {
  intake: Pick<Intake, "answer">;
  addresses: Pick<Addresses, "channelOf">;
}

/**
 * Feeds an answer of Skyvern's API (GET run) to the same intake as a webhook. Null when it is not understood. Rejects
 * with what the store could not do.
 */
export type Ingest = (answer: JsonObject, origin: Origin) => Promise<Accepted | null>;

/** `deliver: false` stores and settles without any delivery; pending deliveries stay as they are. */
export function createIngest(deps: IngestDeps, { deliver }: { deliver: boolean } = { deliver: true }): Ingest {
  const { intake, addresses, runtime, log, metrics, nudge, trace = null } = deps;
  return async (answer, { endedAt = null, channel: otherwise = null, ...origin }) => {
    const { source } = origin;
    const receivedAt = runtime.now();
    const listedAt = deliver ? receivedAt : Math.min(endedAt ?? receivedAt, receivedAt);
    const text = JSON.stringify(asInWebhooks(answer));
    const webhookUrl = webhookUrlOf(answer);
    const channel = addresses.channelOf(webhookUrl) ?? otherwise;
    const query = typeof webhookUrl === "string" ? (URL.parse(webhookUrl)?.search ?? null) : null;
    const accepted = await intake.answer({ text, query, channel, ...origin, receivedAt, listedAt, deliver });
    if ("reason" in accepted) {
      log.warn("answer.unrecognized", { source, reason: accepted.reason });
      return null;
    }
    if (accepted.deliveries > 0) nudge();
    metrics.ingested.inc({ source, verdict: accepted.verdict });
    traceReceipt(trace, accepted, { kind: "internal", source, startedAt: receivedAt, finishedAt: runtime.now() });
    log.info("run.ingested", { ...receiptFields(accepted), source });
    return accepted;
  };
}

/** `run_request.webhook_url` of an answer of GET run. */
export function webhookUrlOf({ run_request: request }: JsonObject): unknown {
  return isJsonObject(request) ? request["webhook_url"] : null;
}
