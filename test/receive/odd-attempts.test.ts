/** Run attempts as no documentation describes them: each run is still delivered once, as what it came to. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { aWorkflowRun, ENDED } from "../support/a-retried-run.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { corrections, naive, topLevel } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const NEXT = NOW + MINUTE;

const row = (number: unknown, more: JsonObject = {}): JsonObject => ({
  attempt_number: number as number,
  status: "failed",
  failure_reason: "HTTP 500",
  error_codes: [],
  started_at: naive(ENDED - MINUTE),
  finished_at: naive(ENDED),
  retry_decision: "retry",
  ...more,
});
const pending = (payload: JsonObject = {}) => aWorkflowRun({ next: NEXT, payload });
const completed = (payload: JsonObject = {}) =>
  aWorkflowRun({ attempt: 2, status: "completed", endedAt: NEXT + MINUTE, payload });
const spent = (payload: JsonObject = {}) => aWorkflowRun({ attempt: 2, endedAt: NEXT + MINUTE, payload });
const COMPLETED = completed();

async function aRelay(env: Record<string, string> = {}, runtime = aRuntime()) {
  const to = (sink: string, more = "") =>
    `${sink}: { kind: http, url: "\${SINK_URL}?sink=${sink}", secret: "\${SINK_SECRET}"${more} }`;
  const file = `sinks: { ${to("crm", ", attempts: true")}, ${to("erp")} }`;
  const relay = await anApp(env, { file, runtime, standIns: ["slack", "smtp", "http"] });
  return { relay, runtime };
}

const send = async (relay: TestApp, run: StandInRun): Promise<number> =>
  (await relay.webhook(JSON.stringify(run.payload))).status;

/** Follow-ups, rounds and deliveries of so many hours. */
async function pass(relay: TestApp, runtime: ReturnType<typeof aRuntime>, hours: number): Promise<void> {
  for (let hour = 0; hour < hours; hour += 1) {
    runtime.advance(HOUR);
    await relay.app.followUp();
    await relay.app.reconcile();
    await relay.deliver();
  }
}

const typesOf = ({ standIns }: TestApp, sink: string): string[] =>
  standIns.http.requests
    .filter(({ path }) => path.endsWith(`sink=${sink}`))
    .map(({ body }) => (JSON.parse(body) as { type: string }).type);

function expectOnce(relay: TestApp, type: string): void {
  expect(typesOf(relay, "erp")).toEqual([type]);
  expect(topLevel(relay.standIns.slack)).toHaveLength(1);
  expect(corrections(relay.standIns.slack)).toEqual([]);
  expect(relay.standIns.smtp.messages).toHaveLength(1);
  const events = typesOf(relay, "crm");
  expect(events.filter((one) => one !== "run.attempt_failed")).toEqual([type]);
}

