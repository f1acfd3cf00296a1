/** A relay without a public address asks Skyvern for every run, within a budget of requests. */
import { expect, it } from "vitest";
import type { StandInSkyvern } from "../support/skyvern.ts";
import { MAX_HISTORY } from "../../src/reconcile/history.ts";
import { anApp, type AppOptions, type TestApp } from "../support/app.ts";
import { atSkyvern, events, type AtSkyvern } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Nothing but a key, and a sink that says who was told. */
const aPullingApp = (options: AppOptions = {}) => anApp({ PUBLIC_URL: undefined }, { standIns: ["http"], ...options });

const add = (skyvern: StandInSkyvern, run: AtSkyvern): void => skyvern.addRun(atSkyvern({ webhookUrl: null, ...run }));

const told = ({ standIns }: TestApp): string[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);

const pathsSince = (skyvern: StandInSkyvern, from: number): string[] =>
  skyvern.calls.slice(from).map(({ path, query }) => (query.has("status") ? `${path}?status` : path));

it("a relay asks for every run every ten seconds where no webhook can arrive, and only for lost ones where one can", async () => {
  expect((await aPullingApp()).config.reconcile).toEqual({
    everyMs: 10 * SECOND,
    lookbackMs: DAY,
    scope: "all",
    historyMs: 7 * DAY,
    requestsPerHour: 3_600,
    hasWebhooks: false,
  });
  const lost = { everyMs: 5 * MINUTE, scope: "mine", historyMs: null, requestsPerHour: null, hasWebhooks: true };
  expect((await anApp()).config.reconcile).toMatchObject(lost);
  const onFly = await anApp({ PUBLIC_URL: undefined, FLY_APP_NAME: "staging" });
  expect(onFly.config.reconcile).toMatchObject(lost);
});

it("a relay without webhooks fills the history with earlier runs at the times they ended, and delivers none of them", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({ runtime });
  const { skyvern } = relay.standIns;
  add(skyvern, { id: "tsk_new", endedAt: NOW - MINUTE });
  add(skyvern, { id: "tsk_old", endedAt: NOW - 6 * DAY, status: "failed" });
  add(skyvern, { id: "tsk_ancient", endedAt: NOW - 9 * DAY });
  expect(await relay.app.reconcile()).toMatchObject({ listed: 1, read: 0, found: 0 });
  expect(await relay.app.fillHistory()).toMatchObject({ added: 2, faults: [] });
  await relay.deliver();

  const { data } = await relay.read<{ data: object[] }>("/v1/runs");
  expect(data).toMatchObject([
    { run_id: "tsk_new", source: "backfill", received_at: new Date(NOW - MINUTE).toISOString() },
    { run_id: "tsk_old", source: "backfill", received_at: new Date(NOW - 6 * DAY).toISOString() },
  ]);
  expect(told(relay)).toEqual([]);
  const { summary } = await relay.read<{ summary: string[] }>("/v1/runs/tsk_old/why");
  expect(summary).toEqual([
    "Nothing was delivered: the run is one of the past, and these are only stored.",
    expect.stringMatching(/^To send it anyway: skyvern-relay redeliver tsk_old --sink (?!.*later runs)/),
  ]);

  // A later start takes up what is news, and leaves the past alone.
  runtime.advance(2 * DAY);
  const asked = skyvern.calls.length;
  expect(await relay.app.fillHistory()).toBeNull();
  expect(skyvern.calls).toHaveLength(asked);
});

it("a relay without webhooks fills in the newest runs where there are more than the budget allows at once", async () => {
  const relay = await aPullingApp();
  const { skyvern } = relay.standIns;
  const count = MAX_HISTORY + 10;
  for (let i = 0; i < count; i += 1) add(skyvern, { id: `tsk_${i}`, endedAt: NOW - HOUR - (count - i) * SECOND });
  expect(await relay.app.fillHistory()).toMatchObject({ added: MAX_HISTORY, listed: count });
  expect((await relay.get("/v1/runs/tsk_10")).status).toBe(200);
  expect((await relay.get("/v1/runs/tsk_9")).status).toBe(404);
});

it("a relay without webhooks delivers a run that ends after the start with its next two requests", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({ runtime });
  const { skyvern } = relay.standIns;
  add(skyvern, { id: "tsk_before", endedAt: NOW - MINUTE });
  await relay.app.fillHistory();
  await relay.app.reconcile();

  runtime.advance(10 * SECOND);
  add(skyvern, { id: "tsk_after", endedAt: NOW + 5 * SECOND, status: "failed" });
  const asked = skyvern.calls.length;
  expect(await relay.app.reconcile()).toMatchObject({ read: 1, found: 1 });
  expect(pathsSince(skyvern, asked)).toEqual(["/v1/runs", "/v1/runs/tsk_after"]);
  await relay.deliver();
  expect(told(relay)).toEqual(["tsk_after"]);

  runtime.advance(10 * SECOND);
  const quiet = skyvern.calls.length;
  expect(await relay.app.reconcile()).toMatchObject({ read: 0 });
  expect(pathsSince(skyvern, quiet)).toEqual(["/v1/runs"]);
});

