/**
 * What came is read, decided and written here, next to the store: all of receiving but the network, the answers and the log. What is
 * given and answered is plain data, so that the intake can be in the thread that writes SQLite, and its caller in another.
 */
import { hash } from "node:crypto";
import type { Route } from "../routing.ts";
import type { Source } from "../run.ts";
import type { Runtime } from "../runtime.ts";
import { parsePayload } from "../skyvern/payload.ts";
import { createRedact } from "../skyvern/redact.ts";
import { grouped } from "../store/grouped.ts";
import {
  noRoom,
  StorageFault,
  type Accepted,
  type Arrival,
  type Decide,
  type Deciding,
  type Reserve,
  type Room,
} from "../store/store.ts";
import { arrivalOf, mask, runArrival, type ArrivalParts, type Genuine } from "./arrival.ts";
import { moreToShow, type Listener } from "./telling.ts";

/** What a configuration says of taking. Plain data. */
export interface IntakeSettings {
  /** Further keys whose values are masked. */
  redactKeys: readonly string[];
  routes: readonly Route[];
  sinks: readonly Listener[];
  /** Whether final runs are to be copied into the archive. */
  archives: boolean;
}

/** Every call rejects with a StorageFault when the storage cannot take it: nothing is half-done then. */
export interface Intake {
  /** Takes a webhook. */
  webhook(genuine: Genuine): Promise<Taken>;
  /** Takes an answer of Skyvern's API. Rejects with the bug that it met, if it met one. */
  answer(answered: Answered): Promise<TakenAnswer>;
  /** Reads a kept receipt again. */
  reread(kept: Kept): Promise<Reread>;
  /** There is more to show of a run: who is to see it will. False: nobody is. */
  showMore(runId: string, now: number): Promise<boolean>;
  /** Of this configuration nothing more comes. */
  close(): Promise<void>;
}

