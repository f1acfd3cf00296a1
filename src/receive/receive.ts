import { hash } from "node:crypto";
import type { Log } from "../log.ts";
import type { Metrics } from "../metrics.ts";
import { isTerminal, type Run, type Source, type Verdict } from "../run.ts";
import { match, type Route } from "../routing.ts";
import type { Runtime } from "../runtime.ts";
import { isDeliveryFailure, normalize } from "../skyvern/normalize.ts";
import { parsePayload, type Parsed, type Payload } from "../skyvern/payload.ts";
import type { Masked, Redact } from "../skyvern/redact.ts";
import type { Accepted, Arrival, Decide, Decision, Store } from "../store/store.ts";
import { traceIdOf, type Trace } from "../trace.ts";
import type { Confirm } from "./confirm.ts";
import { followUpAt } from "./follow-up.ts";
import { createGroupCommit, Overloaded, type GroupCommit } from "./group-commit.ts";
import { settle, type Observation } from "./settle.ts";
import { outcomes, updates, type Listener } from "./telling.ts";
import { revisionOf, traceReceipt } from "./tracing.ts";
import { precheck, verify, type Refusal, type VerifiedBody, type VerifyKey } from "./verify.ts";

export interface Incoming {
  bytes: Buffer;
  /** `x-skyvern-signature` */
  signature: string | null;
  /** `x-skyvern-timestamp`: stored, never trusted. */
  sentAt: string | null;
  channel: string | null;
}

export type Received =
  | { kind: "refused"; reason: Refusal }
  /** Genuine, but Skyvern asks for a one-time code. */
  | { kind: "totp" }
  /** On disk. `runId` is null for what was kept. */
  | { kind: "accepted"; verdict: Verdict; runId: string | null }
  /** Not on disk, nothing half-done: come again. */
  | { kind: "unavailable" };

export interface ReceiveParts {
  keys: readonly VerifyKey[];
  redact: Redact;
  routes: readonly Route[];
  sinks: readonly Listener[];
  /** Whether final runs are to be copied into the archive. */
  archives?: boolean;
  store: Pick<Store, "accept">;
  runtime: Runtime;
  log: Log;
  metrics: Metrics;
  /** Null or left out: nobody collects traces. */
  trace?: Trace;
  /** Called when deliveries were queued. */
  nudge(): void;
}

export interface Receiver {
  /** Why a webhook with this signature can be refused before its body is read, or null. */
  precheck(signature: string | null): Refusal | null;
  receive(incoming: Incoming): Promise<Received>;
}

/**
 * `confirm`: for what no key signed, asks Skyvern about the run instead; null refuses it.
 *
 * The use case: verify → mask → parse → normalize → settle → route → commit. Answers only after the commit.
 */
export function createReceiver(parts: ReceiveParts, confirm: Confirm | null): Receiver {
  const { metrics } = parts;
  const commit = createGroupCommit(parts.store);
  const refusal = (reason: Refusal): Refusal => {
    metrics.webhooks.inc({ result: reason });
    return reason;
  };
  return {
    precheck: (signature) => {
      const reason = confirm ? null : precheck(signature);
      return reason === null ? null : refusal(reason);
    },
    receive: async (incoming) => {
      const body = verify(incoming.bytes, incoming.signature, parts.keys);
      if (typeof body === "string")
        return (await confirmed(parts, confirm, incoming)) ?? { kind: "refused", reason: refusal(body) };
      return receiveVerified(parts, commit, body, incoming);
    },
  };
}