it("a relay without webhooks reads Skyvern's list up to the first page without a new run", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({ runtime });
  const { skyvern } = relay.standIns;
  add(skyvern, { id: "tsk_before", endedAt: NOW - MINUTE });
  await relay.app.reconcile();
  runtime.advance(10 * SECOND);
  for (let i = 0; i < 150; i += 1)
    add(skyvern, { id: `tsk_${i}`, endedAt: NOW + 9 * SECOND, createdAt: NOW + SECOND + i });
  expect(await relay.app.reconcile()).toMatchObject({ read: 150, found: 150 });
});

it("a relay without webhooks finds the end of a run that began before the newest hundred", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({ runtime });
  const { skyvern } = relay.standIns;
  add(skyvern, { id: "tsk_long", endedAt: null, status: "running", createdAt: NOW - 3 * HOUR });
  add(skyvern, { id: "tsk_longer", endedAt: null, status: "running", createdAt: NOW - 4 * HOUR });
  for (let i = 0; i < 120; i += 1) add(skyvern, { id: `tsk_${i}`, endedAt: NOW - HOUR, createdAt: NOW - 2 * HOUR + i });
  await relay.app.reconcile();

  runtime.advance(10 * SECOND);
  await relay.app.reconcile();
  runtime.advance(10 * SECOND);
  add(skyvern, { id: "tsk_long", endedAt: NOW + 15 * SECOND, createdAt: NOW - 3 * HOUR });
  const asked = skyvern.calls.length;
  expect(await relay.app.reconcile()).toMatchObject({ read: 1, found: 1 });
  expect(pathsSince(skyvern, asked)).toEqual(["/v1/runs", "/v1/runs?status", "/v1/runs/tsk_long"]);
  await relay.deliver();
  expect(told(relay)).toEqual(["tsk_long"]);
});

it("a relay without webhooks keeps to its budget in every hour, and goes on when there is some again", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({
    runtime,
    file: "skyvern: { reconcile: { requests_per_hour: 720 } }",
  });
  const { skyvern } = relay.standIns;
  const times: number[] = [];
  let n = 0;
  for (let at = 0; at < 1.25 * HOUR; at += 10 * SECOND) {
    runtime.advance(10 * SECOND);
    // Ten times as many as the budget has room for.
    for (let i = 0; i < 20; i += 1) add(skyvern, { id: `tsk_${(n += 1)}`, endedAt: runtime.now() - SECOND });
    const before = skyvern.calls.length;
    await relay.app.reconcile();
    times.push(...skyvern.calls.slice(before).map(() => runtime.now()));
  }
  const inHour = (from: number) => times.filter((at) => at >= from && at < from + HOUR).length;
  expect(Math.max(...times.map(inHour))).toBeLessThanOrEqual(720);
  expect(times.length).toBeGreaterThan(700);
  const said = events(relay, "reconcile.round").find(({ level }) => level === "warn");
  expect(JSON.stringify(said)).toMatch(/budget of 720 requests an hour is spent/);
});

it("a relay without webhooks makes some 370 of 3,600 requests in a quiet hour, also with the history of a busy week", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({ runtime });
  const { skyvern } = relay.standIns;
  for (let i = 0; i < 1_204; i += 1) add(skyvern, { id: `tsk_${i}`, endedAt: NOW - MINUTE - (i * 7 * DAY) / 1_204 });
  await relay.app.fillHistory();
  expect(skyvern.calls).toHaveLength(13 + 1_204);
  const before = skyvern.calls.length;
  for (let at = 0; at < HOUR; at += 10 * SECOND) {
    await relay.app.reconcile();
    runtime.advance(10 * SECOND);
  }
  // 173 runs in a day: a whole look is two pages.
  expect(skyvern.calls.length - before).toBe(360 + 6);
});

it("a relay without webhooks says once that Skyvern refuses the key, and what to do", async () => {
  const runtime = aRuntime();
  const relay = await aPullingApp({ runtime, skyvern: { keys: ["another key"] } });
  for (let i = 0; i < 3; i += 1) {
    await relay.app.reconcile();
    runtime.advance(10 * SECOND);
  }
  const warned = events(relay, "reconcile.round").filter(({ level }) => level === "warn");
  expect(warned).toMatchObject([
    {
      faults: ["SKYVERN_API_KEY[1]: Skyvern answered the list of runs with 403: Invalid credentials"],
      hint: "copy the API key again from Skyvern's settings page",
    },
  ]);
});
