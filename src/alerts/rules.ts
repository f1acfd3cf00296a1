/**
 * Decides when the relay reports about itself, and what. Pure: it takes what is observed and what was reported, and
 * returns what is to be reported.
 */
import type { AlertReason } from "../domain/alert.ts";
import { HOUR_MS, MINUTE_MS } from "../platform/time.ts";
import type { Circuit } from "../domain/run.ts";

export interface AlertSettings {
  /** Names of sinks; empty turns the alert off. */
  onDead: string[];
  onCoverageGap: string[];
  onDiskLow: string[];
  onSinkDown: string[];
  /** How long a sink must fail to count as down, ms. */
  downAfterMs: number;
  /** The least time between two messages about dead deliveries, or about gaps, ms. */
  everyMs: number;
}

export interface Observed {
  now: number;
  /** Dead deliveries by sink. */
  dead: ReadonlyMap<string, number>;
  /** Ids of runs that were not delivered to every sink. */
  gap: readonly string[];
  circuits: ReadonlyMap<string, Circuit>;
  /** True when the database's disk is almost full. */
  isDiskLow: boolean;
  /** The configured sinks. */
  sinks: readonly string[];
}

/** What was reported. It is stored in the database, so a restart neither repeats nor forgets anything. */
export interface AlertHistory {
  /** Dead deliveries by sink that were reported. Null before the first round: older ones are not reported. */
  dead: Record<string, number> | null;
  gap: string[];
  /** True when the full disk was reported; it is reported again after it had space. */
  disk: boolean;
  /** Failing sinks: since when, epoch ms, and whether that was reported. */
  down: Record<string, { since: number; alerted: boolean }>;
  /** When each kind of message was last sent or tried; `failures` counts failed tries in a row. */
  last: Partial<Record<AlertReason, { at: number; failures: number }>>;
}
export const EMPTY_HISTORY: AlertHistory = { dead: null, gap: [], disk: false, down: {}, last: {} };

/** One message that is due. `sinks` are those it is about; none of them receives it. */
export interface DueAlert {
  reason: AlertReason;
  to: readonly string[];
  sinks: string[];
  count: number;
  runIds: string[];
}

/** The wait after a failed try: a minute, doubled each time, up to an hour. */
const RETRY_MS = MINUTE_MS;
const LONGEST_RETRY_MS = HOUR_MS;
const NAMED = 10;

/** Returns what to record at once, and what to send. */
export function alertsDue(
  seen: Observed,
  history: AlertHistory,
  settings: AlertSettings,
): { noted: AlertHistory; due: DueAlert[] } {
  const noted = observe(seen, history);
  // With no sink configured the count moves along, so a sink added later gets only later events.
  if (settings.onDead.length === 0) noted.dead = Object.fromEntries(seen.dead);
  const due = [deadDue, gapDue, diskDue, downDue, upDue].flatMap((rule) => rule(seen, noted, settings) ?? []);
  return { noted, due: due.filter(({ reason, to }) => to.length > 0 && isTime(seen, noted, settings, reason)) };
}

/**
 * The history updated by what is observed: it forgets nothing that was reported, but what has ended may be reported
 * again.
 */
function observe({ now, dead, gap, circuits, isDiskLow, sinks }: Observed, history: AlertHistory): AlertHistory {
  const open = new Set(gap);
  const before = history.dead;
  return {
    ...history,
    dead: Object.fromEntries(
      [...dead].map(([sink, n]) => [sink, before === null ? n : Math.min(before[sink] ?? 0, n)]),
    ),
    gap: history.gap.filter((runId) => open.has(runId)),
    disk: history.disk && isDiskLow,
    down: Object.fromEntries(
      [...new Set([...sinks, ...Object.keys(history.down)])].flatMap((sink) => {
        const was = history.down[sink];
        if (isFailing(circuits.get(sink)) && sinks.includes(sink))
          return [[sink, was ?? { since: now, alerted: false }]];
        // The sink was reported down, so its recovery is still to be reported, unless the sink was removed.
        return was?.alerted === true && sinks.includes(sink) ? [[sink, was]] : [];
      }),
    ),
  };
}

const isFailing = (circuit: Circuit | undefined): boolean => circuit !== undefined && circuit.state !== "closed";

