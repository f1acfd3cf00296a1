/** Explains why a run was or was not delivered, for the history API and `skyvern-relay why`. Pure. */
import { z } from "zod";
import { plural } from "../platform/amounts.ts";
import { isoTime } from "../platform/time.ts";
import {
  CAUSES,
  DELIVERY_STATES,
  isFinal,
  RETRYING,
  SOURCES,
  SUBJECTS,
  VERDICTS,
  type Circuit,
  type Delivery,
  type DeliveryReceipt,
  type Run,
} from "../domain/run.ts";
import type { Attempt } from "../store/contract/deliveries.ts";
import type { StoredRun } from "../store/contract/runs.ts";
import { describePause } from "./sink-health.ts";
import { parseRouting, buildTimeline, type Entry, type StoryInput } from "./story.ts";

export interface WhyInput extends Omit<StoryInput, "run"> {
  stored: StoredRun;
  /** Of every configured sink, in the order of the configuration. */
  circuits: ReadonlyMap<string, Circuit>;
}

const text = z.string().nullable();
const time = z.iso.datetime({ precision: 3 });

export const AttemptSchema = z.object({
  n: z.int(),
  started_at: time,
  finished_at: time,
  outcome: z.enum(["delivered", "retry", "dead"]),
  reason: z.string().nullable(),
});

/** All lists are in the order of time. Every string from outside is hostile. */
export const WhySchema = z.object({
  run_id: z.string(),
  title: text,
  status: z.string(),
  revision: z.int(),
  summary: z.array(z.string()).meta({ description: "The answer in sentences." }),
  receipts: z.array(
    z.object({
      id: z.string(),
      received_at: time,
      key: text.meta({ description: "Name of the key that signed it; null when Skyvern's API was asked." }),
      source: z.enum(SOURCES),
      channel: text,
      reported_status: text,
      verdict: z.enum(VERDICTS),
      note: text,
      copies: z.int(),
    }),
  ),
  routes: z
    .array(z.object({ route: z.string(), matched: z.boolean(), because: z.string() }))
    .meta({ description: "The result of each route when sinks were last chosen." }),
  deliveries: z.array(
    z.object({
      id: z.string(),
      sink: z.string(),
      kind: z.string(),
      subject: z.enum(SUBJECTS),
      cause: z.enum(CAUSES),
      revision: z.int(),
      state: z.enum(DELIVERY_STATES),
      created_at: time,
      delivered_at: time.nullable(),
      next_attempt_at: time.nullable(),
      last_error: text,
      permalink: text.meta({ description: "The link to the Slack message." }),
      message_id: text.meta({ description: "The mail's Message-ID." }),
      http_status: z.int().nullable(),
      attempts: z.array(AttemptSchema),
    }),
  ),
  timeline: z
    .array(z.object({ at: time, who: z.string(), what: z.string(), details: z.array(z.string()) }))
    .meta({ description: "Everything in the order of time." }),
});

export type Why = z.output<typeof WhySchema>;

export function explain({ stored, receipts, deliveries, attempts, circuits }: WhyInput): Why {
  const { run, revision } = stored.state;
  const byDelivery = Map.groupBy(attempts, ({ delivery_id }) => delivery_id);
  const routes = parseRouting(receipts.findLast(({ routing }) => routing !== null)?.routing ?? null);
  return {
    run_id: run.run_id,
    title: run.title,
    status: run.status,
    revision,
    summary: summarize({
      run,
      isUnrouted: stored.state.unrouted === true,
      routes,
      deliveries: deliveries.filter(({ subject }) => subject === "run"),
      circuits,
    }),
    receipts: receipts.map((receipt) => ({
      id: receipt.id,
      received_at: isoTime(receipt.received_at),
      key: receipt.key_name,
      source: receipt.source,
      channel: receipt.channel,
      reported_status: receipt.reported_status,
      verdict: receipt.verdict,
      note: receipt.note,
      copies: receipt.copies,
    })),
    routes,
    deliveries: deliveries.map((delivery) => toWhyDelivery(delivery, byDelivery.get(delivery.id) ?? [])),
    timeline: buildTimeline({ run, receipts, deliveries, attempts, circuits }).map(toTimelineEntry),
  };
}

interface SummaryInput extends Pick<StoryInput, "run" | "deliveries" | "circuits"> {
  isUnrouted: boolean;
  routes: Why["routes"];
}

function summarize({ run, isUnrouted, routes, deliveries, circuits }: SummaryInput): string[] {
  if (run.status === RETRYING) return retryingSummary(run);
  if (!isFinal(run)) return [`The run has not ended (${run.status}). Its result is delivered once it has.`];
  if (isUnrouted)
    return ["A route tests where the run comes from: the relay asks Skyvern, then chooses the sinks, within seconds."];
  if (deliveries.length === 0) {
    return [
      `Nothing was delivered: ${describeNoDelivery(routes, circuits)}.`,
      ...(circuits.size === 0 ? [] : [howToSend(run.run_id, [...circuits.keys()], routes.length > 0)]),
    ];
  }
  // The last delivery to each sink counts.
  const last = new Map(deliveries.map((delivery) => [delivery.sink, delivery]));
  return [...last.values()].map((delivery) => describeDelivery(delivery, circuits));
}

