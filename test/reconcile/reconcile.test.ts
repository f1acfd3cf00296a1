/** Runs whose webhook never came are found in Skyvern's own list (P2). */
import { describe, expect, it, onTestFinished } from "vitest";
import { startSkyvern, type StandInSkyvern } from "../support/skyvern.ts";
import { GAP_AFTER_MS, GRACE_MS, MAX_READS } from "../../src/reconcile/reconcile.ts";
import { aListeningApp, anApp, TOKEN, type TestApp } from "../support/app.ts";
import { aCountingGate, atSkyvern, coverageOf, events, naive, type AtSkyvern } from "../support/at-skyvern.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";
import { until } from "../support/until.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

const idOf = (n: number): string => `tsk_${String(n).padStart(6, "0")}`;
const ids = (count: number, from = 1): string[] => Array.from({ length: count }, (_, i) => idOf(from + i));

const add = (skyvern: StandInSkyvern, run: AtSkyvern): void => skyvern.addRun(atSkyvern(run));

/** Run ids of what the HTTP sink got, in order. */
const toldHttp = ({ standIns }: TestApp): string[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);

const pathsAsked = (skyvern: StandInSkyvern): string[] => skyvern.calls.map(({ path }) => path);
const readOf = (skyvern: StandInSkyvern): string[] =>
  pathsAsked(skyvern).filter((path) => /^\/v1\/runs\/[^/]+$/.test(path));
const forget = (skyvern: StandInSkyvern): void => void skyvern.calls.splice(0);

it("a fault on the second page of Skyvern's list does not keep the first from being read", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const { skyvern } = relay.standIns;
  for (const [i, id] of ids(110).entries()) add(skyvern, { id, endedAt: NOW - HOUR + i * 1_000 });
  let pages = 0;
  const page2 = { on: { test: (path: string) => path === "/v1/runs" && ++pages === 2 } as RegExp, status: 404 };
  skyvern.faults.push(page2);
  expect(await relay.app.reconcile()).toMatchObject({ listed: 100, found: 100, faults: [expect.any(String)] });
  expect(await relay.app.reconcile()).toMatchObject({ listed: 110, found: 10, faults: [] });
});

it("a run that is older than the lookback is left alone", async () => {
  const relay = await anApp({}, { standIns: ["http"], file: "skyvern: { reconcile: { lookback: 2h } }" });
  const { skyvern } = relay.standIns;
  add(skyvern, { id: "tsk_old", endedAt: NOW - HOUR, createdAt: NOW - 3 * HOUR });
  add(skyvern, { id: "tsk_new", endedAt: NOW - HOUR });
  expect(await relay.app.reconcile()).toMatchObject({ listed: 1, found: 1 });
});

it("a run that its webhook brought is not read", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  add(relay.standIns.skyvern, { id: "tsk_1", endedAt: NOW - HOUR });
  await relay.webhook(JSON.stringify(atSkyvern({ id: "tsk_1", endedAt: NOW - HOUR }).payload));
  await relay.deliver();
  forget(relay.standIns.skyvern);
  expect(await relay.app.reconcile()).toMatchObject({ listed: 1, read: 0 });
  expect(await coverageOf(relay)).toBe("1/1");
});

it("a run that ended just now is left to its webhook for a moment, and delivered once", async () => {
  const runtime = aRuntime();
  const relay = await anApp(
    {},
    {
      standIns: ["http"],
      runtime: { ...runtime, sleep: (ms) => Promise.all([runtime.sleep(ms), atWait()]).then(() => {}) },
    },
  );
  const { skyvern } = relay.standIns;
  const punctual = { id: "tsk_punctual", endedAt: NOW - 1_000 };
  add(skyvern, punctual);
  add(skyvern, { id: "tsk_lost", endedAt: NOW - 2_000 });
  const atWait = async () => {
    await relay.webhook(JSON.stringify(atSkyvern(punctual).payload));
  };
  expect(await relay.app.reconcile()).toMatchObject({ listed: 2, read: 1, found: 1 });
  expect(runtime.now()).toBe(NOW - 1_000 + GRACE_MS);
  expect(await relay.read("/v1/runs/tsk_punctual")).toMatchObject({ source: "webhook" });
  expect(await relay.read("/v1/runs/tsk_lost")).toMatchObject({ source: "reconciled" });
});