function isTime({ now }: Observed, { last }: AlertHistory, { everyMs }: AlertSettings, reason: AlertReason): boolean {
  const before = last[reason];
  if (before === undefined) return true;
  if (before.failures > 0) return now - before.at >= Math.min(RETRY_MS * 2 ** (before.failures - 1), LONGEST_RETRY_MS);
  return reason === "sink_down" || reason === "sink_up" || now - before.at >= everyMs;
}

function deadDue({ dead }: Observed, history: AlertHistory, { onDead }: AlertSettings): DueAlert | null {
  const fresh = [...dead].map(([sink, n]) => [sink, n - (history.dead?.[sink] ?? 0)] as const).filter(([, n]) => n > 0);
  const count = fresh.reduce((sum, [, n]) => sum + n, 0);
  return count === 0
    ? null
    : { reason: "deliveries_dead", to: onDead, sinks: fresh.map(([sink]) => sink), count, runIds: [] };
}

function gapDue({ gap }: Observed, history: AlertHistory, { onCoverageGap }: AlertSettings): DueAlert | null {
  const known = new Set(history.gap);
  const fresh = gap.filter((runId) => !known.has(runId));
  return fresh.length === 0
    ? null
    : { reason: "coverage_gap", to: onCoverageGap, sinks: [], count: gap.length, runIds: fresh.slice(0, NAMED) };
}

const diskDue = ({ isDiskLow }: Observed, { disk }: AlertHistory, { onDiskLow }: AlertSettings): DueAlert | null =>
  isDiskLow && !disk ? { reason: "disk_low", to: onDiskLow, sinks: [], count: 1, runIds: [] } : null;

/** The sinks about which at least one other sink can be alerted. */
const selectAlertable = (sinks: string[], to: readonly string[]): string[] =>
  sinks.filter((sink) => to.some((other) => other !== sink));

function sinksDue(reason: AlertReason, found: string[], to: readonly string[]): DueAlert | null {
  const sinks = selectAlertable(found, to);
  return sinks.length === 0 ? null : { reason, to, sinks, count: sinks.length, runIds: [] };
}

function downDue(
  { now, circuits }: Observed,
  { down }: AlertHistory,
  { onSinkDown, downAfterMs }: AlertSettings,
): DueAlert | null {
  const failing = Object.entries(down).filter(([sink, { since, alerted }]) => {
    const circuit = circuits.get(sink);
    // A sink that asked for no more messages does not recover by itself.
    return !alerted && isFailing(circuit) && (circuit?.state === "stopped" || now - since >= downAfterMs);
  });
  return sinksDue(
    "sink_down",
    failing.map(([sink]) => sink),
    onSinkDown,
  );
}

function upDue({ circuits }: Observed, { down }: AlertHistory, { onSinkDown }: AlertSettings): DueAlert | null {
  const well = Object.keys(down).filter((sink) => down[sink]?.alerted === true && !isFailing(circuits.get(sink)));
  return sinksDue("sink_up", well, onSinkDown);
}

/** The history after the message was sent. */
export function afterSent(
  history: AlertHistory,
  { reason, sinks }: DueAlert,
  { now, dead, gap }: Observed,
): AlertHistory {
  const next = { ...history, last: { ...history.last, [reason]: { at: now, failures: 0 } } };
  if (reason === "deliveries_dead") return { ...next, dead: Object.fromEntries(dead) };
  if (reason === "coverage_gap") return { ...next, gap: [...gap] };
  if (reason === "disk_low") return { ...next, disk: true };
  const others = Object.entries(history.down).filter(([sink]) => !sinks.includes(sink));
  const these =
    reason === "sink_up"
      ? []
      : sinks.map((sink) => [sink, { since: history.down[sink]?.since ?? now, alerted: true }] as const);
  return { ...next, down: Object.fromEntries([...others, ...these]) };
}

/** The history after no sink accepted the message. */
export const afterFailure = (history: AlertHistory, { reason }: DueAlert, now: number): AlertHistory => ({
  ...history,
  last: { ...history.last, [reason]: { at: now, failures: (history.last[reason]?.failures ?? 0) + 1 } },
});
