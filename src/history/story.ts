/** The timeline of a run, from Skyvern's first time stamp to the last answer of each sink. Pure. */
import { isJsonObject, type Json } from "../platform/json.ts";
import { plural } from "../platform/amounts.ts";
import { isoTime } from "../platform/time.ts";
import type { Circuit, Delivery, DeliveryReceipt, Run, RunAttempt } from "../domain/run.ts";
import { duration } from "../sinks/content.ts";
import type { Attempt } from "../store/contract/deliveries.ts";
import type { Receipt } from "../store/contract/receipts.ts";

export interface Entry {
  at: number;
  who: "Skyvern" | "Relay" | "Sink";
  /** `settled`: a receipt that settled the outcome. `died`: a delivery that became dead without a last attempt. */
  sort:
    | "stamp"
    | "settled"
    | "receipt"
    | "unrecognized"
    | "queued"
    | "requeued"
    | "died"
    | "delivered"
    | "retry"
    | "dead";
  /** A sentence of the relay's; text from outside in it is still hostile. */
  title: string;
  /** Reasons and notes, one on each line. */
  lines: string[];
  /** The result of each route. */
  routing: { route: string; matched: boolean; because: string }[];
  /** The receipt whose bytes can be shown. */
  receiptId: string | null;
}

export interface StoryInput {
  run: Run;
  receipts: readonly Receipt[];
  /** Oldest first. */
  deliveries: readonly Delivery[];
  attempts: readonly Attempt[];
  /** By sink; an absent one is closed. */
  circuits: ReadonlyMap<string, Circuit>;
}

export function buildTimeline({ run, receipts, deliveries, attempts, circuits }: StoryInput): Entry[] {
  const byDelivery = Map.groupBy(attempts, ({ delivery_id }) => delivery_id);
  const entries = [
    ...stamps(run),
    ...receipts.map(receiptEntry),
    ...deliveries.flatMap((delivery) =>
      deliveryEntries(delivery, byDelivery.get(delivery.id) ?? [], isPaused(circuits.get(delivery.sink))),
    ),
  ];
  // The sort is stable, so entries of the same millisecond stay in the order of cause and effect.
  return entries.toSorted((a, b) => a.at - b.at);
}

const entry = (given: Pick<Entry, "at" | "who" | "sort" | "title"> & Partial<Entry>): Entry => ({
  lines: [],
  routing: [],
  receiptId: null,
  ...given,
});

function stamps(run: Run): Entry[] {
  const said: [number | null, string][] = [
    [run.created_at, "Run created"],
    [run.queued_at, "Queued"],
    [run.started_at, "Started"],
    [run.finished_at, "Finished"],
  ];
  const shown = run.attempts.length === 0 ? said : said.slice(0, 2);
  const lines = listOrigin(run);
  return [
    ...shown.flatMap(([at, title], i) =>
      at === null ? [] : [entry({ at, who: "Skyvern", sort: "stamp", title, lines: i === 0 ? lines : [] })],
    ),
    ...run.attempts.flatMap(attemptStamps),
  ];
}