describe("scope", () => {
  const others = ["https://elsewhere.example.com/webhook", null, "https://relay.example.com:8443/webhook"];

  it("scope mine leaves runs whose webhook leads elsewhere, and does not read them again while nothing changes", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const { skyvern } = relay.standIns;
    for (const [i, webhookUrl] of others.entries()) add(skyvern, { id: idOf(i), endedAt: NOW - HOUR, webhookUrl });
    add(skyvern, {
      id: "tsk_mine",
      endedAt: NOW - HOUR,
      webhookUrl: "https://relay.example.com/proxy/webhook/billing/",
    });

    expect(await relay.app.reconcile()).toMatchObject({ listed: 4, read: 4, found: 1 });
    expect(await relay.app.reconcile()).toMatchObject({ listed: 4, read: 0, found: 0 });
    add(skyvern, { id: idOf(0), endedAt: NOW - HOUR, status: "canceled", webhookUrl: others[0] ?? null });
    expect(await relay.app.reconcile()).toMatchObject({ listed: 4, read: 1, found: 0 });

    await relay.deliver();
    expect(toldHttp(relay)).toEqual(["tsk_mine"]);
    expect(await relay.read("/v1/runs/tsk_mine")).toMatchObject({ channel: "billing" });
    expect(await coverageOf(relay)).toBe("1/1");
  });

  it("scope all takes every run of Skyvern's list", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime, standIns: ["http"], file: "skyvern: { reconcile: { scope: all } }" });
    runtime.advance(2 * HOUR);
    for (const [i, webhookUrl] of others.entries())
      add(relay.standIns.skyvern, { id: idOf(i), endedAt: NOW + HOUR, webhookUrl });
    expect(await relay.app.reconcile()).toMatchObject({ found: 3 });
    await relay.deliver();
    expect(await coverageOf(relay)).toBe("3/3");
  });
});

describe("a run known only as not final", () => {
  const running = (id: string) =>
    JSON.stringify({ ...atSkyvern({ id, endedAt: null, createdAt: NOW }).payload, status: "running" });

  it("a run known only as not final is confirmed when the list shows its end, and when the list does not show it at all", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const { skyvern } = relay.standIns;
    for (const id of ["tsk_listed", "tsk_child"])
      expect((await relay.webhook(running(id))).json()).toMatchObject({ result: "stored" });
    add(skyvern, { id: "tsk_listed", status: "running", endedAt: null, createdAt: NOW });
    add(skyvern, { id: "tsk_child", status: "paused", endedAt: null, createdAt: NOW, unlisted: true });

    // Neither has ended: the listed one is not read, of the other nothing is written down.
    expect(await relay.app.reconcile()).toMatchObject({ listed: 1, read: 1, found: 0 });
    expect(await relay.read("/v1/runs/tsk_child")).toMatchObject({
      status: "running",
      receipts: [{ source: "webhook" }],
    });

    add(skyvern, { id: "tsk_listed", endedAt: NOW - HOUR });
    add(skyvern, { id: "tsk_child", status: "failed", endedAt: NOW - HOUR, unlisted: true });
    expect(await relay.app.reconcile()).toMatchObject({ read: 2, found: 2 });
    await relay.deliver();
    expect(toldHttp(relay).toSorted()).toEqual(["tsk_child", "tsk_listed"]);
    expect(await relay.app.reconcile()).toMatchObject({ read: 0 });
  });

  it("a run known only as not final is the relay's own wherever its webhook URL leads, as its webhook came here", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    await relay.webhook(running("tsk_1"));
    add(relay.standIns.skyvern, { id: "tsk_1", endedAt: NOW - HOUR, webhookUrl: "https://gateway.example.com/hook" });
    expect(await relay.app.reconcile()).toMatchObject({ found: 1 });
  });
});

