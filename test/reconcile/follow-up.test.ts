/** What a webhook could not say yet is asked for a little later, and edits what was sent. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { StandInArtifact } from "../../src/stand-ins/skyvern.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { ARTIFACTS_DELAY_MS, DETAILS_DELAY_MS } from "../../src/domain/follow-up-plan.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { aFolder, aListeningApp, anApp, type AppOptions, type TestApp } from "../support/app.ts";
import { atSkyvern, corrections, naive, topLevel, type AtSkyvern } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";
import { until } from "../support/until.ts";

const MINUTE = 60_000;
const ENDED = NOW - 1_000;
const RECORDING: StandInArtifact = { artifact_id: "a_900", artifact_type: "recording" };

const V1 = { id: "tsk_1", endedAt: ENDED };
const V2 = { id: "tsk_v2_1", fixture: "task_v2.completed", endedAt: ENDED, payload: { recording_url: null } };

async function aRelay(options: AppOptions = {}) {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime, standIns: ["slack", "smtp", "http"], ...options });
  const later = async (ms: number): Promise<number> => {
    runtime.advance(ms);
    const asked = await relay.app.followUp();
    await relay.deliver();
    return asked;
  };
  return { relay, later, runtime };
}

const add = ({ standIns }: TestApp, run: AtSkyvern) => standIns.skyvern.addRun(atSkyvern(run));

/** Its webhook comes and is delivered; what Skyvern was asked until then is forgotten. */
async function told(relay: TestApp, run: AtSkyvern): Promise<void> {
  expect((await relay.webhook(JSON.stringify(atSkyvern(run).payload))).json()).toMatchObject({ result: "accepted" });
  await relay.deliver();
  relay.standIns.skyvern.calls.splice(0);
}

/** The same while Skyvern answers no question about the run itself. */
async function toldWithout(relay: TestApp, run: AtSkyvern): Promise<void> {
  relay.standIns.skyvern.faults.push({ on: new RegExp(`/runs/${run.id}$`), status: 503 });
  await told(relay, run);
}

const asked = ({ standIns }: TestApp): string[] => standIns.skyvern.calls.map(({ path }) => path);
const requests = ({ standIns }: TestApp) =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: JsonObject }).data);

/** One message in the channel, edited so many times, nobody corrected, one mail. */
function expectSilentEdits(relay: TestApp, edits: number): string {
  const [message, ...more] = topLevel(relay.standIns.slack);
  expect(more).toEqual([]);
  expect(message?.edits).toHaveLength(edits);
  expect(corrections(relay.standIns.slack)).toEqual([]);
  expect(relay.standIns.smtp.messages).toHaveLength(1);
  // Without what keeps an address in a text from becoming a link.
  return JSON.stringify(message?.blocks).replaceAll("\u2060", "");
}

