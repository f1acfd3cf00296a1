/**
 * A sink that is dead for as long as the schedule lasts, and how its results are brought all the same, by the HTTP API.
 */
import { expect, it } from "vitest";
import type { Json } from "../../src/platform/json.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { mutated } from "../support/fixtures.ts";
import { aRuntime, NOW, type TestRuntime } from "../support/runtime.ts";

const HOUR = 3_600_000;
const RUNS = ["tsk_1", "tsk_2", "tsk_3"];
/** The waits before each try of the default schedule, in seconds. */
const WAITS_S = [0, 5, 30, 120, 600, 1_800, 3_600, 7_200, 14_400, 28_800, 43_200];

interface DeliveryJson {
  id: string;
  run_id: string;
  cause: string;
  state: string;
  attempts: number;
  next_attempt_at: string | null;
  last_error: string | null;
}

const deliveries = async (relay: TestApp, query: string): Promise<DeliveryJson[]> =>
  (await relay.read<{ data: DeliveryJson[] }>(`/v1/deliveries?${query}`)).data;

const sink = async (relay: TestApp): Promise<Record<string, Json> | undefined> =>
  (await relay.read<{ data: Record<string, Json>[] }>("/v1/sinks")).data[0];

async function aRelay(): Promise<{ relay: TestApp; runtime: TestRuntime }> {
  const runtime = aRuntime();
  return { relay: await anApp({}, { standIns: ["http"], runtime }), runtime };
}

async function accept(relay: TestApp, runIds: readonly string[]): Promise<void> {
  for (const runId of runIds) {
    const answer = await relay.webhook(mutated("task_v1.completed", { run_id: runId, task_id: runId }));
    expect(answer.status).toBe(200);
  }
}

/**
 * Lets the clock run, delivering whatever may go, until nothing waits or the hours are over. Every answer is `status`.
 */
async function live(relay: TestApp, runtime: TestRuntime, hours: number, status: number): Promise<void> {
  const until = runtime.now() + hours * HOUR;
  while (runtime.now() < until) {
    relay.standIns.http.answers.push(...Array.from({ length: 50 }, () => ({ status })));
    await relay.deliver();
    relay.standIns.http.answers.length = 0;
    const waiting = await deliveries(relay, "state=pending");
    if (waiting.length === 0) return;
    const state = await sink(relay);
    const due = Math.min(...waiting.map(({ next_attempt_at }) => Date.parse(next_attempt_at ?? "")));
    const at = Math.max(due, state?.["state"] === "open" ? Date.parse(String(state["retry_at"])) : 0);
    runtime.advance(Math.max(at - runtime.now(), 1));
  }
}

it("a delivery to a sink that stays down is tried at the schedule's times, 28 h long, then it is dead and listed", async () => {
  const { relay, runtime } = await aRelay();
  await accept(relay, ["tsk_1"]);
  await live(relay, runtime, 40, 500);
  const run = await relay.read<{ deliveries: { log: { started_at: string }[] }[] }>("/v1/runs/tsk_1");
  const tries = run.deliveries[0]?.log.map(({ started_at }) => Date.parse(started_at)) ?? [];
  const waits = tries.map((at, i) => (at - (tries[i - 1] ?? at)) / 1_000);
  // The open circuit moves a try back by minutes at most.
  expect(waits).toHaveLength(WAITS_S.length);
  for (const [i, wait] of waits.entries()) {
    expect(wait).toBeGreaterThanOrEqual((WAITS_S[i] ?? 0) * 0.9);
    expect(wait).toBeLessThanOrEqual((WAITS_S[i] ?? 0) * 1.1 + 300);
  }
  expect(((tries.at(-1) ?? 0) - NOW) / HOUR).toBeGreaterThan(27);
  expect(await deliveries(relay, "state=dead")).toMatchObject([
    { run_id: "tsk_1", last_error: expect.stringMatching(/^none of 11 attempts succeeded; .*answered 500/) },
  ]);
  expect(relay.log()).toContain('"event":"delivery.died"');
});

