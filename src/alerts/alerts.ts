/**
 * The relay's messages about itself. Every minute a round compares the state of the database with what was reported and
 * sends what is new: one message for many events, none while nothing is new.
 *
 * Alerts do not use the outbox, because they describe a state and show it as it is when they are sent. What was
 * reported is stored after a sink accepted it, so a restart loses no message; a crash between the two repeats one.
 * Alerts are no deliveries, so none is about another alert, and none opens a circuit.
 */
import { alertReport, type Alert } from "../domain/alert.ts";
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import { isoTime } from "../platform/time.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Sink } from "../sinks/sink.ts";
import type { DeliveryStore } from "../store/contract/deliveries.ts";
import type { OutboxStore } from "../store/contract/outbox.ts";
import type { StatsStore } from "../store/contract/stats.ts";
import type { UpkeepStore } from "../store/contract/upkeep.ts";
import {
  afterFailure,
  afterSent,
  alertsDue,
  EMPTY_HISTORY,
  type AlertSettings,
  type DueAlert,
  type Observed,
  type AlertHistory,
} from "./rules.ts";
import { sendOnce } from "../sinks/send-once.ts";

export interface AlertDeps {
  settings: AlertSettings;
  sinks: readonly Sink[];
  store: Pick<StatsStore, "counts" | "backlog"> &
    Pick<OutboxStore, "circuits"> &
    Pick<DeliveryStore, "deliveries"> &
    Pick<UpkeepStore, "setting" | "saveSetting">;
  /** Ids of runs that were not delivered to every sink. */
  gap(): Promise<string[]>;
  /** True when the database's disk is almost full. */
  isDiskLow(): boolean;
  publicUrl(): string;
  /** How long a sink may take to answer, ms. */
  timeoutMs: number;
  runtime: Pick<Runtime, "now" | "newId">;
  log: Log;
  metrics: Metrics;
}

const HISTORY_SETTING = "alerts";
const REASONS_NAMED = 3;

/** Runs one round and sends what is due. Rejects when the database cannot be read. */
export async function alertRound(deps: AlertDeps, signal: AbortSignal): Promise<void> {
  const { store, runtime, settings } = deps;
  const before = await store.setting(HISTORY_SETTING, JSON.stringify(EMPTY_HISTORY));
  const [{ deliveries }, circuits, gap] = await Promise.all([store.counts(), store.circuits(), deps.gap()]);
  const dead = new Map(deliveries.filter(({ state }) => state === "dead").map(({ sink, count }) => [sink, count]));
  const seen: Observed = {
    now: runtime.now(),
    dead,
    gap,
    circuits,
    isDiskLow: deps.isDiskLow(),
    sinks: deps.sinks.map(({ name }) => name),
  };
  const { noted, due } = alertsDue(
    seen,
    { ...EMPTY_HISTORY, ...(JSON.parse(before) as Partial<AlertHistory>) },
    settings,
  );
  let history = noted;
  let stored = before;
  const save = async () => {
    const value = JSON.stringify(history);
    if (value !== stored) await store.saveSetting(HISTORY_SETTING, value);
    stored = value;
  };
  await save();
  for (const one of due) {
    if (signal.aborted) return;
    const isSent = await sendToAll(deps, one, seen, signal);
    history = isSent ? afterSent(history, one, seen) : afterFailure(history, one, runtime.now());
    await save();
  }
}