describe("prompt and url of a task", () => {
  it("prompt and url of a task stand in the first message, as Skyvern is asked before it is sent, once for all sinks", async () => {
    const { relay, later } = await aRelay();
    add(relay, V1);
    await relay.webhook(JSON.stringify(atSkyvern(V1).payload));
    await relay.deliver();
    expect(expectSilentEdits(relay, 0)).toContain("portal.example.com: Do tsk_1");
    expect(relay.standIns.smtp.messages[0]?.raw).toContain("Do tsk_1");
    expect(requests(relay)).toMatchObject([{ revision: 2, prompt: "Do tsk_1" }]);
    expect(asked(relay).filter((path) => path === "/v1/runs/tsk_1")).toHaveLength(1);
    expect(await relay.read("/v1/deliveries?run_id=tsk_1")).toMatchObject({
      data: [{ cause: "result" }, { cause: "result" }, { cause: "result" }],
    });
    await later(100 * MINUTE);
    expectSilentEdits(relay, 0);
    expect(asked(relay).filter((path) => path === "/v1/runs/tsk_1")).toHaveLength(1);
  });

  it("prompt and url that came too late for the message are filled in three seconds later by an edit, and nothing is sent again", async () => {
    const { relay, later } = await aRelay();
    add(relay, V1);
    await toldWithout(relay, V1);
    expectSilentEdits(relay, 0);

    expect(await later(DETAILS_DELAY_MS - 1)).toBe(0);
    expect(await later(1)).toBe(1);

    expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({
      prompt: "Do tsk_1",
      url: "https://portal.example.com/",
      revision: 2,
      source: "webhook",
      receipts: [
        { source: "webhook", verdict: "accepted" },
        { source: "reconciled", verdict: "updated" },
      ],
    });
    expect(expectSilentEdits(relay, 1)).toContain("portal.example.com");
    expect(requests(relay)).toHaveLength(1);
    expect(await later(100 * MINUTE)).toBe(0);
    expect(asked(relay).filter((path) => path === "/v1/runs/tsk_1")).toHaveLength(1);
  });

  it("prompt and url that came too late reach an HTTP sink that wants updates as the next revision", async () => {
    const file = 'sinks: { crm: { kind: http, url: "${SINK_URL}", secret: "${SINK_SECRET}", updates: true } }';
    const { relay, later } = await aRelay({ standIns: ["http"], file });
    add(relay, V1);
    await toldWithout(relay, V1);
    await later(DETAILS_DELAY_MS);
    expect(requests(relay)).toMatchObject([
      { revision: 1, prompt: null, status: "completed" },
      { revision: 2, prompt: "Do tsk_1", status: "completed" },
    ]);
    const ids = relay.standIns.http.requests.map(({ headers }) => headers["webhook-id"]);
    expect(new Set(ids).size).toBe(2);
  });

  it("prompt and url that came in time are in the message already", async () => {
    const { relay, later } = await aRelay();
    add(relay, V1);
    await relay.webhook(JSON.stringify(atSkyvern(V1).payload));
    await later(DETAILS_DELAY_MS);
    expect(expectSilentEdits(relay, 0)).toContain("portal.example.com");
  });

  it("prompt and url are asked for again while Skyvern is down, after 1 m, 5 m, 30 m and 2 h, then no more", async () => {
    const { relay, later } = await aRelay();
    await told(relay, V1);
    relay.standIns.skyvern.faults.push({ status: 500, times: 1_000 });
    const waits = [DETAILS_DELAY_MS, MINUTE, 5 * MINUTE, 30 * MINUTE, 120 * MINUTE];
    for (const ms of waits) {
      // Skyvern's client waits between its own tries, so the clock is not exact.
      expect(await later(ms)).toBe(1);
      expect(await later(MINUTE / 2)).toBe(0);
    }
    expect(await later(10_000 * MINUTE)).toBe(0);
    expectSilentEdits(relay, 0);
  });

  it("prompt and url are filled in when Skyvern is back", async () => {
    const { relay, later } = await aRelay();
    add(relay, V1);
    await toldWithout(relay, V1);
    relay.standIns.skyvern.faults.push({ status: 503, times: 3 });
    await later(DETAILS_DELAY_MS);
    expectSilentEdits(relay, 0);
    await later(2 * MINUTE);
    expect(expectSilentEdits(relay, 1)).toContain("portal.example.com");
  });

  it("a run whose prompt and url cannot be read does not keep the next from being filled in", async () => {
    const { relay, later } = await aRelay();
    add(relay, { ...V1, id: "tsk_2" });
    await told(relay, V1);
    await told(relay, { ...V1, id: "tsk_2" });
    relay.standIns.skyvern.faults.push({ on: /tsk_1$/, status: 200, body: "<html>", times: 10 });
    expect(await later(DETAILS_DELAY_MS)).toBe(2);
    expect(await relay.read("/v1/runs/tsk_2")).toMatchObject({ prompt: "Do tsk_2" });
    expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({ prompt: null });
  });

  it("prompt and url are asked for after a restart too", async () => {
    const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
    const runtime = aRuntime();
    const before = await anApp(env, { runtime });
    add(before, V1);
    await before.webhook(JSON.stringify(atSkyvern(V1).payload));
    await before.stop();
    runtime.advance(MINUTE);
    const relay = await anApp({ ...env, SKYVERN_BASE_URL: before.standIns.skyvern.url }, { runtime });
    expect(await relay.app.followUp()).toBe(1);
    expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({ prompt: "Do tsk_1" });
  });
});