it("a child run whose webhook is lost is not found, as Skyvern's list has no child runs", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  add(relay.standIns.skyvern, { id: "wr_child", endedAt: NOW - HOUR, unlisted: true });
  expect(await relay.app.reconcile()).toMatchObject({ listed: 0, found: 0 });
});

it("a run that the list contradicts is read once, not with every round, and settles as its webhook would", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const run = { id: "tsk_v2_1", fixture: "task_v2.completed", endedAt: NOW - HOUR };
  await relay.webhook(JSON.stringify(atSkyvern(run).payload));
  const failure_reason = "Failed to run task 2.0: Failed to send webhook.    task_v2_id=tsk_v2_1";
  add(relay.standIns.skyvern, {
    ...run,
    status: "failed",
    payload: { failure_reason, modified_at: naive(NOW - HOUR + MINUTE) },
  });
  expect(await relay.app.reconcile()).toMatchObject({ read: 1, found: 0 });
  expect(await relay.app.reconcile()).toMatchObject({ read: 0 });
  expect(await relay.read("/v1/runs/tsk_v2_1")).toMatchObject({ status: "completed", reported_status: "failed" });

  // A cancel that came too late: the list says what the relay does not believe.
  add(relay.standIns.skyvern, { ...run, status: "canceled", endedAt: NOW - 2 * HOUR });
  expect(await relay.app.reconcile()).toMatchObject({ read: 1, found: 0 });
  expect(await relay.app.reconcile()).toMatchObject({ read: 0 });
  expect(await relay.read("/v1/runs/tsk_v2_1")).toMatchObject({ status: "completed" });
});

it("the same answer of the API with URLs signed again makes one receipt", async () => {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime, skyvern: { now: runtime.now }, file: "skyvern: { confirm: true }" });
  add(relay.standIns.skyvern, { id: "tsk_1", endedAt: NOW - HOUR });
  await relay.app.reconcile();
  runtime.advance(5 * MINUTE);
  const body = JSON.stringify({ run_id: "tsk_1", status: "completed" });
  expect((await relay.webhook(body, { signature: null })).json()).toMatchObject({ result: "duplicate" });
  const { receipts } = await relay.read<{ receipts: { copies: number }[] }>("/v1/runs/tsk_1");
  expect(receipts).toMatchObject([{ copies: 2 }]);
});

it("a run that Skyvern lists and does not find, or answers with nonsense, does not hold up the others", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const { skyvern } = relay.standIns;
  for (const [i, id] of ids(4).entries()) add(skyvern, { id, endedAt: NOW - HOUR + i });
  skyvern.faults.push(
    { on: new RegExp(`${idOf(1)}$`), status: 404 },
    { on: new RegExp(`${idOf(2)}$`), status: 200, body: "<html>" },
    { on: new RegExp(`${idOf(3)}$`), status: 200, body: '{"status":7}' },
  );
  expect(await relay.app.reconcile()).toMatchObject({ read: 4, found: 1, faults: [] });
  expect(events(relay, "reconcile.run_unreadable").map((line) => line["run_id"])).toEqual([idOf(1), idOf(2)]);
});

it("a round reads a bounded number of runs, and the next one goes on", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const { skyvern } = relay.standIns;
  for (let i = 0; i < MAX_READS + 20; i += 1)
    add(skyvern, {
      id: idOf(i),
      endedAt: NOW - HOUR + i,
      webhookUrl: i < MAX_READS ? null : "https://relay.example.com/",
    });
  expect(await relay.app.reconcile()).toMatchObject({ read: MAX_READS, found: 0, left: 20, faults: [] });
  expect(await relay.app.reconcile()).toMatchObject({ read: 20, found: 20, left: 0 });
});

it("a round asks Skyvern for one thing at a time", async () => {
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
  onTestFinished(() => skyvern.close());
  for (const [i, id] of ids(20).entries()) add(skyvern, { id, endedAt: NOW - HOUR + i });
  const gate = await aCountingGate(skyvern.url);
  const relay = await anApp({ SKYVERN_BASE_URL: gate.url });
  expect(await relay.app.reconcile()).toMatchObject({ found: 20 });
  expect(gate.most()).toBe(1);
});

