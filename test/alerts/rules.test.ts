import { describe, expect, it } from "vitest";
import {
  afterFailure,
  afterSent,
  alertsDue,
  EMPTY_HISTORY,
  type AlertSettings,
  type Observed,
  type AlertHistory,
} from "../../src/alerts/rules.ts";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";

const MINUTE = 60_000;
const SETTINGS: AlertSettings = {
  onDead: ["ops"],
  onCoverageGap: ["ops"],
  onDiskLow: ["ops"],
  onSinkDown: ["ops", "mail"],
  downAfterMs: 15 * MINUTE,
  everyMs: 15 * MINUTE,
};
const OPEN = { ...CLOSED, state: "open" as const, until: 1 };
const observed = (seen: Partial<Observed>): Observed => ({
  now: 0,
  dead: new Map(),
  gap: [],
  circuits: new Map(),
  isDiskLow: false,
  sinks: ["ops", "mail", "crm"],
  ...seen,
});

/** Looks every minute; what is due is taken. What was told, by minute. */
function watch(
  observations: Partial<Observed>[],
  settings: Partial<AlertSettings> = {},
  history: AlertHistory = EMPTY_HISTORY,
) {
  const messages: string[] = [];
  for (const [minute, given] of observations.entries()) {
    const seen = observed({ now: minute * MINUTE, ...given });
    const { noted, due } = alertsDue(seen, history, { ...SETTINGS, ...settings });
    history = noted;
    for (const one of due) {
      messages.push(`${minute} ${one.reason} ${one.count} ${one.sinks.join("+")}`.trim());
      history = afterSent(history, one, seen);
    }
    // As it is kept.
    history = JSON.parse(JSON.stringify(history)) as AlertHistory;
  }
  return messages;
}
const times = <T>(n: number, value: T): T[] => Array.from({ length: n }, () => value);
const dead = (crm: number, ops = 0) => ({ dead: new Map(Object.entries({ crm, ops })) });

it("a disk that is almost full is reported once, and again after it had space", () => {
  const low = { isDiskLow: true };
  expect(watch([{}, ...times(30, low), ...times(20, {}), low, low])).toEqual(["1 disk_low 1", "51 disk_low 1"]);
});

describe("dead deliveries", () => {
  it("dead deliveries from before the alerts were first checked are not reported", () => {
    expect(watch(times(30, dead(7)))).toEqual([]);
  });

  it("dead deliveries are reported within a minute, and then in one alert a quarter of an hour, with their number", () => {
    const flood = Array.from({ length: 40 }, (_, minute) => dead(minute * 10));
    expect(watch([dead(0), ...flood.slice(1)])).toEqual([
      "1 deliveries_dead 10 crm",
      "16 deliveries_dead 150 crm",
      "31 deliveries_dead 150 crm",
    ]);
  });

  it("dead deliveries that were sent again or pruned are forgotten, and new ones are counted from there", () => {
    expect(watch([dead(5), dead(0), dead(2, 1)])).toEqual(["2 deliveries_dead 3 crm+ops"]);
  });

  it("dead deliveries from before a sink was named for alerts are not reported to it", () => {
    let history = EMPTY_HISTORY;
    for (const n of [0, 4]) history = alertsDue(observed(dead(n)), history, { ...SETTINGS, onDead: [] }).noted;
    expect(alertsDue(observed(dead(4)), history, SETTINGS).due).toEqual([]);
    expect(alertsDue(observed(dead(5)), history, SETTINGS).due).toMatchObject([{ count: 1 }]);
  });
});

it("a coverage gap is reported once for its runs, again when runs are added to it, and again after it had closed", () => {
  const gap = (...ids: string[]) => ({ gap: ids });
  expect(
    watch([gap("a"), gap("a"), ...times(14, gap("a", "b")), gap("b"), gap(), ...times(14, gap()), gap("a")]),
  ).toEqual(["0 coverage_gap 1", "15 coverage_gap 2", "32 coverage_gap 1"]);
});

describe("a sink that fails", () => {
  const failing = (...names: string[]) => ({ circuits: new Map(names.map((name) => [name, OPEN] as const)) });

  it("a sink that fails is reported once after a quarter of an hour, and again when it has recovered", () => {
    expect(watch([...times(40, failing("crm")), {}, {}])).toEqual(["15 sink_down 1 crm", "40 sink_up 1 crm"]);
  });

  it("a sink that fails only for a while is not reported", () => {
    expect(watch([...times(14, failing("crm")), {}, ...times(14, failing("crm")), {}])).toEqual([]);
  });

  it("a sink that asked for no more deliveries is reported at once, as it does not come back by itself", () => {
    const stopped = { circuits: new Map([["crm", { ...CLOSED, state: "stopped" as const }]]) };
    expect(watch(times(3, stopped))).toEqual(["0 sink_down 1 crm"]);
  });

  it("a sink that fails is never reported to itself, and to no sink at all when it is the only one", () => {
    expect(watch(times(20, failing("ops")), { onSinkDown: ["ops"] })).toEqual([]);
    expect(watch(times(20, failing("ops")))).toEqual(["15 sink_down 1 ops"]);
  });

  it("a sink that fails and then leaves the configuration is forgotten", () => {
    expect(watch([...times(16, failing("crm")), { sinks: ["ops"] }, {}])).toEqual(["15 sink_down 1 crm"]);
  });

  it("a sink that fails is reported in one alert with others that fail", () => {
    expect(watch(times(16, failing("crm", "mail")))).toEqual(["15 sink_down 2 mail+crm"]);
  });
});

it("an alert that no sink took is tried again after 1, 2, 4 … minutes, an hour at most, and holds up no other", () => {
  let history = alertsDue(observed(dead(0)), EMPTY_HISTORY, SETTINGS).noted;
  const tries: number[] = [];
  for (let minute = 1; minute <= 300; minute++) {
    const seen = observed({ now: minute * MINUTE, ...dead(1) });
    const { noted, due } = alertsDue(seen, history, SETTINGS);
    history = noted;
    for (const one of due) {
      tries.push(minute);
      history = afterFailure(history, one, seen.now);
    }
  }
  expect(tries).toEqual([1, 2, 4, 8, 16, 32, 64, 124, 184, 244]);
  const both = alertsDue(observed({ now: 301 * MINUTE, gap: ["a"], ...dead(1) }), history, SETTINGS);
  expect(both.due.map(({ reason }) => reason)).toEqual(["coverage_gap"]);
});