/** What became of something that came. */
export type Taken =
  /** Skyvern asks for a one-time code: nothing is stored. */
  | { kind: "totp" }
  /**
   * On disk. `revision`: what it came to; null when nothing was decided: the same bytes again, or no run. `crashed`: the bug that was met,
   * for which it was kept.
   */
  | {
      kind: "taken";
      accepted: Accepted;
      receiptId: string;
      reportedStatus: string | null;
      revision: number | null;
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

export interface IntakeParts extends ArrivalParts {
  store: Deciding;
}

/** `newId`: its ids are of the time that a call names. */
export const intakeParts = (
  { redactKeys, ...settings }: IntakeSettings,
  store: Deciding,
  runtime: Pick<Runtime, "newId">,
): IntakeParts => ({ ...settings, redact: createRedact(redactKeys), store, runtime });

/**
 * In this thread. What comes is read at once, and written together with what comes while the storage is busy. `reserve`: room for
 * deliveries that can be begun at once.
 */
export function createIntake(parts: IntakeParts, reserve: Reserve = noRoom): Intake {
  const write = grouped(
    withRoom(reserve, (arrivals: readonly Arrival[], room) => acceptAll(parts.store, arrivals, room)),
    ({ receipt }) => receipt.body.length,
  );
  return {
    webhook: async (genuine) => {
      const read = readWebhook(parts, genuine);
      return "receipt" in read ? write(read) : read;
    },
    answer: (answered) => takeAnswer(parts, answered),
    reread: (kept) => reread(parts, kept),
    showMore: (runId, now) => showMore(parts, runId, now),
    close: async () => {},
  };
}

/** Writes with as much room as can be kept, and begins what was claimed. */
export const withRoom =
  <Item>(reserve: Reserve, write: (items: readonly Item[], room: Room | null) => Promise<Taken[]>) =>
  async (items: readonly Item[]): Promise<Taken[]> => {
    const reserved = reserve(items.length);
    let taken: Taken[] = [];
    try {
      taken = await write(items, reserved.room);
    } finally {
      await reserved.begin(taken.flatMap((one) => (one.kind === "taken" ? (one.accepted.claimed ?? []) : [])));
    }
    return taken;
  };

/** Takes webhooks in one transaction. Answers in the order given. */
export async function takeAll(parts: IntakeParts, webhooks: readonly Genuine[], room: Room | null): Promise<Taken[]> {
  const read = webhooks.map((genuine) => readWebhook(parts, genuine));
  const written = await acceptAll(
    parts.store,
    read.filter((one) => "receipt" in one),
    room,
  );
  return read.map((one) => ("receipt" in one ? (written.shift() ?? failed("no answer")) : one));
}

function readWebhook(parts: IntakeParts, genuine: Genuine): Arrival | Taken {
  try {
    return arrivalOf(parts, genuine) ?? { kind: "totp" };
  } catch (error) {
    return failed(error);
  }
}

export async function takeAnswer(parts: IntakeParts, answered: Answered): Promise<TakenAnswer> {
  const { text, source, organization, channel, receivedAt, deliver } = answered;
  const masked = parts.redact(text);
  const parsed = parsePayload(masked);
  if (parsed.kind !== "run")
    return { kind: "not_understood", reason: parsed.kind === "unknown" ? parsed.reason : parsed.kind };
  const receipt = {
    id: parts.runtime.newId("rcp"),
    bodyHash: hash("sha256", lasting(masked.text)),
    bodyBytes: Buffer.byteLength(text),
    body: Buffer.from(masked.text, "utf8"),
    source,
    channel,
    keyName: null,
    sentAt: null,
    reportedStatus: parsed.payload.status,
    receivedAt,
    note: null,
  };
  const run = runArrival(parts, parsed.payload, { receivedAt, source, channel, organization }, receivedAt);
  const watched = watch({ receipt, run: deliver ? run : { ...run, decide: quietly(run.decide) } });
  const [accepted] = await parts.store.accept([watched.arrival]);
  return takenOf(watched, accepted as Accepted);
}

export async function reread(parts: IntakeParts, kept: Kept): Promise<Reread> {
  const { receiptId, body, receivedAt, source, organization, channel, now } = kept;
  const parsed = parsePayload(mask(Buffer.from(body), parts.redact).masked);
  if (parsed.kind !== "run") return { kind: "unchanged" };
  const run = runArrival(parts, parsed.payload, { receivedAt, source, channel, organization }, now);
  try {
    const isAdopted = await parts.store.adopt(receiptId, parsed.payload.status, run, now);
    return isAdopted ? { kind: "adopted", runId: run.id, error: null } : { kind: "unchanged" };
  } catch (error) {
    if (error instanceof StorageFault) throw error;
    return { kind: "crashed", runId: run.id, error: String(error) };
  }
}

export const showMore = ({ store, ...parts }: IntakeParts, runId: string, now: number): Promise<boolean> =>
  store.revise(runId, (known) => moreToShow(parts, known), now);

// --- writing --------------------------------------------------------------------------------------------------------

/** A fault that is one arrival's own costs none of the others. */
async function acceptAll(store: Deciding, arrivals: readonly Arrival[], room: Room | null): Promise<Taken[]> {
  if (arrivals.length === 0) return [];
  const watched = arrivals.map(watch);
  try {
    const accepted = await store.accept(
      watched.map(({ arrival }) => arrival),
      room ?? undefined,
    );
    return watched.map((one, i) => takenOf(one, accepted[i] as Accepted));
  } catch (error) {
    // A storage that is gone refuses them all.
    if (error instanceof StorageFault) throw error;
    const [only] = watched;
    if (only && watched.length === 1) return [await keepCrashed(store, only, error)];
    const taken: Taken[] = [];
    // The room is for all of them together.
    for (const arrival of arrivals) taken.push(...(await acceptAll(store, [arrival], null)));
    return taken;
  }
}

/** What settling or routing crashes on is a bug of the relay's: its bytes are kept, and read again by a release without it. */
async function keepCrashed(store: Deciding, watched: Watched, error: unknown): Promise<Taken> {
  const { receipt, run } = watched.arrival;
  if (!watched.hasCrashed || run === null) return failed(error);
  const kept = { ...receipt, note: "the relay met a bug; its log has the details" };
  try {
    const [accepted] = await store.accept([{ receipt: kept, run: null }]);
    return { ...takenOf(watched, accepted as Accepted), crashed: { runId: run.id, error: failed(error).error } };
  } catch (another) {
    if (another instanceof StorageFault) throw another;
    return failed(error);
  }
}

const failed = (error: unknown): Taken & { kind: "failed" } => ({
  kind: "failed",
  error: String((error as Error).stack ?? error),
});

/** An arrival, and what its decision came to. */
interface Watched {
  arrival: Arrival;
  revision: number | null;
  hasCrashed: boolean;
}

function watch({ receipt, run }: Arrival): Watched {
  if (run === null) return { arrival: { receipt, run }, revision: null, hasCrashed: false };
  const decide: Decide = (known) => {
    // True until it has ended well; it may be asked more than once.
    watched.hasCrashed = true;
    const decision = run.decide(known);
    watched.revision = decision.state.revision;
    watched.hasCrashed = false;
    return decision;
  };
  const watched: Watched = { arrival: { receipt, run: { id: run.id, decide } }, revision: null, hasCrashed: false };
  return watched;
}

const takenOf = ({ arrival: { receipt }, revision }: Watched, accepted: Accepted): Taken & { kind: "taken" } => ({
  kind: "taken",
  accepted,
  receiptId: receipt.id,
  reportedStatus: receipt.reportedStatus,
  revision,
  crashed: null,
});

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