/** What Skyvern's own answer about the run came to; null when there is none that counts. */
async function confirmed(
  { metrics, log }: ReceiveParts,
  confirm: Confirm | null,
  { bytes }: Incoming,
): Promise<Received | null> {
  if (!confirm) return null;
  try {
    const answer = await confirm(bytes);
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
  parts: ReceiveParts,
  commit: GroupCommit,
  body: VerifiedBody,
  { sentAt, channel }: Incoming,
): Promise<Received> {
  const { log, metrics, trace = null } = parts;
  const startedAt = performance.now();
  const { masked, stored } = mask(body.bytes, parts.redact);
  const parsed = parsePayload(masked);
  if (parsed.kind === "totp") {
    metrics.webhooks.inc({ result: "totp" });
    log.warn("webhook.totp_request", { key: body.key, hint: "a totp_url points at the relay; it has no codes" });
    return { kind: "totp" };
  }
  const arrival = arrivalOf(parts, { body, stored, parsed, channel, sentAt: limited(sentAt) });
  try {
    const noted = trace && revisionOf(arrival);
    const accepted = await commitOrKeep(parts, commit, noted?.arrival ?? arrival);
    if (accepted.deliveries > 0) parts.nudge();
    metrics.webhooks.inc({ result: accepted.verdict });
    metrics.receiveSeconds.observe((performance.now() - startedAt) / 1000);
    logAccepted(log, arrival, accepted);
    if (noted) {
      const finishedAt = parts.runtime.now();
      const times = { startedAt: finishedAt - (performance.now() - startedAt), finishedAt };
      traceReceipt(trace, arrival, accepted, { kind: "server", revision: noted.revision(), ...times });
    }
    return { kind: "accepted", verdict: accepted.verdict, runId: accepted.runId };
  } catch (error) {
    const result = error instanceof Overloaded ? "overloaded" : "storage_failed";
    metrics.webhooks.inc({ result });
    log.error("webhook.not_stored", { result, run_id: arrival.run?.id ?? null, error: String(error) });
    return { kind: "unavailable" };
  }
}

/** What settling or routing crashes on is a bug of the relay's: its bytes are kept, and read again by a release without it. */
async function commitOrKeep({ log }: ReceiveParts, commit: GroupCommit, { receipt, run }: Arrival): Promise<Accepted> {
  if (run === null) return commit.accept({ receipt, run });
  let crashed = false;
  const decide: Decide = (known) => {
    // True until it has ended well; it may be asked more than once.
    crashed = true;
    const decision = run.decide(known);
    crashed = false;
    return decision;
  };
  try {
    return await commit.accept({ receipt, run: { id: run.id, decide } });
  } catch (error) {
    if (!crashed) throw error;
    log.error("webhook.crashed", { run_id: run.id, error: String((error as Error).stack ?? error) });
    return commit.accept({ receipt: { ...receipt, note: "the relay met a bug; its log has the details" }, run: null });
  }
}

/** The masked text and the bytes to store. Bytes that are no UTF-8 are masked and kept one by one. */
export function mask(bytes: Buffer, redact: Redact): { masked: Masked; stored: Buffer } {
  const text = bytes.toString("utf8");
  if (!text.includes("\uFFFD") || bytes.equals(Buffer.from(text, "utf8"))) {
    const masked = redact(text);
    return { masked, stored: bytesOf(masked.text) };
  }
  const masked = redact(bytes.toString("latin1"));
  // Not JSON (RFC 8259 asks for UTF-8), and must not be taken for it.
  return { masked: { ...masked, text: "" }, stored: Buffer.from(masked.text, "latin1") };
}

/** In memory of their own: with bytes of Node's pool, all of the pool they are in would travel to the thread that writes. */
function bytesOf(text: string): Buffer {
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

interface Understood {
  body: VerifiedBody;
  stored: Buffer;
  parsed: Exclude<Parsed, { kind: "totp" }>;
  channel: string | null;
  sentAt: string | null;
}

function arrivalOf(parts: ReceiveParts, { body, stored, parsed, channel, sentAt }: Understood): Arrival {
  const receivedAt = parts.runtime.now();
  const source: Source = "webhook";
  const payload = parsed.kind === "run" ? parsed.payload : null;
  return {
    receipt: {
      id: parts.runtime.newId("rcp"),
      bodyHash: hash("sha256", body.bytes),
      bodyBytes: body.bytes.length,
      body: stored,
      source,
      channel,
      keyName: body.key,
      sentAt,
      reportedStatus: payload?.status ?? null,
      receivedAt,
      note: parsed.kind === "unknown" ? parsed.reason : null,
    },
    run:
      payload === null
        ? null
        : runArrival(parts, payload, { receivedAt, source, channel, organization: body.organization }),
  };
}

/** A payload as the store takes it: its run id, and what to decide once it is known what is stored. */
export function runArrival(
  parts: Omit<ReceiveParts, "store">,
  payload: Payload,
  arrival: Parameters<typeof normalize>[1],
): NonNullable<Arrival["run"]> {
  const run = normalize(payload, arrival);
  const observation: Observation = { run, deliveryFailure: isDeliveryFailure(payload) };
  return { id: run.run_id, decide: decider(parts, observation) };
}

/** Settling and routing in one, asked inside the transaction. Pure but for new ids. */
function decider(parts: Omit<ReceiveParts, "store">, observation: Observation): Decide {
  return (known): Decision => {
    const settled = settle(known?.state ?? null, observation);
    const { run } = settled.state;
    const isNews = isTerminal(run.status) && settled.verdict !== "duplicate";
    const copying = parts.archives && isNews ? { archiveAt: archiveAt(run, parts.runtime.now()) } : {};
    const decision: Decision = { ...settled, routing: null, deliveries: [], cancel: [], ...copying };
    if (!isTerminal(run.status)) return decision;
    if (settled.verdict === "updated") return { ...decision, deliveries: updates(parts, known) };
    if (settled.verdict !== "accepted" && settled.verdict !== "corrected") return decision;
    const names = parts.sinks.map(({ name }) => name);
    const routed = match(settled.state.run, parts.routes, names);
    const ask = settled.verdict === "accepted" ? followUpAt(settled.state.run, parts.runtime.now()) : undefined;
    const told = outcomes(parts, known, routed.sinks);
    return { ...decision, routing: routed.trace, ...told, ...(ask === undefined ? {} : { followUpAt: ask }) };
  };
}

/** Task v2 is reported before its recording is final (contract §2). */
const archiveAt = ({ run_type }: Run, now: number): number => now + (run_type === "task_v2" ? 120_000 : 5_000);

const limited = (value: string | null): string | null => value?.slice(0, 32) ?? null;

function logAccepted(log: Log, { receipt }: Arrival, accepted: Accepted): void {
  const fields = {
    run_id: accepted.runId,
    trace_id: accepted.runId === null ? null : traceIdOf(accepted.runId),
    receipt_id: receipt.id,
    verdict: accepted.verdict,
    note: accepted.note,
    status: receipt.reportedStatus,
    key: receipt.keyName,
    channel: receipt.channel,
    bytes: receipt.bodyBytes,
    deliveries: accepted.deliveries,
  };
  if (accepted.verdict === "kept") log.warn("webhook.kept", fields);
  else log.info("webhook.received", fields);
}
