/** Receiving without the network, the answers and the log: what came is masked, read, decided and written. */
import { hash } from "node:crypto";
import type { Route } from "../domain/routing.ts";
import type { Source } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";
import { parsePayload } from "../skyvern/payload.ts";
import { createRedact } from "../skyvern/redact.ts";
import { grouped } from "../store/grouped.ts";
import { DecisionCrashed, StorageFault } from "../store/contract/faults.ts";
import type { Accepted, Arrival, Decide, ReceiptStore } from "../store/contract/receipts.ts";
import { toIncomingReceipt, mask, toIncomingRun, type DecideDeps, type VerifiedWebhook } from "./decide.ts";
import { moreToShow, type SinkRef } from "./plan-deliveries.ts";

/** What a configuration says of taking. */
export interface IntakeSettings {
  /** Further keys whose values are masked. */
  redactKeys: readonly string[];
  routes: readonly Route[];
  sinks: readonly SinkRef[];
  /** Whether final runs are to be copied into the archive. */
  archives: boolean;
}

/** Every call rejects with a StorageFault when the storage cannot take it: nothing is half-done then. */
export interface Intake {
  /** Takes a webhook. */
  webhook(genuine: VerifiedWebhook): Promise<Taken>;
  /** Takes an answer of Skyvern's API. Rejects with the bug that it met, if it met one. */
  answer(answered: Answered): Promise<TakenAnswer>;
  /** Reads a kept receipt again. */
  reread(kept: Kept): Promise<Reread>;
  /** There is more to show of a run: who is to see it will. False: nobody is. */
  showMore(runId: string, now: number): Promise<boolean>;
}

/** What became of something that came. */
export type Taken =
  /** Skyvern asks for a one-time code: nothing is stored. */
  | { kind: "totp" }
  /** On disk. `crashed`: the bug that was met, for which it was kept. */
  | {
      kind: "taken";
      accepted: Accepted;
      receiptId: string;
      reportedStatus: string | null;
      crashed: { runId: string; error: string } | null;
    }
  /** It alone could not be read or written, for a bug: nothing is stored. */
  | { kind: "failed"; error: string };

/** Skyvern's API says otherwise what a webhook says, see `webhook-numbers.ts`. */
export interface Answered {
  /** JSON. */
  text: string;
  source: Source;
  organization: string | null;
  channel: string | null;
  receivedAt: number;
  /** The time at which lists have the run. */
  listedAt: number;
  /** False: it is stored and settled, and nobody told; what waits to be told is left as it is. */
  deliver: boolean;
}

export type TakenAnswer = (Taken & { kind: "taken" }) | { kind: "not_understood"; reason: string };

/** A receipt that was kept, and its bytes. */
export interface Kept {
  receiptId: string;
  body: Uint8Array;
  receivedAt: number;
  source: Source;
  organization: string | null;
  channel: string | null;
  now: number;
}

/** `unchanged`: it is still not understood, or no longer kept. */
export type Reread = { kind: "unchanged" } | { kind: "adopted" | "crashed"; runId: string; error: string | null };

export interface IntakeDeps extends IntakeSettings {
  store: ReceiptStore;
  runtime: Pick<Runtime, "newId">;
}

export function createIntake({ store, redactKeys, ...settings }: IntakeDeps): Intake {
  const deps: DecideDeps = { ...settings, redact: createRedact(redactKeys) };
  // What comes in one turn of the event loop is written together.
  const accept = grouped(
    (arrivals: readonly Arrival[]) => store.accept(arrivals),
    ({ receipt }) => receipt.body.length,
  );
  return {
    webhook: async (genuine) => {
      try {
        const arrival = toIncomingReceipt(deps, genuine);
        if (arrival === null) return { kind: "totp" };
        return await acceptOrKeep(accept, arrival);
      } catch (error) {
        if (error instanceof StorageFault) throw error;
        return { kind: "failed", error: wordsOf(error) };
      }
    },
    answer: (answered) => takeAnswer(deps, accept, answered),
    reread: (kept) => reread(deps, store, kept),
    showMore: (runId, now) => store.revise(runId, (known) => moreToShow(deps, known), now),
  };
}

type Accept = (arrival: Arrival) => Promise<Accepted>;

/** What settling or routing crashes on is a bug of the relay's: its bytes are kept, and read again by a release without it. */
async function acceptOrKeep(accept: Accept, arrival: Arrival): Promise<Taken> {
  const { receipt, run } = arrival;
  try {
    return takenOf(arrival, await accept(arrival));
  } catch (error) {
    if (!(error instanceof DecisionCrashed) || run === null) throw error;
    const kept = { ...receipt, note: "the relay met a bug; its log has the details" };
    const accepted = await accept({ receipt: kept, run: null }).catch((another: unknown) => {
      throw another instanceof StorageFault ? another : error.cause;
    });
    return { ...takenOf(arrival, accepted), crashed: { runId: run.id, error: wordsOf(error.cause) } };
  }
}

async function takeAnswer(deps: DecideDeps, accept: Accept, answered: Answered): Promise<TakenAnswer> {
  const { text, source, organization, channel, receivedAt, listedAt, deliver } = answered;
  const masked = deps.redact(text);
  const parsed = parsePayload(masked);
  if (parsed.kind !== "run")
    return { kind: "not_understood", reason: parsed.kind === "unknown" ? parsed.reason : parsed.kind };
  const receipt = {
    id: deps.runtime.newId("rcp"),
    bodyHash: hash("sha256", lasting(masked.text)),
    body: Buffer.from(masked.text, "utf8"),
    source,
    channel,
    keyName: null,
    sentAt: null,
    reportedStatus: parsed.payload.status,
    receivedAt,
    note: null,
  };
  const origin = { receivedAt: listedAt, source, channel, organization };
  const run = toIncomingRun(deps, parsed.payload, origin, receivedAt);
  const arrival = { receipt, run: deliver ? run : { ...run, decide: quietly(run.decide) } };
  return takenOf(arrival, await accept(arrival));
}

async function reread(deps: DecideDeps, store: ReceiptStore, kept: Kept): Promise<Reread> {
  const { receiptId, body, receivedAt, source, organization, channel, now } = kept;
  const parsed = parsePayload(mask(Buffer.from(body), deps.redact).masked);
  if (parsed.kind !== "run") return { kind: "unchanged" };
  const run = toIncomingRun(deps, parsed.payload, { receivedAt, source, channel, organization }, now);
  try {
    const isAdopted = await store.adopt(receiptId, parsed.payload.status, run, now);
    return isAdopted ? { kind: "adopted", runId: run.id, error: null } : { kind: "unchanged" };
  } catch (error) {
    if (error instanceof StorageFault) throw error;
    return { kind: "crashed", runId: run.id, error: String(error) };
  }
}

const takenOf = ({ receipt }: Arrival, accepted: Accepted): Taken & { kind: "taken" } => ({
  kind: "taken",
  accepted,
  receiptId: receipt.id,
  reportedStatus: receipt.reportedStatus,
  crashed: null,
});

const wordsOf = (error: unknown): string => String((error as Error).stack ?? error);

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