it("a round is reported as incomplete where Skyvern's list goes on beyond its last page", async () => {
  const rows = Array.from({ length: 100 }, (_, i) => ({
    run_id: idOf(i),
    status: "running",
    created_at: new Date(NOW - i).toISOString(),
  }));
  const relay = await anApp();
  const body = JSON.stringify(rows);
  relay.standIns.skyvern.faults.push({ on: /^\/v1\/runs$/, status: 200, body, times: 100 });
  expect(await relay.app.reconcile()).toMatchObject({
    listed: 100,
    faults: [
      expect.stringMatching(/more than 100 pages; runs created before 2026-08-23T09:59:59\.901Z are not listed/),
    ],
  });
});

describe("several organizations", () => {
  const jwt = (organization: string, n = 1): string =>
    `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify({ sub: organization, n })).toString("base64url")}.c2lnbmF0dXJl`;
  const acme = jwt("o_acme");
  const umbrella = jwt("o_umbrella");

  it("each of several organizations is asked with its own key, and its runs are routed as its own", async () => {
    const relay = await anApp(
      { SKYVERN_API_KEY: `${acme},${umbrella}` },
      {
        standIns: ["http"],
        skyvern: {
          keys: [
            { key: acme, organization: "o_acme" },
            { key: umbrella, organization: "o_umbrella" },
          ],
        },
        file: "routes: [{ name: ours, when: { organization: o_umbrella }, to: [http] }]",
      },
    );
    const { skyvern } = relay.standIns;
    add(skyvern, { id: "tsk_a", endedAt: NOW - HOUR, organization: "o_acme" });
    add(skyvern, { id: "tsk_u", endedAt: NOW - HOUR, organization: "o_umbrella" });
    // Known as running, in no list: only its own organization can tell.
    await relay.webhook(
      JSON.stringify({ ...atSkyvern({ id: "tsk_c", endedAt: null, createdAt: NOW }).payload, status: "running" }),
      { key: umbrella },
    );
    add(skyvern, { id: "tsk_c", endedAt: NOW - HOUR, organization: "o_umbrella", unlisted: true });
    forget(skyvern);

    expect(await relay.app.reconcile()).toMatchObject({ listed: 2, read: 3, found: 3, faults: [] });
    const keyOf = (id: string) =>
      skyvern.calls.filter(({ path }) => path === `/v1/runs/${id}`).map(({ headers }) => headers["x-api-key"]);
    expect([keyOf("tsk_a"), keyOf("tsk_u"), keyOf("tsk_c")]).toEqual([[acme], [umbrella], [umbrella]]);
    await relay.deliver();
    expect(toldHttp(relay).toSorted()).toEqual(["tsk_c", "tsk_u"]);
    expect(await relay.read("/v1/runs/tsk_a")).toMatchObject({ organization_id: "o_acme", deliveries: [] });
    expect(await relay.read("/v1/runs/tsk_u")).toMatchObject({ organization_id: "o_umbrella" });
  });

  it("two keys of one organization list its runs once, and a revoked one does not make the round incomplete", async () => {
    const revoked = jwt("o_acme", 2);
    const relay = await anApp(
      { SKYVERN_API_KEY: `${revoked},${acme}` },
      { skyvern: { keys: [{ key: acme, organization: "o_acme" }] } },
    );
    add(relay.standIns.skyvern, { id: "tsk_a", endedAt: NOW - HOUR });
    expect(await relay.app.reconcile()).toMatchObject({ listed: 1, found: 1, faults: [] });
    const lists = relay.standIns.skyvern.calls.filter(({ path }) => path === "/v1/runs");
    expect(lists.map(({ headers }) => headers["x-api-key"])).toEqual([revoked, acme]);
  });

  it("an organization whose key is refused does not hold up the other", async () => {
    const relay = await anApp(
      { SKYVERN_API_KEY: `${acme},${umbrella}` },
      { skyvern: { keys: [{ key: umbrella, organization: "o_umbrella" }] } },
    );
    add(relay.standIns.skyvern, { id: "tsk_u", endedAt: NOW - HOUR });
    const round = await relay.app.reconcile();
    expect(round).toMatchObject({
      found: 1,
      faults: ["SKYVERN_API_KEY[1]: Skyvern answered the list of runs with 403: Invalid credentials"],
    });
    expect(relay.log()).not.toContain(acme);
  });
});