/** Where the run comes from. */
function listOrigin({ parent, trigger, schedule, retried_from, tags }: Run): string[] {
  const said: [string, string | null][] = [
    ["Trigger", trigger ?? null],
    ["Schedule", schedule ?? null],
    ["Started by the run", parent ?? null],
    ["Retry of the run", retried_from],
    ["Tags", (tags ?? []).join(", ") || null],
  ];
  return said.flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}`]));
}

function attemptStamps({ attempt, status, reason, codes, started_at, finished_at, decision }: RunAttempt): Entry[] {
  const lines = [
    reason,
    codes.length === 0 ? null : `Error codes: ${codes.join(", ")}`,
    decision === null ? null : (DECISIONS.get(decision) ?? `Skyvern decided: ${decision}`),
  ].filter((line) => line !== null);
  const stamp = (at: number | null, title: string, said: string[] = []): Entry[] =>
    at === null ? [] : [entry({ at, who: "Skyvern", sort: "stamp", title, lines: said })];
  return [
    ...stamp(started_at, `Attempt ${attempt} started`),
    ...stamp(finished_at, `Attempt ${attempt} ended: ${status}`, lines),
  ];
}

/** A map, as a decision is any text. */
const DECISIONS = new Map([
  ["retry", "Skyvern will try again."],
  ["final", "It is the last attempt."],
  ["revoked", "Another attempt was planned; it was canceled before it began."],
  ["never_started", "Skyvern announced another attempt, but it never started."],
]);

const VERDICTS: Record<Receipt["verdict"], string> = {
  accepted: "Result accepted",
  duplicate: "Nothing new: duplicate",
  updated: "More data for the same outcome: updated",
  corrected: "The outcome changed: corrected",
  stored: "Not final yet: stored",
  disputed:
    "Disputed: another organization's key reported this run before. It is stored until Skyvern says whose it is",
  unrecognized: "Unrecognized: stored, but no run could be read from it",
};

const SOURCES: Record<Receipt["source"], string> = {
  webhook: "Webhook",
  reconciled: "Reconciled (read from Skyvern)",
  backfill: "Backfill",
};

function receiptEntry(receipt: Receipt): Entry {
  const facts = [
    `${SOURCES[receipt.source]}${receipt.channel === null ? "" : `, channel “${receipt.channel}”`}`,
    receipt.reported_status === null ? null : `says “${receipt.reported_status}”`,
    receipt.key_name === null ? null : `signed with key “${receipt.key_name}”`,
    plural(receipt.body_bytes, "byte"),
  ];
  const lines = [facts.filter((text) => text !== null).join(" · ")];
  if (receipt.note !== null) lines.push(receipt.note);
  if (receipt.copies > 1) {
    lines.push(`The same bytes came ${receipt.copies} times, last at ${isoTime(receipt.last_received_at)}.`);
  }
  const isSettling = receipt.verdict === "accepted" || receipt.verdict === "corrected";
  return entry({
    at: receipt.received_at,
    who: "Relay",
    sort: receipt.verdict === "unrecognized" ? "unrecognized" : isSettling ? "settled" : "receipt",
    title: VERDICTS[receipt.verdict],
    lines,
    routing: parseRouting(receipt.routing),
    receiptId: receipt.id,
  });
}

/** Parses the stored trace of the routes; anything but a list of results is skipped. */
export function parseRouting(routing: Json): Entry["routing"] {
  if (!Array.isArray(routing)) return [];
  return routing.flatMap((item) => {
    if (!isJsonObject(item)) return [];
    const { route, matched, because } = item;
    return typeof route === "string" && typeof because === "string"
      ? [{ route, matched: matched === true, because }]
      : [];
  });
}

const CAUSES: Record<Delivery["cause"], string> = {
  result: "Queued",
  update: "Update queued",
  correction: "Correction queued",
  redelivery: "Queued again on request",
  test: "Test queued",
};

const isPaused = (circuit: Circuit | undefined): boolean => circuit !== undefined && circuit.state !== "closed";

function deliveryEntries(delivery: Delivery, attempts: readonly Attempt[], paused: boolean): Entry[] {
  const sink = `${delivery.sink} (${delivery.kind})`;
  const isAttempt = delivery.subject === "attempt";
  const lines = [`Delivery ${delivery.id}, ${isAttempt ? "run attempt" : "revision"} ${delivery.revision}`];
  // The attempt was counted when it began, but its end was never recorded: the process died in it.
  const lost = delivery.attempts - attempts.length - (delivery.state === "sending" ? 1 : 0);
  if (lost > 0)
    lines.push(`${lost === 1 ? "One attempt was" : `${lost} attempts were`} cut short when the relay stopped.`);
  if (delivery.state === "canceled") {
    lines.push(
      attempts.at(-1)?.outcome === "dead" || delivery.last_error !== null
        ? "No longer dead: a later delivery to this sink arrived."
        : "Canceled: a newer outcome replaced it before it was sent.",
    );
  }
  const hasDied = delivery.state === "dead" && attempts.at(-1)?.outcome !== "dead" && delivery.last_error !== null;
  if (hasDied) lines.push(`Dead: ${delivery.last_error}`);
  return [
    entry({
      at: delivery.created_at,
      who: "Relay",
      sort: hasDied ? "died" : delivery.cause === "redelivery" ? "requeued" : "queued",
      title: `${CAUSES[delivery.cause]} for ${sink}`,
      lines,
    }),
    ...attempts.map((attempt) => attemptEntry(delivery, attempt, attempt === attempts.at(-1) && !paused)),
  ];
}

function attemptEntry(delivery: Delivery, attempt: Attempt, saysNext: boolean): Entry {
  const { n, outcome, started_at, finished_at } = attempt;
  const lines = attempt.reason === null ? [] : [attempt.reason];
  if (outcome === "delivered") lines.push(...proofLines(delivery.receipt));
  if (outcome === "retry" && saysNext && delivery.next_attempt_at !== null) {
    lines.push(`Next try at ${isoTime(delivery.next_attempt_at)}.`);
  }
  const ms = Math.max(0, finished_at - started_at);
  const took = `attempt ${n}, ${ms < 1_000 ? `${ms} ms` : duration(ms)}`;
  const said = {
    delivered: `Delivered to ${delivery.sink} (${took})`,
    retry: `Pending: not delivered to ${delivery.sink} yet (${took})`,
    dead: `Dead: not delivered to ${delivery.sink}, and not tried again (${took})`,
  };
  return entry({ at: finished_at, who: "Sink", sort: outcome, title: said[outcome], lines });
}

/** What the sink answered: `status 200`, `message_id <…>`. Links are shown elsewhere. */
export const proofLines = (receipt: DeliveryReceipt | null): string[] =>
  Object.entries(receipt ?? {}).flatMap(([name, value]) =>
    typeof value === "string" || typeof value === "number" ? [`${name.replaceAll("_", " ")}: ${value}`] : [],
  );
