/**
 * Takes in what arrives, without network and answers: masks and parses it, and has the store write it with what is
 * decided of its run.
 */
import { hash } from "node:crypto";
import type { Organization, Run } from "../domain/run.ts";
import { match } from "../domain/routing.ts";
import type { Log } from "../platform/log.ts";
import { normalize, type ReceiptOrigin } from "../skyvern/normalize.ts";
import { discard } from "../platform/memory/discard.ts";
import { maskBody, parsePayload, type MaskedBody } from "../skyvern/payload.ts";
import { createRedact, type Redact } from "../skyvern/redact.ts";
import { toRelations, type Tag, type WorkflowRunRow } from "../skyvern/relations.ts";
import { grouped } from "../store/grouped.ts";
import { DecisionCrashed, StorageFault } from "../store/contract/faults.ts";
import type { Accepted, IncomingReceipt, Decide, ReceiptStore } from "../store/contract/receipts.ts";
import { decideRelations, decideUpdate, giveUpOnRetry, routeNow, toIncomingRun, type DecideDeps } from "./decide.ts";
import { readLabels } from "../domain/labels.ts";
import type { VerifiedWebhook } from "./verify.ts";

/**
 * Every call rejects with a StorageFault when the storage fails, and with the error when it meets a bug; then nothing
 * is half-done.
 */
export interface Intake {
  /** Takes a webhook. A bug that it meets costs no other webhook. */
  webhook(webhook: VerifiedWebhook, receivedAt: number): Promise<Accepted | WithoutReceipt>;
  /** Takes an answer of Skyvern's API. */
  answer(apiRun: ApiRun): Promise<Accepted | { kind: "unrecognized"; reason: string }>;
  /** Reads an unrecognized or disputed receipt again. */
  reread(unsettled: UnsettledReceipt): Promise<Reread>;
  /** Takes what Skyvern says of where a workflow run comes from. False when the run is not known any more. */
  relate(answer: RelationsAnswer): Promise<boolean>;
  /**
   * Chooses the sinks of an outcome without waiting any longer for where the run comes from. False when none waits.
   */
  route(runId: string, now: number): Promise<boolean>;
  /** Queues updates of a run that has more to show. False when no sink gets one. */
  showMore(runId: string, now: number): Promise<boolean>;
  /**
   * Delivers the run as it stands, because the announced run attempt never came. False when none is awaited any more.
   */
  giveUpOnRetry(runId: string, attempt: number, now: number): Promise<boolean>;
}

/** A genuine webhook of which nothing is stored. */
export type WithoutReceipt =
  /** Skyvern asks for a one-time code. */
  | { kind: "totp" }
  /** Skyvern's test button was pressed. `sinks`: those that a run like the sample is routed to get a test message. */
  | { kind: "test"; runId: string; sinks: string[] };

/** An answer of Skyvern's API, which writes numbers differently from a webhook (`webhook-numbers.ts`). */
export interface ApiRun extends Omit<ReceiptOrigin, "labels"> {
  /** JSON. */
  text: string;
  /** The time under which lists show the run. */
  listedAt: number;
  /** False stores and settles the run without any delivery; pending deliveries stay as they are. */
  deliver: boolean;
  /** Said of the receipt where settling has nothing to say. */
  note?: string;
  /** The query of its webhook address, which the text has masked; null: none. */
  query?: string | null;
}

/** What Skyvern said of where a workflow run comes from. */
export interface RelationsAnswer {
  runId: string;
  /** Null when it is not in the list of its workflow's runs. */
  row: WorkflowRunRow | null;
  /** Null when Skyvern could not be asked for them. */
  tags: readonly Tag[] | null;
  now: number;
  /** False makes no delivery: the only message of the run is still being written. */
  deliver: boolean;
}

/** A receipt that was not settled, with its bytes. `shownTo`: the organizations Skyvern named as the run's. */
export interface UnsettledReceipt extends ReceiptOrigin {
  receiptId: string;
  body: Uint8Array;
  shownTo?: readonly Organization[];
  now: number;
}

/** Masks a body somewhere else. Rejects when it cannot. */
export type ReadApart = (order: ReadOrder) => Promise<MaskedBody>;

export interface ReadOrder {
  bytes: Uint8Array;
  redactKeys: readonly string[];
}

/** `unchanged`: it is still not recognized, or it was settled meanwhile. */
export type Reread = { kind: "unchanged" } | { kind: "adopted" | "crashed"; runId: string; error: string | null };