/** Sends to each sink that gets this alert. True when at least one accepted it. */
async function sendToAll(deps: AlertDeps, due: DueAlert, seen: Observed, signal: AbortSignal): Promise<boolean> {
  const { log, metrics, circuits } = { ...deps, circuits: seen.circuits };
  let isSent = false;
  for (const name of due.to) {
    const sink = deps.sinks.find((one) => one.name === name);
    const about = due.sinks.filter((one) => due.reason === "deliveries_dead" || one !== name);
    // A sink that asked for no more messages gets none.
    if (!sink || circuits.get(name)?.state === "stopped" || (due.sinks.length > 0 && about.length === 0)) continue;
    const isOfSinks = due.reason === "sink_down" || due.reason === "sink_up";
    const alert = await composeAlert(deps, { ...due, sinks: about, count: isOfSinks ? about.length : due.count }, seen);
    const outcome = await send(deps, sink, alert, signal);
    const { id, reason, count } = alert;
    metrics.alerts.inc({ reason, outcome: outcome.kind });
    const fields = { alert_id: id, alert: reason, count, sink: name, outcome: outcome.kind };
    if (outcome.kind === "delivered") log.info("alert.sent", { ...fields, reason: null });
    else log.error("alert.not_sent", { ...fields, reason: outcome.reason });
    isSent ||= outcome.kind === "delivered";
  }
  return isSent;
}

const send = ({ timeoutMs, runtime, log }: AlertDeps, sink: Sink, alert: Alert, signal: AbortSignal) =>
  sendOnce({
    sink,
    deliveryId: alert.id,
    runId: null,
    prepare: () => {
      const queuedAt = runtime.now();
      const report = alertReport(alert, isoTime(queuedAt));
      return { attempt: 1, cause: "alert", queuedAt, maybeSent: false, report, previous: null, alert };
    },
    timeoutMs,
    signal,
    log,
  });

async function composeAlert(deps: AlertDeps, due: DueAlert, seen: Observed): Promise<Alert> {
  const { reason, count, sinks, runIds } = due;
  const base = { id: deps.runtime.newId("alr"), reason, count, sinks, run_ids: runIds };
  const at = (path: string) => deps.publicUrl() + path;
  const names = sinks.join(", ");
  const are = count === 1 ? "is" : "are";
  if (reason === "deliveries_dead") {
    const { runIds: dead, lines } = await newestDead(deps, sinks);
    const one = count === 1;
    const title = `${count} ${one ? "delivery is" : "deliveries are"} dead (${names})`;
    const text = [
      `${one ? "It is" : "They are"} not tried again. Fix the cause, then redeliver ${one ? "it" : "them"}.`,
      ...lines,
    ].join("\n");
    return { ...base, run_ids: dead, title, text, url: at("/deliveries?state=dead") };
  }
  if (reason === "coverage_gap") {
    const title = `${count} finished ${count === 1 ? "run was" : "runs were"} not delivered to every sink`;
    const text = `New among them: ${runIds.join(", ")}. "skyvern-relay why" and the run's page say what happened.`;
    return { ...base, title, text, url: at("/") };
  }
  if (reason === "disk_low") {
    const text =
      "Webhooks are answered 503 when it is full. Free space, enlarge the volume, or shorten retention in relay.yaml.";
    return { ...base, title: "The database's disk is almost full", text, url: at("/") };
  }
  if (reason === "sink_up")
    return {
      ...base,
      title: `${names} ${count === 1 ? "has" : "have"} recovered`,
      text: "Pending deliveries are being sent.",
      url: at("/sinks"),
    };
  const backlog = await deps.store.backlog();
  const lines = sinks.map((sink) => {
    const size = backlog.find((one) => one.sink === sink)?.size ?? 0;
    return (
      `${sink}: ${seen.circuits.get(sink)?.reason ?? "it fails"}. ${size} ` +
      `${size === 1 ? "delivery is" : "deliveries are"} pending.`
    );
  });
  return { ...base, title: `${names} ${are} failing`, text: lines.join("\n"), url: at("/sinks") };
}

/** Some runs and reasons of the newest dead deliveries of each sink. */
async function newestDead({ store }: AlertDeps, sinks: readonly string[]) {
  const runIds: string[] = [];
  const lines: string[] = [];
  for (const sink of sinks) {
    const newest = await store.deliveries({ state: ["dead"], sink: [sink] }, { limit: REASONS_NAMED });
    for (const { run_id, last_error } of newest) {
      runIds.push(run_id);
      lines.push(`${run_id} to ${sink}: ${last_error ?? "its last attempt left no reason"}`);
    }
  }
  return { runIds: [...new Set(runIds)].slice(0, 10), lines: lines.slice(0, 10) };
}