describe("the recording of a v2 task", () => {
  it("the recording of a v2 task that is in the list a minute later is linked in the message, by a silent edit", async () => {
    const { relay, later } = await aRelay();
    add(relay, V2);
    await told(relay, V2);
    expect(expectSilentEdits(relay, 0)).not.toContain("a_900");

    add(relay, { ...V2, artifacts: [RECORDING] });
    expect(await later(ARTIFACTS_DELAY_MS - 1)).toBe(0);
    expect(await later(1)).toBe(1);

    expect(expectSilentEdits(relay, 1)).toContain("/artifacts/tsk_v2_1/a_900");
    expect(await relay.read("/v1/runs/tsk_v2_1")).toMatchObject({
      revision: 2,
      artifacts_status: "complete",
      recording_url: expect.stringContaining("a_900") as string,
    });
    expect(await later(1_000 * MINUTE)).toBe(0);
  });

  it("the recording of a v2 task that is there already, or never comes, edits nothing, and is asked for once", async () => {
    const { relay, later } = await aRelay();
    add(relay, { ...V2, artifacts: [RECORDING] });
    await told(relay, V2);
    expect(await later(ARTIFACTS_DELAY_MS)).toBe(1);
    expectSilentEdits(relay, 0);
    expect(await relay.read("/v1/runs/tsk_v2_1")).toMatchObject({ revision: 1 });
    expect(await later(1_000 * MINUTE)).toBe(0);
    expect(asked(relay).filter((path) => path.endsWith("/artifacts"))).toHaveLength(1);
  });

  it("the recording of a v2 task is looked for again while Skyvern's list cannot be read, although an older list is known", async () => {
    const { relay, later } = await aRelay();
    add(relay, V2);
    await told(relay, V2);
    add(relay, { ...V2, artifacts: [RECORDING] });
    relay.standIns.skyvern.faults.push({ on: /artifacts$/, status: 404 });
    await later(ARTIFACTS_DELAY_MS);
    expectSilentEdits(relay, 0);
    expect(await later(MINUTE)).toBe(1);
    expect(expectSilentEdits(relay, 1)).toContain("a_900");
  });

  it("the recording of a v2 task is looked for five times while Skyvern is down, then no more", async () => {
    const { relay, later } = await aRelay();
    add(relay, V2);
    await told(relay, V2);
    relay.standIns.skyvern.faults.push({ on: /artifacts$/, status: 403, times: 1_000 });
    for (const ms of [ARTIFACTS_DELAY_MS, MINUTE, 5 * MINUTE, 30 * MINUTE, 120 * MINUTE])
      expect(await later(ms)).toBe(1);
    expect(await later(10_000 * MINUTE)).toBe(0);
  });

  it("the recording of a v2 task is in a message that is sent after it, and Skyvern is not asked before", async () => {
    const { relay, runtime } = await aRelay();
    add(relay, { ...V2, artifacts: [RECORDING] });
    await relay.webhook(JSON.stringify(atSkyvern(V2).payload));
    runtime.advance(ARTIFACTS_DELAY_MS);
    expect(await relay.app.followUp()).toBe(1);
    expect(asked(relay)).toEqual([]);
    await relay.deliver();
    expect(expectSilentEdits(relay, 0)).toContain("a_900");
  });

  it("the recording of a v2 task is asked for after the details that a replay lacks", async () => {
    const { relay, later } = await aRelay();
    const replay = { ...V2, fixture: "replay.task_v2.completed" };
    add(relay, replay);
    await toldWithout(relay, replay);
    expect(await later(DETAILS_DELAY_MS)).toBe(1);
    expectSilentEdits(relay, 1);
    add(relay, { ...replay, artifacts: [RECORDING] });
    expect(await later(ARTIFACTS_DELAY_MS)).toBe(1);
    expect(expectSilentEdits(relay, 2)).toContain("a_900");
    expect(await later(1_000 * MINUTE)).toBe(0);
  });
});

it.each([
  ["a workflow run", { id: "wr_1", fixture: "workflow_run.completed", endedAt: ENDED }],
  ["a task with its prompt", { ...V1, payload: { prompt: "known" } }],
])("Skyvern is asked nothing more about %s, where nothing is missing", async (_what, run) => {
  const { relay, later } = await aRelay();
  add(relay, run);
  await told(relay, run);
  expect(await later(1_000 * MINUTE)).toBe(0);
  expect(asked(relay)).toEqual([]);
  expectSilentEdits(relay, 0);
});

it("Skyvern is asked nothing more about what it answered itself, unless a recording may still be to come", async () => {
  const { relay, later } = await aRelay();
  add(relay, { ...V1, endedAt: NOW - 60 * MINUTE });
  add(relay, { ...V2, endedAt: NOW - 60 * MINUTE });
  add(relay, { ...V2, id: "tsk_v2_fresh", payload: { ...V2.payload, modified_at: naive(NOW) }, endedAt: NOW });
  expect(await relay.app.reconcile()).toMatchObject({ found: 3 });
  await relay.deliver();
  relay.standIns.skyvern.calls.splice(0);
  expect(await later(1_000 * MINUTE)).toBe(1);
});

it("a running relay asks for what its runs lack by itself", async () => {
  // A clock that runs twenty times as fast.
  const system = systemRuntime();
  const start = system.now();
  const runtime = {
    ...system,
    now: () => start + (system.now() - start) * 20,
    sleep: (ms: number, signal?: AbortSignal) => system.sleep(ms / 20, signal),
  };
  const relay = await aListeningApp({}, { runtime, standIns: ["slack"], file: "skyvern: { reconcile: false }" });
  add(relay, V1);
  relay.standIns.skyvern.faults.push({ on: /tsk_1$/, status: 503 });
  await relay.webhook(JSON.stringify(atSkyvern(V1).payload));
  await until("the message is edited", () => topLevel(relay.standIns.slack)[0]?.edits.length === 1);
});