it("after 28 h all deliveries are dead, GET /v1/sinks says so, and one POST /v1/redeliver brings each once", async () => {
  const { relay, runtime } = await aRelay();
  await accept(relay, RUNS);
  await live(relay, runtime, 60, 503);
  expect((await deliveries(relay, "state=dead")).map(({ run_id }) => run_id).toSorted()).toEqual(RUNS);
  expect(await sink(relay)).toMatchObject({ name: "http", state: "open", backlog: 0, dead: 3, last_success_at: null });
  const before = relay.standIns.http.requests.length;

  const rehearsal = await relay.post("/v1/redeliver", { state: "dead", sink: "http", dry_run: true });
  expect([rehearsal.status, rehearsal.json()]).toEqual([202, { count: 3, dry_run: true }]);
  expect(await deliveries(relay, "state=pending")).toEqual([]);

  const done = await relay.post("/v1/redeliver", { state: "dead" });
  expect([done.status, done.json()]).toEqual([202, { count: 3, dry_run: false }]);
  // What waits is not asked for again.
  expect((await relay.post("/v1/redeliver", { state: "dead" })).json()).toEqual({ count: 0, dry_run: false });
  await live(relay, runtime, 1, 200);
  const sent = relay.standIns.http.requests.slice(before);
  expect(sent.map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id).toSorted()).toEqual(
    RUNS,
  );
  const fresh = await deliveries(relay, "state=delivered");
  expect(fresh.map(({ cause }) => cause)).toEqual(["redelivery", "redelivery", "redelivery"]);
  expect(new Set(sent.map(({ headers }) => headers["webhook-id"]))).toEqual(new Set(fresh.map(({ id }) => id)));
  expect(await sink(relay)).toMatchObject({ state: "closed", failures: 0, last_success_at: expect.any(String) });
});

it("a delivery that was made good is not sent once more when the next outage is made good", async () => {
  const { relay, runtime } = await aRelay();
  await accept(relay, ["tsk_1"]);
  await live(relay, runtime, 60, 400);
  await relay.post("/v1/redeliver", { state: "dead" });
  await live(relay, runtime, 1, 200);
  await accept(relay, ["tsk_2"]);
  await live(relay, runtime, 60, 400);
  const dead = await deliveries(relay, "state=dead");
  expect(dead).toHaveLength(1);
  expect(dead).toMatchObject([{ run_id: "tsk_2" }]);
  expect((await relay.post("/v1/redeliver", { state: "dead" })).json()).toEqual({ count: 1, dry_run: false });
  expect(await deliveries(relay, "state=pending")).toMatchObject([{ run_id: "tsk_2", cause: "redelivery" }]);
});

it("POST /v1/redeliver with a time takes only the deliveries made then", async () => {
  const { relay, runtime } = await aRelay();
  await accept(relay, ["tsk_1"]);
  await live(relay, runtime, 60, 400);
  runtime.advance(HOUR);
  const since = new Date(runtime.now()).toISOString();
  await accept(relay, ["tsk_2"]);
  await live(relay, runtime, 60, 400);
  expect((await relay.post("/v1/redeliver", { since, dry_run: true })).json()).toEqual({ count: 1, dry_run: true });
  expect((await relay.post("/v1/redeliver", { until: since, dry_run: true })).json()).toEqual({
    count: 1,
    dry_run: true,
  });
  expect((await relay.post("/v1/redeliver", { sink: "nobody" })).status).toBe(400);
});

it("a 410 stops the sink until POST /v1/sinks/{name}/resume, and then all its pending deliveries are sent", async () => {
  const { relay, runtime } = await aRelay();
  const { http } = relay.standIns;
  await accept(relay, ["tsk_1"]);
  http.answers.push({ status: 410 });
  await relay.deliver();
  expect(await sink(relay)).toMatchObject({ state: "stopped", retry_at: null, reason: expect.stringContaining("410") });
  await accept(relay, ["tsk_2", "tsk_3"]);
  runtime.advance(30 * HOUR);
  await relay.deliver();
  expect(http.requests).toHaveLength(1);
  expect(await sink(relay)).toMatchObject({ state: "stopped", backlog: 2, dead: 1 });

  const resumed = await relay.post("/v1/sinks/http/resume");
  expect([resumed.status, resumed.json()]).toMatchObject([200, { name: "http", state: "closed", backlog: 2 }]);
  expect((await relay.post("/v1/redeliver", { state: "dead" })).json()).toEqual({ count: 1, dry_run: false });
  await relay.deliver();
  const sent = http.requests.slice(1).map(({ body }) => (JSON.parse(body) as { data: { run_id: string } }).data.run_id);
  expect(sent.toSorted()).toEqual(RUNS);
  expect((await relay.post("/v1/sinks/nobody/resume")).status).toBe(404);
});