describe("coverage", () => {
  it("a coverage gap that stays is logged with every round, with its runs, and one that closes is not", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime, standIns: ["http"] });
    relay.standIns.http.answers.push(...Array.from({ length: 2 }, () => ({ status: 500 })));
    add(relay.standIns.skyvern, { id: "tsk_1", endedAt: NOW - HOUR });
    await relay.app.reconcile();
    await relay.deliver();
    expect(await coverageOf(relay)).toBe("0/1");
    expect(events(relay, "coverage.gap")).toEqual([]);

    runtime.advance(GAP_AFTER_MS + 1);
    await relay.app.reconcile();
    expect(events(relay, "coverage.gap")).toMatchObject([{ level: "warn", missing: 1, run_ids: ["tsk_1"] }]);

    for (let i = 0; i < 2; i += 1) {
      await relay.deliver();
      runtime.advance(HOUR);
    }
    expect(await coverageOf(relay)).toBe("1/1");
    await relay.app.reconcile();
    expect(events(relay, "coverage.gap")).toHaveLength(1);
  });

  it("a run whose delivery is dead counts in coverage as seen, not as relayed", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    relay.standIns.http.answers.push({ status: 400 });
    add(relay.standIns.skyvern, { id: "tsk_1", endedAt: NOW - HOUR });
    await relay.app.reconcile();
    await relay.deliver();
    expect(await coverageOf(relay)).toBe("0/1");
    await relay.post("/v1/runs/tsk_1/redeliver");
    await relay.deliver();
    expect(await coverageOf(relay)).toBe("1/1");
  });

  it("a run of the relay's own that is not recognized is a coverage gap", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime });
    add(relay.standIns.skyvern, { id: "tsk_1", endedAt: NOW - HOUR });
    const body = JSON.stringify({
      run_id: "tsk_1",
      status: 7,
      run_request: { webhook_url: "https://relay.example.com/" },
    });
    relay.standIns.skyvern.faults.push({ on: /tsk_1$/, status: 200, body });
    await relay.app.reconcile();
    expect(await coverageOf(relay)).toBe("0/1");
  });
});

it("each round is reported in one log line and one metric", async () => {
  const relay = await anApp();
  await relay.app.reconcile();
  relay.standIns.skyvern.faults.push({ status: 403 });
  await relay.app.reconcile();
  expect(events(relay, "reconcile.round")).toMatchObject([
    { level: "info", listed: 0, read: 0, found: 0, left: 0, faults: [] },
    { level: "warn", faults: ["SKYVERN_API_KEY[1]: Skyvern answered the list of runs with 403: Invalid credentials"] },
  ]);
  const { text } = await relay.get("/metrics");
  expect(text).toContain('skyvern_relay_reconcile_rounds_total{result="complete"} 1');
  expect(text).toContain('skyvern_relay_reconcile_rounds_total{result="incomplete"} 1');
});

it("a relay that starts reads Skyvern's list at once, and not at all when that is off", async () => {
  const relay = await aListeningApp({}, { standIns: ["http"] });
  await until("a round at start", () => events(relay, "reconcile.round")[0]);
  const silent = await aListeningApp({}, { file: "skyvern: { reconcile: false }" });
  expect((await fetch(`${silent.url}/metrics`, { headers: { authorization: `Bearer ${TOKEN}` } })).status).toBe(200);
  expect(silent.standIns.skyvern.calls).toEqual([]);
  expect(readOf(relay.standIns.skyvern)).toEqual([]);
});
