/** ops/ against a real /metrics, by Prometheus' own tool. Without promtool (scripts/promtool) its tests are skipped. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { aFolder, anApp } from "../support/app.ts";
import { fixtureBytes } from "../support/fixtures.ts";
import { until } from "../support/until.ts";

const ops = join(import.meta.dirname, "../../ops");
const read = (name: string) => readFileSync(join(ops, name), "utf8");
const promtool = (args: string[], input = "") => {
  const { status, stdout, stderr } = spawnSync("promtool", args, { input, encoding: "utf8", timeout: 30_000 });
  return { status, said: `${stdout}${stderr}` };
};
const hasPromtool = promtool(["--version"]).status === 0;

/**
 * A relay that had something of everything: accepted, refused, kept, delivered, dead, waiting, found in Skyvern's list.
 */
async function metricsOfABusyRelay(): Promise<string> {
  const relay = await anApp({}, { standIns: ["slack", "smtp", "http"], file: "delivery: { schedule: [1h] }" });
  relay.standIns.http.answers.push({ status: 500 }, { status: 404 });
  await relay.webhook(fixtureBytes("task_v2.completed"));
  await relay.webhook(fixtureBytes("workflow_run.failed"));
  await relay.webhook('{"what":"ever"}');
  await relay.webhook("{}", { signature: null });
  await relay.deliver();
  await relay.app.reconcile();
  return (await relay.get("/metrics")).text;
}

interface Rules {
  groups: { rules: { alert: string; expr: string }[] }[];
}
interface Tests {
  tests: { alert_rule_test?: { alertname: string; exp_alerts: unknown[] }[] }[];
}
interface Dashboard {
  uid: string;
  panels: {
    title: string;
    type: string;
    targets: { expr: string }[];
    gridPos: { x: number; y: number; w: number; h: number };
  }[];
  annotations: { list: { expr: string }[] };
  templating: { list: { name: string; query: unknown }[] };
}

const rules = (parse(read("alerts.yaml")) as Rules).groups.flatMap((group) => group.rules);
const dashboard = JSON.parse(read("grafana-dashboard.json")) as Dashboard;

/** Names of metrics in a query: what no bracket follows, and no function or label is. */
const metricsIn = (query: string): string[] =>
  [...query.matchAll(/\b(?:skyvern_relay|nodejs|process)_\w+/g)].map(([name]) => name);

describe("the metrics", () => {
  it.skipIf(!hasPromtool)("the metrics pass promtool check metrics", async () => {
    expect(promtool(["check", "metrics"], await metricsOfABusyRelay())).toEqual({ status: 0, said: "" });
  });

  it("the metrics have every name that dashboard and alert rules use", async () => {
    const text = await metricsOfABusyRelay();
    const there = new Set([...text.matchAll(/^(\w+)(?:\{| )/gm)].map(([, name]) => name));
    const queries = [
      ...rules.map(({ expr }) => expr),
      ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
      ...dashboard.annotations.list.map(({ expr }) => expr),
      JSON.stringify(dashboard.templating),
    ];
    const named = [...new Set(queries.flatMap(metricsIn))];
    expect(named.length).toBeGreaterThan(15);
    expect(named.filter((name) => !there.has(name))).toEqual([]);
    // Values of labels as well: a rule for a result that is never counted would never fire.
    const values = queries.flatMap((query) => [...query.matchAll(/\b(result|state|outcome)=~?"([^"]+)"/g)]);
    for (const [, label, list] of values)
      for (const value of (list ?? "").split("|")) expect(text).toContain(`${label}="${value}"`);
  });

  it("the metrics have few series, however many runs there were", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const series = async () =>
      (await relay.get("/metrics")).text.split("\n").filter((line) => /^skyvern/.test(line)).length;
    const send = async (from: number, to: number) => {
      for (let n = from; n < to; n++)
        await relay.webhook(`{"run_id":"tsk_${n}","status":"completed"}`, { path: `/webhook/channel-${n}` });
      await relay.deliver();
    };
    await send(0, 2);
    const few = await series();
    await send(2, 40);
    expect(await series()).toBe(few);
  });

  it("the metrics are still answered when the database cannot be read, and say that it is not ready", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    await relay.webhook('{"run_id":"tsk_1","status":"completed"}');
    expect((await relay.get("/metrics")).text).toContain("skyvern_relay_ready 1\n");
    await relay.app.store.close();
    // What was true a moment ago answers for a second.
    const isNoticed = async () => (await relay.get("/metrics")).text.includes("skyvern_relay_ready 0\n");
    await until("the relay notices that it is not ready", isNoticed);
    const { status, text } = await relay.get("/metrics");
    expect(status).toBe(200);
    expect(text).toContain('skyvern_relay_webhooks_total{result="accepted"} 1\n');
    expect(text).not.toMatch(/^skyvern_relay_(backlog|unrecognized_receipts|circuit_state)[{ ]/m);
  });

  it("the metrics show the state of each circuit", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const states = async () =>
      Object.fromEntries(
        [
          ...(await relay.get("/metrics")).text.matchAll(
            /^skyvern_relay_circuit_state\{sink="http",state="(\w+)"\} (\d)$/gm,
          ),
        ].map(([, state, value]) => [state, value]),
      );
    expect(await states()).toEqual({ closed: "1", open: "0", stopped: "0" });
    relay.standIns.http.answers.push({ status: 410 });
    await relay.webhook('{"run_id":"tsk_1","status":"completed"}');
    await relay.deliver();
    expect(await states()).toEqual({ closed: "0", open: "0", stopped: "1" });
  });
});