describe("odd attempts", () => {
  it.each<[what: string, runs: StandInRun[], type: string]>([
    ["attempts out of order", [spent({ attempts: [row(2, { retry_decision: "final" }), row(1)] })], "run.failed"],
    [
      "an attempt twice, with other times",
      [completed({ attempts: [row(1), row(1, { finished_at: naive(ENDED + 5) }), row(2)] })],
      "run.completed",
    ],
    ["no time of the next attempt", [pending({ next_attempt_at: null }), COMPLETED], "run.completed"],
    ["a next attempt in the past", [pending({ next_attempt_at: naive(NOW - HOUR) }), COMPLETED], "run.completed"],
    ["a next attempt at no time", [pending({ next_attempt_at: "soon" }), COMPLETED], "run.completed"],
    ["a next attempt as a number", [pending({ next_attempt_at: NEXT }), COMPLETED], "run.completed"],
    ["retry_pending as a text", [pending({ retry_pending: "true" }), COMPLETED], "run.completed"],
    ["retry_pending missing", [pending({ retry_pending: null }), COMPLETED], "run.completed"],
    ["a negative attempt", [pending({ attempt: -1 }), completed({ attempt: -2 })], "run.completed"],
    ["attempt 0", [pending({ attempt: 0 }), COMPLETED], "run.completed"],
    ["the attempt as a text", [pending({ attempt: "1" }), completed({ attempt: "2" })], "run.completed"],
    ["half an attempt", [pending({ attempt: 1.5 }), completed({ attempt: 2.5 })], "run.completed"],
    [
      "attempts that are none",
      [pending({ attempts: [null, "x", 5, {}, [], row(-1), row("1")] as JsonObject[] }), COMPLETED],
      "run.completed",
    ],
    ["attempts as an object", [pending({ attempts: { "1": row(1) } }), completed({ attempts: {} })], "run.completed"],
    ["no attempts at all", [pending({ attempts: null }), completed({ attempts: null })], "run.completed"],
    [
      "a retry of a run that completed",
      [aWorkflowRun({ status: "completed", next: NEXT }), COMPLETED],
      "run.completed",
    ],
    ["an attempt that ended before it began", [completed({ started_at: naive(NEXT + HOUR) })], "run.completed"],
    ["an end without a time", [pending(), completed({ finished_at: null })], "run.completed"],
    [
      "webhooks doubled between the attempts",
      [pending(), pending(), pending({ modified_at: naive(NOW) }), COMPLETED, pending(), COMPLETED],
      "run.completed",
    ],
    [
      "a failed first attempt after the end",
      [COMPLETED, aWorkflowRun({ payload: { modified_at: naive(NEXT + HOUR) } })],
      "run.completed",
    ],
    [
      "a running second attempt after its end",
      [pending(), COMPLETED, aWorkflowRun({ attempt: 2, status: "running", endedAt: null })],
      "run.completed",
    ],
    [
      "a running attempt with a retry pending",
      [aWorkflowRun({ status: "running", endedAt: null, next: NEXT }), COMPLETED],
      "run.completed",
    ],
    ["a retry that is no longer pending, with its time", [pending({ retry_pending: false })], "run.failed"],
    [
      "ten thousand attempts",
      [completed({ attempts: Array.from({ length: 10_000 }, (_none, i) => row(i + 1)), attempt: 10_001 })],
      "run.completed",
    ],
  ])("a run whose webhooks say odd things of its attempts is delivered once: %s", async (_what, runs, type) => {
    const { relay, runtime } = await aRelay();
    for (const run of runs) {
      expect(await send(relay, run)).toBe(200);
      await relay.deliver();
    }
    await pass(relay, runtime, 1);
    expectOnce(relay, type);
    const events = typesOf(relay, "crm").filter((one) => one === "run.attempt_failed");
    if (runs.length > 1) expect(events.length).toBeLessThanOrEqual(1);
    expect(events.length).toBeLessThanOrEqual(50);
    expect((await relay.get("/v1/runs/wr_1")).status).toBe(200);
    expect((await relay.get("/v1/runs/wr_1/why")).status).toBe(200);
  });

  it("a run attempt of a number beyond all others only keeps attempts with a lower number from the run", async () => {
    const { relay } = await aRelay();
    await send(relay, aWorkflowRun({ next: NEXT, payload: { attempt: Number.MAX_SAFE_INTEGER } }));
    await send(relay, aWorkflowRun({ status: "completed", payload: { attempt: Number.MAX_SAFE_INTEGER } }));
    await relay.deliver();
    expectOnce(relay, "run.completed");
  });

  it("a hostile text of a run attempt is shown as text in every message", async () => {
    const { relay } = await aRelay();
    const hostile = "<!channel> <script>alert(1)</script> *x* | a <https://evil.example|here> \u202E\u0000";
    const attempts = [
      row(1, { failure_reason: hostile, error_codes: [hostile, "__proto__"], status: "failed\u202E" }),
      row(2),
    ];
    await send(relay, spent({ attempts }));
    await relay.deliver();
    expectOnce(relay, "run.failed");
    const slack = JSON.stringify(relay.standIns.slack.messages());
    expect(slack).not.toMatch(/<!channel>|<https:\/\/evil\.example\|/);
    const [mail] = relay.standIns.smtp.messages;
    expect(mail?.raw.split("<!doctype html>")[1]).not.toContain("<script>alert");
  });
});

describe("odd times of an announced attempt", () => {
  it.each<[what: string, next: number, atSkyvern: StandInRun | null, type: string, hours: number]>([
    [
      "in a thousand years, and Skyvern says so again",
      NOW + 1_000 * 365 * 24 * HOUR,
      pending({ next_attempt_at: naive(NOW + 1_000 * 365 * 24 * HOUR) }),
      "run.failed",
      50,
    ],
    ["in a thousand years, and Skyvern knows no such run", NOW + 1_000 * 365 * 24 * HOUR, null, "run.failed", 50],
    [
      "in a thousand years, and it completes within the hour",
      NOW + 1_000 * 365 * 24 * HOUR,
      COMPLETED,
      "run.completed",
      26,
    ],
    ["in three days, and it ends then", NOW + 72 * HOUR, null, "run.failed", 100],
    ["at the beginning of time", 0, COMPLETED, "run.completed", 1],
  ])(
    "a run whose announced attempt is at an odd time is delivered once: %s",
    async (_what, next, atSkyvern, type, hours) => {
      const { relay, runtime } = await aRelay();
      if (atSkyvern !== null) relay.standIns.skyvern.addRun(atSkyvern);
      await send(relay, pending({ next_attempt_at: naive(next) }));
      await pass(relay, runtime, hours);
      expectOnce(relay, type);
    },
  );

  it.each<[what: string, atSkyvern: StandInRun, type: string]>([
    ["that has completed meanwhile", COMPLETED, "run.completed"],
    ["whose retry never started", pending(), "run.failed"],
  ])("a relay that was down for three days delivers once a run %s", async (_what, atSkyvern, type) => {
    const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
    const { relay: before, runtime } = await aRelay(env);
    await send(before, pending());
    await before.stop();
    runtime.advance(72 * HOUR);
    const { relay } = await aRelay(env, runtime);
    relay.standIns.skyvern.addRun(atSkyvern);
    await pass(relay, runtime, 3);
    expectOnce(relay, type);
  });

  it("a clock that is set back by a day does not change when a run with an announced attempt is delivered", async () => {
    const { relay, runtime } = await aRelay();
    relay.standIns.skyvern.addRun(COMPLETED);
    await send(relay, pending());
    runtime.advance(-24 * HOUR);
    await pass(relay, runtime, 27);
    expectOnce(relay, "run.completed");
  });
});