export interface IntakeDeps extends DecideDeps {
  store: ReceiptStore;
  /** Additional keys whose values are masked. */
  redactKeys: readonly string[];
  /** Names in the query of a webhook address that become labels of the run. */
  labels?: readonly string[];
  /** Absent or null: large bodies are read like others. */
  readApart?: ReadApart | null;
  log: Log;
}

export function createIntake(deps: IntakeDeps): Intake {
  const { store, redactKeys, readApart = null } = deps;
  const redact = createRedact(redactKeys);
  const read = createBodyReader(redact, redactKeys, readApart);
  // Bodies that come in one turn of the event loop are accepted by one call, whose statements take all of them. The
  // store gathers calls once more, so that this call and other writes share a transaction.
  const accept = grouped((arrivals: readonly IncomingReceipt[]) => store.accept(arrivals), {
    bytesOf: ({ receipt }) => receipt.body.length,
  });
  return {
    webhook: async (webhook, receivedAt) => {
      const arrival = toIncomingReceipt(deps, webhook, await read(webhook.bytes), receivedAt);
      return "kind" in arrival ? arrival : acceptOrStoreUnrecognized(accept, arrival, deps.log);
    },
    answer: async (apiRun) => takeApiRun(deps, accept, apiRun, await read(Buffer.from(apiRun.text))),
    reread: async (unsettled) => reread(deps, store, unsettled, await read(Buffer.from(unsettled.body))),
    relate: ({ runId, row, tags, now, deliver }) => {
      const said = toRelations(row, tags, redact);
      return store.revise(runId, (known) => decideRelations(deps, known, said, { now, deliver }), now);
    },
    route: (runId, now) => store.revise(runId, (known) => routeNow(deps, known, now), now),
    showMore: (runId, now) => store.revise(runId, (known) => decideUpdate(deps, known), now),
    giveUpOnRetry: (runId, attempt, now) =>
      store.revise(runId, (known) => giveUpOnRetry(deps, known, attempt, now), now),
  };
}

/** A body up to this size, which nearly all are, is read at once: that takes at most some 100 ms, and mostly 0.1 ms. */
export const SMALL_BODY = 256 * 1024;

/** Reads bodies, whose bytes are consumed. Without `readApart` every body is read at once. */
export function createBodyReader(redact: Redact, redactKeys: readonly string[], readApart: ReadApart | null) {
  return async (bytes: Buffer): Promise<MaskedBody> => {
    if (readApart === null || bytes.length <= SMALL_BODY) return maskBody(bytes, redact);
    // A machine that has no room for a thread still takes the webhook in.
    const masked = await readApart({ bytes, redactKeys }).catch(() => maskBody(bytes, redact));
    discard(bytes);
    return masked;
  };
}

function toIncomingReceipt(
  deps: IntakeDeps,
  webhook: VerifiedWebhook,
  masked: MaskedBody,
  receivedAt: number,
): IncomingReceipt | WithoutReceipt {
  const { key: keyName, organization, channel, query, sentAt } = webhook;
  const { stored } = masked;
  const parsed = parsePayload(masked);
  if (parsed.kind === "totp") return { kind: "totp" };
  const labels = readLabels(deps.labels ?? [], query);
  const origin = { receivedAt, source: "webhook", channel, labels, organization } as const;
  if (parsed.kind === "sample") return toTestWebhook(deps, normalize(parsed.payload, origin));
  const payload = parsed.kind === "run" ? parsed.payload : null;
  const receipt: IncomingReceipt["receipt"] = {
    id: deps.runtime.newId("rcp"),
    bodyHash: hash("sha256", stored),
    body: stored,
    source: "webhook",
    channel,
    labels,
    keyName,
    sentAt: sentAt?.slice(0, 32) ?? null,
    reportedStatus: payload?.status ?? null,
    receivedAt,
    note: parsed.kind === "unknown" ? parsed.reason : null,
  };
  return { receipt, run: payload === null ? null : toIncomingRun(deps, payload, origin, receivedAt) };
}

/** Samples sent there reach no sink: it is the address that `doctor` has Skyvern try. */
export const DOCTOR_CHANNEL = "skyvern-relay-doctor";

