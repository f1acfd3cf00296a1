/** A relay that was down finds all that it missed, through pages that shift and an API that fails (P2). */
import { join } from "node:path";
import { expect, it } from "vitest";
import type { StandInCall } from "../../src/stand-ins/skyvern.ts";
import type { StandInSkyvern } from "../support/skyvern.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { atSkyvern, coverageOf, events, topLevel, type AtSkyvern } from "../support/at-skyvern.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const idOf = (n: number): string => `tsk_${String(n).padStart(6, "0")}`;
const ids = (count: number, from = 1): string[] => Array.from({ length: count }, (_, i) => idOf(from + i));

const add = (skyvern: StandInSkyvern, run: AtSkyvern): void => skyvern.addRun(atSkyvern(run));

/** Run ids of what the HTTP sink got, in order. */
const toldHttp = ({ standIns }: TestApp): string[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);

it("50 runs that end while the relay is down are all delivered once to every sink after its start", async () => {
  const runtime = aRuntime();
  const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
  const before = await anApp(env, { runtime, standIns: ["slack", "smtp", "http"] });
  const { skyvern, slack, smtp, http } = before.standIns;
  await before.stop();

  // Ten minutes in which Skyvern sends its webhooks to a port where nobody listens.
  for (const [i, id] of ids(50).entries()) {
    runtime.advance(12_000);
    // Pictures have tests of their own, and take their time.
    const payload = { screenshot_urls: null, action_screenshot_urls: null, screenshot_url: null };
    add(skyvern, { id, endedAt: runtime.now(), status: i % 5 === 0 ? "failed" : "completed", payload });
    const sent = i < 3 ? await skyvern.sendWebhook(id, "http://127.0.0.1:1/webhook", FIXTURE_KEY) : null;
    expect(sent?.attempts.length ?? 3).toBe(3);
  }

  const relay = await anApp(
    {
      ...env,
      SKYVERN_BASE_URL: skyvern.url,
      SLACK_BOT_TOKEN: slack.token,
      SLACK_CHANNEL: "C0123ABCD",
      SLACK_API_URL: slack.url,
      SMTP_URL: smtp.url,
      EMAIL_FROM: "relay@example.com",
      EMAIL_TO: "ops@example.com",
      SINK_URL: http.url,
      SINK_SECRET: `whsec_${Buffer.alloc(32, 9).toString("base64")}`,
    },
    { runtime },
  );
  expect(await relay.app.reconcile()).toEqual({ listed: 50, read: 50, found: 50, left: 0, faults: [] });
  expect(await coverageOf(relay)).toBe("0/50");
  await relay.deliver();
  expect(await relay.app.reconcile()).toMatchObject({ listed: 50, read: 0, found: 0, faults: [] });
  await relay.deliver();

  expect(topLevel(slack).map(({ metadata }) => metadata?.event_payload["run_id"])).toEqual(ids(50));
  expect(smtp.messages.map(({ raw }) => /^X-Skyvern-Run-Id: (\S+)/im.exec(raw)?.[1])).toEqual(
    expect.arrayContaining(ids(50)),
  );
  expect(smtp.messages).toHaveLength(50);
  expect(
    http.requests.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id).toSorted(),
  ).toEqual(ids(50));
  expect(await coverageOf(relay)).toBe("50/50");
  expect(await relay.app.store.coverage(NOW - DAY, NOW + 2 * DAY)).toEqual([
    { day: Date.parse("2026-08-23"), seen: 50, relayed: 50 },
  ]);
  expect(await relay.read("/v1/stats?since=2026-08-23&until=2026-08-24")).toMatchObject({
    coverage: [{ day: "2026-08-23T00:00:00.000Z", seen: 50, relayed: 50 }],
  });
  expect(await relay.read(`/v1/runs/${idOf(7)}`)).toMatchObject({
    source: "reconciled",
    prompt: `Do ${idOf(7)}`,
    channel: null,
    receipts: [{ verdict: "accepted", source: "reconciled" }],
  });
  expect(events(relay, "coverage.gap")).toEqual([]);
});

it("no run is missed or delivered twice while pages shift under the reader and Skyvern answers 429 and 500 in between", async () => {
  const runtime = aRuntime();
  let born = 0;
  const relay = await anApp(
    {},
    {
      runtime,
      standIns: ["http"],
      skyvern: {
        onCall: ({ path }: StandInCall) => {
          // Between any two pages new runs begin, so that the next page starts with rows of the one before.
          if (path !== "/v1/runs" || born >= 40) return;
          for (let i = 0; i < 3; i += 1, born += 1)
            add(relay.standIns.skyvern, {
              id: `wr_new_${born}`,
              status: "running",
              endedAt: null,
              createdAt: runtime.now(),
            });
        },
      },
    },
  );
  const { skyvern } = relay.standIns;
  const count = 120;
  for (const [i, id] of ids(count).entries()) add(skyvern, { id, endedAt: NOW - HOUR + i * 1_000 });
  // More than one call tries, so that rounds are cut short on a page and on a run.
  skyvern.faults.push(
    { on: /^\/v1\/runs$/, status: 429, headers: { "retry-after": "1" } },
    { on: new RegExp(`${idOf(40)}$`), status: 500, times: 3 },
    { on: new RegExp(`${idOf(90)}$`), status: 429, times: 3 },
    { on: new RegExp(`${idOf(110)}$`), instead: "reset", times: 2 },
  );

  const first = await relay.app.reconcile();
  expect(first).toMatchObject({ read: 40, found: 39, faults: [expect.stringContaining("500")] });
  await relay.deliver();
  skyvern.faults.push({ on: /^\/v1\/runs$/, status: 503, times: 3 });
  expect(await relay.app.reconcile()).toMatchObject({ listed: 0, found: 0, faults: [expect.stringContaining("503")] });
  expect(await relay.app.reconcile()).toMatchObject({ found: 50, faults: [expect.stringContaining("429")] });
  expect(await relay.app.reconcile()).toMatchObject({ found: count - 89, faults: [] });
  await relay.deliver();

  expect(toldHttp(relay).toSorted()).toEqual(ids(count));
  expect(await coverageOf(relay)).toBe(`${count}/${count}`);
  expect(relay.standIns.http.requests).toHaveLength(count);
});