describe.skipIf(!hasPromtool)("the alert rules", () => {
  it("the alert rules pass promtool check rules", () => {
    expect(promtool(["check", "rules", join(ops, "alerts.yaml")])).toMatchObject({ status: 0 });
  });

  it("the alert rules fire when they are to, and not before, in promtool test rules", () => {
    expect(promtool(["test", "rules", join(ops, "alerts.test.yaml")])).toMatchObject({ status: 0 });
  });

  it("the alert rules each have a test in which they fire", () => {
    const fired = (parse(read("alerts.test.yaml")) as Tests).tests
      .flatMap((test) => test.alert_rule_test ?? [])
      .filter(({ exp_alerts }) => exp_alerts.length > 0);
    expect([...new Set(fired.map(({ alertname }) => alertname))].toSorted()).toEqual(
      rules.map(({ alert }) => alert).toSorted(),
    );
  });

  it("the test of the alert rules fails without them", () => {
    const folder = aFolder();
    writeFileSync(join(folder, "alerts.yaml"), read("alerts.yaml").replaceAll(/expr: .*/g, "expr: vector(0) > 1"));
    writeFileSync(join(folder, "alerts.test.yaml"), read("alerts.test.yaml"));
    expect(promtool(["test", "rules", join(folder, "alerts.test.yaml")]).status).not.toBe(0);
  });
});

describe("the dashboard", () => {
  it("the dashboard asks for the data source, and has no panel on another or without a query", () => {
    expect(dashboard.templating.list.map(({ name }) => name)).toEqual(["datasource", "job"]);
    for (const panel of dashboard.panels) {
      expect(panel, panel.title).toMatchObject({ datasource: { type: "prometheus", uid: "${datasource}" } });
      expect(panel.targets.length, panel.title).toBeGreaterThan(0);
      for (const { expr } of panel.targets) expect(expr, panel.title).toContain('job="$job"');
    }
    const { panels } = dashboard;
    for (const [n, { gridPos: a }] of panels.entries())
      for (const { gridPos: b } of panels.slice(n + 1))
        expect(a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h).toBe(false);
  });

  it.skipIf(!hasPromtool)("the dashboard holds queries that Prometheus can read", () => {
    const folder = aFolder();
    const record = dashboard.panels
      .flatMap(({ targets }) => targets)
      .map(({ expr }, n) => ({ record: `q:${n}`, expr: expr.replaceAll("$__rate_interval", "5m") }));
    writeFileSync(join(folder, "queries.yaml"), JSON.stringify({ groups: [{ name: "queries", rules: record }] }));
    expect(promtool(["check", "rules", join(folder, "queries.yaml")])).toMatchObject({ status: 0 });
  });
});