function toTestWebhook({ routes, sinks }: DecideDeps, run: Run): WithoutReceipt {
  const names = sinks.map(({ name }) => name);
  const chosen = run.channel === DOCTOR_CHANNEL ? [] : match(run, routes, names).sinks;
  return { kind: "test", runId: run.run_id, sinks: chosen };
}

type Accept = (arrival: IncomingReceipt) => Promise<Accepted>;

/**
 * When settling or routing crashes, the fault is the relay's: the bytes are stored as unrecognized, so that a release
 * without the bug reads them again.
 */
async function acceptOrStoreUnrecognized(accept: Accept, arrival: IncomingReceipt, log: Log): Promise<Accepted> {
  const { receipt, run } = arrival;
  try {
    return await accept(arrival);
  } catch (error) {
    if (!(error instanceof DecisionCrashed) || run === null) throw error;
    const unrecognized = { ...receipt, note: "internal error in the relay; see its log" };
    const accepted = await accept({ receipt: unrecognized, run: null }).catch((another: unknown) => {
      throw another instanceof StorageFault ? another : error.cause;
    });
    const { cause } = error;
    log.error("webhook.crashed", { run_id: run.id, error: String((cause as Error).stack ?? cause) });
    return accepted;
  }
}

async function takeApiRun(
  deps: IntakeDeps,
  accept: Accept,
  apiRun: ApiRun,
  masked: MaskedBody,
): ReturnType<Intake["answer"]> {
  const { source, organization, channel, receivedAt, listedAt, deliver, note } = apiRun;
  const { stored } = masked;
  const parsed = parsePayload(masked);
  if (parsed.kind !== "run")
    return { kind: "unrecognized", reason: parsed.kind === "unknown" ? parsed.reason : parsed.kind };
  const labels = readLabels(deps.labels ?? [], apiRun.query ?? null);
  const receipt = {
    id: deps.runtime.newId("rcp"),
    bodyHash: hash("sha256", withoutSignedQueries(stored.toString("utf8"))),
    body: stored,
    source,
    channel,
    labels,
    keyName: null,
    sentAt: null,
    reportedStatus: parsed.payload.status,
    receivedAt,
    note: null,
  };
  const origin = { receivedAt: listedAt, source, channel, labels, organization };
  const run = toIncomingRun(deps, parsed.payload, origin, receivedAt);
  const routed = deliver ? run : { ...run, decide: withoutDeliveries(run.decide) };
  return accept({ receipt, run: note === undefined ? routed : { ...routed, decide: noted(routed.decide, note) } });
}

const noted =
  (decide: Decide, note: string): Decide =>
  (known) => {
    const decision = decide(known);
    return { ...decision, note: decision.note ?? note };
  };

async function reread(
  deps: DecideDeps,
  store: ReceiptStore,
  unsettled: UnsettledReceipt,
  masked: MaskedBody,
): Promise<Reread> {
  const { receiptId, now } = unsettled;
  const parsed = parsePayload(masked);
  if (parsed.kind !== "run") return { kind: "unchanged" };
  const run = toIncomingRun(deps, parsed.payload, unsettled, now);
  try {
    const isAdopted = await store.adopt(receiptId, parsed.payload.status, run, now);
    return isAdopted ? { kind: "adopted", runId: run.id, error: null } : { kind: "unchanged" };
  } catch (error) {
    if (error instanceof StorageFault) throw error;
    return { kind: "crashed", runId: run.id, error: String(error) };
  }
}

const withoutDeliveries =
  (decide: Decide): Decide =>
  (known) => {
    const decision = decide(known);
    const silenced = decision.deliveries.length > 0;
    const quiet = { ...decision, deliveries: [], cancel: [], routing: null };
    // An outcome that was to be told and waits for its sinks still waits.
    if (known?.state.unrouted === true) return { ...quiet, state: { ...quiet.state, unrouted: true } };
    if (decision.state.unrouted !== true) return { ...quiet, note: silenced ? NOT_RELAYED : decision.note };
    const { unrouted: _sinks, ...state } = quiet.state;
    const { followUpAt: _none, ...rest } = quiet;
    return { ...rest, state, note: NOT_RELAYED };
  };

const NOT_RELAYED = "backfilled: not delivered to any sink";

/**
 * Skyvern signs every URL anew for each answer. Without the parts that give access and their times, the same run has
 * the same text however often it is read.
 */
const withoutSignedQueries = (masked: string): string => masked.replace(/\?[^"\s?]*\[redacted\][^"\s]*/g, "");
