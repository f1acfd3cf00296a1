/** An HTTP sink with `attempts: true` hears of each run attempt that failed with another one to come, once. */
import { join } from "node:path";
import { expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { aWorkflowRun, ENDED } from "../support/a-retried-run.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { naive, topLevel } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const MINUTE = 60_000;
const NEXT = NOW + MINUTE;
const PENDING = aWorkflowRun({ next: NEXT });
const PENDING_AGAIN = aWorkflowRun({ attempt: 2, endedAt: NEXT + MINUTE, next: NEXT + 2 * MINUTE });
const RUNNING = aWorkflowRun({ attempt: 2, status: "running", endedAt: null });
const COMPLETED = aWorkflowRun({ attempt: 2, status: "completed", endedAt: NEXT + MINUTE });
const SPENT = aWorkflowRun({ attempt: 3, endedAt: NEXT + 3 * MINUTE });

const CRM = 'crm: { kind: http, url: "${SINK_URL}?sink=crm", secret: "${SINK_SECRET}", attempts: true }';
const FILE = `sinks: { ${CRM}, erp: { kind: http, url: "\${SINK_URL}?sink=erp", secret: "\${SINK_SECRET}" } }`;

async function aRelay(file = FILE, { env = {}, runtime = aRuntime() } = {}) {
  const relay = await anApp(env, { file, runtime, standIns: ["slack", "http"] });
  return { relay, runtime };
}

const send = async (relay: TestApp, ...runs: StandInRun[]): Promise<void> => {
  for (const run of runs) await relay.webhook(JSON.stringify(run.payload));
};

interface Event {
  type: string;
  timestamp: string;
  data: JsonObject & { attempt: number; attempts: JsonObject[] };
}

/** What a sink got, as `type attempt`, in order; with its ids. */
function got({ standIns }: TestApp, sink = "crm") {
  const requests = standIns.http.requests.filter(({ path }) => path.endsWith(`sink=${sink}`));
  const events = requests.map(({ body }) => JSON.parse(body) as Event);
  return {
    events,
    ids: requests.map(({ headers }) => headers["webhook-id"]),
    said: events.map(({ type, data }) => `${type} ${data.attempt}`),
  };
}

const ALL = ["run.attempt_failed 1", "run.attempt_failed 2", "run.failed 3"];

it("an HTTP sink with `attempts: true` gets each failed attempt when it is known, then the end, and no other sink does", async () => {
  const { relay } = await aRelay();
  await send(relay, PENDING);
  await relay.deliver();
  expect(got(relay).said).toEqual(ALL.slice(0, 1));
  await send(relay, RUNNING, PENDING_AGAIN);
  await relay.deliver();
  expect(got(relay).said).toEqual(ALL.slice(0, 2));
  await send(relay, SPENT);
  await relay.deliver();
  expect(got(relay).said).toEqual(ALL);
  expect(got(relay, "erp").said).toEqual(ALL.slice(2));
  expect(topLevel(relay.standIns.slack)).toHaveLength(1);
});

it("the event of an attempt has the run as it was then, whenever it is sent", async () => {
  const { relay } = await aRelay();
  await send(relay, PENDING);
  await relay.deliver();
  const late = await aRelay();
  await send(late.relay, COMPLETED);
  await late.relay.deliver();
  const [atOnce] = got(relay).events;
  const [atTheEnd, end] = got(late.relay).events;
  for (const event of [atOnce, atTheEnd])
    expect(event).toMatchObject({
      type: "run.attempt_failed",
      timestamp: new Date(ENDED).toISOString(),
      data: {
        run_id: "wr_1",
        status: "retrying",
        reported_status: "failed",
        attempt: 1,
        attempts: [{ attempt: 1, status: "failed", decision: "retry" }],
        failure: { reason: "HTTP 500 at attempt 1" },
        finished_at: new Date(ENDED).toISOString(),
        duration_ms: MINUTE,
      },
    });
  expect(atOnce?.data["next_attempt_at"]).toBe(new Date(NEXT).toISOString());
  expect(atTheEnd?.data).toMatchObject({ output: null, files: [], recording_url: null, artifacts: [], blocks: [] });
  expect(end).toMatchObject({ type: "run.completed", data: { status: "completed", attempt: 2, failure: null } });
});

it.each([
  ["in order", [PENDING, PENDING_AGAIN, SPENT]],
  ["each twice", [PENDING, PENDING, PENDING_AGAIN, PENDING_AGAIN, SPENT, SPENT]],
  ["the end alone, as with `final_only`", [SPENT]],
  ["the end first", [SPENT, PENDING_AGAIN, PENDING]],
  ["the second first", [PENDING_AGAIN, PENDING, SPENT]],
])("the event of an attempt comes once and before the end, when the webhooks come %s", async (_how, runs) => {
  for (const isAtOnce of [true, false]) {
    const { relay } = await aRelay();
    for (const run of runs) {
      await send(relay, run);
      if (isAtOnce) await relay.deliver();
    }
    await relay.deliver();
    expect(got(relay).said).toEqual(ALL);
    expect(new Set(got(relay).ids).size).toBe(3);
  }
});

it("a run whose retry was revoked or never started ends, and the event of its attempt, if sent, is followed by the end", async () => {
  const revoked = aWorkflowRun({
    payload: {
      modified_at: naive(NOW + 1_000),
      attempts: [{ attempt_number: 1, status: "failed", retry_decision: "revoked" }],
    },
  });
  const { relay } = await aRelay();
  await send(relay, revoked);
  await relay.deliver();
  expect(got(relay).said).toEqual(["run.failed 1"]);

  const waited = await aRelay();
  await send(waited.relay, PENDING);
  waited.relay.standIns.skyvern.addRun(PENDING);
  for (let hour = 0; hour < 26; hour += 1) {
    waited.runtime.advance(60 * MINUTE);
    await waited.relay.app.followUp();
    await waited.relay.deliver();
  }
  await send(waited.relay, COMPLETED);
  await waited.relay.deliver();
  expect(got(waited.relay).said).toEqual(["run.attempt_failed 1", "run.failed 1", "run.completed 2"]);
});

it("routes choose who gets the event of an attempt as if the run had ended with it, and `why` shows what they said", async () => {
  const file = `${FILE}
routes:
  - { name: bad, when: { status: failed, error_code: PORTAL_DOWN }, to: [crm, erp] }
  - { name: good, when: { status: completed }, to: [erp] }`;
  const { relay } = await aRelay(file);
  await send(relay, PENDING);
  await relay.deliver();
  const path = "/v1/runs/wr_1";
  const why = await relay.read<{ summary: string[]; routes: JsonObject[]; deliveries: JsonObject[] }>(`${path}/why`);
  expect(why.routes).toMatchObject([{ route: "bad", matched: false }, { route: "good" }]);
  expect(why.deliveries).toEqual([]);
  const coded = aWorkflowRun({ next: NEXT, payload: { errors: [{ error_code: "PORTAL_DOWN" }] } });
  const second = await aRelay(file);
  await send(second.relay, coded, COMPLETED);
  await second.relay.deliver();
  expect(got(second.relay).said).toEqual(["run.attempt_failed 1"]);
  expect(got(second.relay, "erp").said).toEqual(["run.completed 2"]);
  const told = await second.relay.read<{ deliveries: JsonObject[]; summary: string[] }>(`${path}/why`);
  expect(told.summary).toHaveLength(1);
  expect(told.deliveries).toMatchObject([
    { sink: "crm", subject: "attempt", revision: 1, state: "delivered" },
    { sink: "erp", subject: "run", revision: 1, state: "delivered" },
  ]);
});

it("the event of an attempt keeps its id when its answer is lost, when the relay restarts, and when it is redelivered", async () => {
  const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
  const { relay, runtime } = await aRelay(FILE, { env });
  relay.standIns.http.answers.push({ reset: true });
  await send(relay, PENDING);
  await relay.deliver();
  await relay.stop();
  runtime.advance(10 * MINUTE);
  const later = await aRelay(FILE, { env, runtime });
  later.relay.standIns.http.answers.push({ status: 404 });
  await later.relay.deliver();
  const [dead] = (await later.relay.read<{ data: JsonObject[] }>("/v1/deliveries?state=dead")).data;
  expect(dead).toMatchObject({
    subject: "attempt",
    revision: 1,
    sink: "crm",
    last_error: expect.stringContaining("404"),
  });
  expect((await later.relay.post("/v1/redeliver", { state: ["dead"] })).json()).toMatchObject({ count: 1 });
  await later.relay.deliver();
  const ids = [...got(relay).ids, ...got(later.relay).ids];
  expect(ids).toEqual(["wr_1_attempt_1", "wr_1_attempt_1", "wr_1_attempt_1"]);
  expect(got(later.relay).said).toEqual(["run.attempt_failed 1", "run.attempt_failed 1"]);
  expect((await later.relay.post("/v1/redeliver", { state: ["dead"] })).json()).toMatchObject({ count: 0 });
  // The end comes as its own message, and not as a correction of anything.
  await send(later.relay, COMPLETED);
  await later.relay.deliver();
  const { deliveries } = await later.relay.read<{ deliveries: JsonObject[] }>("/v1/runs/wr_1");
  expect(deliveries.filter(({ subject }) => subject === "run").map(({ sink, cause }) => [sink, cause])).toEqual([
    ["slack", "result"],
    ["crm", "result"],
    ["erp", "result"],
  ]);
});

it("a backfilled run and one that was known before the sink wanted attempts have no events", async () => {
  const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
  const { relay, runtime } = await aRelay(FILE.replace(", attempts: true", ""), { env });
  await send(relay, COMPLETED);
  await relay.deliver();
  await relay.stop();
  const { relay: later } = await aRelay(FILE, { env, runtime });
  await send(later, PENDING, aWorkflowRun({ attempt: 2, status: "completed", endedAt: NEXT + 2 * MINUTE }));
  await later.deliver();
  expect(got(later).said).toEqual([]);
});
