/** Three relays on one PostgreSQL, as one address shows them: what only one may do at a time, or once. */
import { expect, it, onTestFinished } from "vitest";
import pg from "pg";
import { startHttpSink } from "./support/http-sink.ts";
import { startSkyvern } from "./support/skyvern.ts";
import { startSlack } from "./support/slack.ts";
import type { JsonObject } from "../src/platform/json.ts";
import { systemRuntime } from "../src/platform/runtime.ts";
import { anApp } from "./support/app.ts";
import { FIXTURE_KEY, mutated } from "./support/fixtures.ts";
import { asAdmin, newDatabase } from "./support/postgres.ts";
import { kill9, serve, type RelayProcess } from "./support/process.ts";
import { until } from "./support/until.ts";

const RUNS = 18;
const NO_FILES = { screenshot_urls: null, recording_url: null, downloaded_files: null };
/**
 * Messages a second that Slack takes in a channel. Two may come at once: a pace is kept when work on a message begins,
 * and that may take longer for one.
 */
const PACE = 4;

it(
  "three relays together keep Slack's pace in a channel, and Slack refuses none of their messages",
  { timeout: 180_000 },
  async () => {
    const slack = await startSlack({ messagesPerSecond: PACE, burst: 2 });
    const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
    for (const standIn of [slack, skyvern]) onTestFinished(() => standIn.close());
    const url = await newDatabase({ empty: true });
    const sink = {
      kind: "slack",
      token: slack.token,
      channel: "C0123ABCD",
      api_url: slack.url,
      messages_per_second: PACE,
    };
    const file = JSON.stringify({ sinks: { chat: sink }, delivery: { schedule: ["1s", "1s", "1s"] } });
    const environment = { DATABASE_URL: url, SKYVERN_BASE_URL: skyvern.url };
    const relays: RelayProcess[] = [];
    for (const _ of [1, 2, 3]) relays.push(await serve(environment, file));
    const send = async (i: number) => {
      const ids = { run_id: `tsk_${i}`, task_id: `tsk_${i}` };
      const body = mutated("task_v1.completed", { ...ids, ...NO_FILES });
      skyvern.addRun({ payload: JSON.parse(body) as JsonObject });
      return relays[i % relays.length]?.webhook(body);
    };
    const answers = await Promise.all(Array.from({ length: RUNS }, (_none, i) => send(i)));
    expect(answers.map((answer) => answer?.status)).toEqual(Array(RUNS).fill(200));
    const shown = () => slack.messages().filter(({ thread_ts }) => thread_ts === null);
    const attemptsOf = (relay: RelayProcess) => relay.stdout().split('"event":"delivery.attempted"').length - 1;
    const stopped = new Set<RelayProcess>();
    // One of them may well take all of it, and is stopped: others go on at once, at the same pace.
    for (const part of [RUNS / 3, (2 * RUNS) / 3]) {
      await until(`Slack shows ${part}`, () => shown().length >= part);
      const busiest = relays.filter((one) => !stopped.has(one)).toSorted((a, b) => attemptsOf(b) - attemptsOf(a))[0];
      busiest?.signal("SIGTERM");
      if (busiest) stopped.add(busiest);
      await busiest?.ended;
    }
    await until("Slack shows all", () => shown().length >= RUNS);
    expect(new Set(shown().map(({ metadata }) => metadata?.event_payload["run_id"])).size).toBe(RUNS);

    const client = new pg.Client({ connectionString: url });
    await client.connect();
    onTestFinished(() => client.end());
    const settled = async () => {
      const { rows } = await client.query<{ state: string; attempts: string; throttled: string; n: string }>(
        "select state, attempts, throttled, count(*) as n from deliveries group by 1, 2, 3",
      );
      return rows.every(({ state }) => state === "delivered") ? rows : null;
    };
    // At the first attempt, and Slack never said that it was too fast.
    expect(await until("all is recorded", settled)).toEqual([
      { state: "delivered", attempts: "1", throttled: "0", n: String(RUNS) },
    ]);
    const by = relays.map(attemptsOf);
    expect(by.reduce((sum, n) => sum + n)).toBe(RUNS);
    expect(by.filter((n) => n > 0).length).toBeGreaterThan(1);
  },
);

it(
  "the delivery of a relay that is killed in an attempt is sent again by another relay within 20 s",
  { timeout: 180_000 },
  async () => {
    const http = await startHttpSink({ answers: [{ hang: true }] });
    const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
    for (const standIn of [http, skyvern]) onTestFinished(() => standIn.close());
    const file = JSON.stringify({ sinks: { crm: { kind: "http", url: http.url } } });
    const environment = { DATABASE_URL: await newDatabase({ empty: true }), SKYVERN_BASE_URL: skyvern.url };
    const first = await serve(environment, file);
    const body = mutated("task_v1.completed", NO_FILES);
    skyvern.addRun({ payload: JSON.parse(body) as JsonObject });
    expect((await first.webhook(body)).status).toBe(200);
    await until("it to be under way", () => http.requests.length === 1);
    await serve(environment, file);
    await kill9(first);
    await until("it to be sent again", () => http.requests.length === 2, 20_000);
    const [begun, again] = http.requests.map(({ headers }) => headers["webhook-id"]);
    expect(again).toBe(begun);
  },
);

it("an alert is sent once, however many of three relays check for it at the same moment", async () => {
  const http = await startHttpSink();
  onTestFinished(() => http.close());
  const url = await newDatabase({ empty: true });
  const file = JSON.stringify({
    sinks: { crm: { kind: "http", url: http.url } },
    routes: [{ to: ["crm"] }],
    alerts: { on_dead: ["crm"] },
  });
  const relays: Awaited<ReturnType<typeof anApp>>[] = [];
  for (const _ of [1, 2, 3]) relays.push(await anApp({ DATABASE_URL: url }, { file, runtime: systemRuntime() }));
  const [first] = relays;
  const alerts = () => http.requests.filter(({ body }) => body.includes('"relay.alert"'));
  const look = async () => {
    await Promise.all([...relays, ...relays].map(({ app }) => app.runJob("alert")));
    // As a minute later.
    await asAdmin(url, "update duties set until = 0");
  };
  await look();
  expect(alerts()).toHaveLength(0);
  http.answers.push({ status: 404 });
  await first?.webhook('{"run_id":"tsk_1","status":"completed"}');
  await first?.deliver();
  await look();
  await look();
  expect(alerts()).toHaveLength(1);
});