function describeNoDelivery(routes: Why["routes"], circuits: SummaryInput["circuits"]): string {
  // Sinks are chosen, and the routes noted, for every final run but those.
  if (routes.length === 0) return "the run is one of the past, and these are only stored";
  if (circuits.size === 0) return "no sink is configured";
  return routes.some(({ matched }) => matched) ? "the matching routes name no sink" : "no route matched";
}

const howToSend = (runId: string, sinks: readonly string[], isByRoutes: boolean): string =>
  `To send it anyway: ${redeliverCommand(runId, sinks[0])}` +
  `${sinks.length > 1 ? ` (there are ${sinks.join(", ").replace(/, ([^,]*)$/, " and $1")})` : ""}.` +
  (isByRoutes ? " To change what later runs do: routes in relay.yaml." : "");

/** For a shell: an id is whatever a webhook said. */
const redeliverCommand = (runId: string, sink: string | undefined): string =>
  `skyvern-relay redeliver ${/^\w[\w.-]*$/.test(runId) ? runId : `'${runId.replaceAll("'", "'\\''")}'`}` +
  (sink === undefined ? "" : ` --sink ${sink}`);

function retryingSummary({ attempt, reported_status, next_attempt_at }: Run): string[] {
  const at = next_attempt_at === null ? "" : ` at ${isoTime(next_attempt_at)}`;
  return [
    `The run is not final: attempt ${attempt} ended as ${reported_status}, and Skyvern tries again${at}.`,
    "The result is delivered once the last attempt has ended. If no webhook comes, the relay asks Skyvern after that " +
      "time. If the retry has not started 24 hours later, the relay delivers the result as it stands.",
  ];
}

function describeDelivery(delivery: Delivery, circuits: SummaryInput["circuits"]): string {
  const { run_id, sink, state, delivered_at, next_attempt_at, last_error, attempts } = delivery;
  const circuit = circuits.get(sink);
  const sinks = [...circuits.keys()];
  const pause = circuit === undefined ? null : describePause(sink, circuit);
  const tries = plural(attempts, "attempt");
  const because = last_error === null ? "" : `: ${last_error}`;
  switch (state) {
    case "delivered":
      return `Delivered to ${sink} at ${isoTime(delivered_at)}${because}.`;
    case "dead":
      return (
        `Dead: not delivered to ${sink}, and not tried again${because} (${tries}). ` +
        (circuit?.state === "stopped"
          ? `The relay stopped ${sink}: resume it (POST /v1/sinks/${sink}/resume, or Resume on the page Sinks), then: `
          : "Fix the cause, then: ") +
        redeliverCommand(run_id, sinks.includes(sink) ? sink : sinks[0])
      );
    case "canceled":
      return `Canceled: another delivery covers or replaces the last one to ${sink}.`;
    case "sending":
      return `Sending to ${sink} right now (attempt ${attempts}).`;
    case "pending":
      if (pause !== null) return `Pending: not delivered to ${sink} yet: ${pause}`;
      return attempts === 0
        ? `Pending: not delivered to ${sink} yet: it waits for its turn.`
        : `Pending: not delivered to ${sink} yet${because} (${tries}). Next try at ${isoTime(next_attempt_at)}.`;
  }
}

function toWhyDelivery(delivery: Delivery, attempts: readonly Attempt[]): Why["deliveries"][number] {
  const { id, sink, kind, subject, cause, revision, state, last_error, receipt } = delivery;
  return {
    id,
    sink,
    kind,
    subject,
    cause,
    revision,
    state,
    created_at: isoTime(delivery.created_at),
    delivered_at: isoTime(delivery.delivered_at),
    next_attempt_at: isoTime(delivery.next_attempt_at),
    last_error,
    permalink: textField(receipt, "permalink"),
    message_id: textField(receipt, "message_id"),
    http_status: typeof receipt?.["status"] === "number" ? receipt["status"] : null,
    attempts: attempts.map(attemptJson),
  };
}

export const attemptJson = ({ n, started_at, finished_at, outcome, reason }: Attempt) => ({
  n,
  started_at: isoTime(started_at),
  finished_at: isoTime(finished_at),
  outcome,
  reason,
});

function textField(receipt: DeliveryReceipt | null, name: string): string | null {
  const value = receipt?.[name];
  return typeof value === "string" ? value : null;
}

const toTimelineEntry = ({ at: ms, who, title, lines, routing }: Entry): Why["timeline"][number] => ({
  at: isoTime(ms),
  who,
  what: title,
  details: [
    ...lines,
    ...routing.map(
      ({ route, matched, because }) => `Route ${route} ${matched ? "matched" : "did not match"}: ${because}`,
    ),
  ],
});
