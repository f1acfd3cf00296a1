/**
 * A run that Skyvern tries several times under one id is told once, at its end, whichever way the relay hears of it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import { isFinal } from "../../src/domain/run.ts";
import { reportedRun } from "../../src/skyvern/normalize.ts";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { aFolder, anApp, type AppOptions, type TestApp } from "../support/app.ts";
import { aWorkflowRun, ENDED } from "../support/a-retried-run.ts";
import { corrections, naive, topLevel } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const ID = "wr_1";
const NEXT = NOW + MINUTE;

const PENDING = aWorkflowRun({ next: NEXT });
const RUNNING = aWorkflowRun({ attempt: 2, status: "running", endedAt: null });
const COMPLETED = aWorkflowRun({ attempt: 2, status: "completed", endedAt: NEXT + MINUTE });
const SPENT = aWorkflowRun({ attempt: 2, status: "failed", endedAt: NEXT + MINUTE });

async function aRelay(options: AppOptions & { env?: Record<string, string> } = {}) {
  const runtime = options.runtime ?? aRuntime();
  const given = { runtime, standIns: ["slack", "smtp", "http"], ...options } as const;
  const relay = await anApp(options.env, given);
  return { relay, runtime: runtime as ReturnType<typeof aRuntime> };
}

const send = async (relay: TestApp, run: StandInRun): Promise<Json> =>
  (await relay.webhook(JSON.stringify(run.payload))).json()["result"] ?? null;

/** What a time does: follow-ups that are due, a round over Skyvern's list, and what is due to sinks. */
async function round(relay: TestApp): Promise<void> {
  await relay.app.followUp();
  await relay.app.reconcile();
  await relay.deliver();
}

const told = ({ standIns }: TestApp) => ({
  slack: topLevel(standIns.slack).length,
  corrections: corrections(standIns.slack).length,
  mails: standIns.smtp.messages.length,
  http: standIns.http.requests.map(({ body }) => (JSON.parse(body) as { type: string }).type),
});
const NOBODY = { slack: 0, corrections: 0, mails: 0, http: [] };
const once = (type: string) => ({ slack: 1, corrections: 0, mails: 1, http: [type] });
const header = (relay: TestApp): string => JSON.stringify(topLevel(relay.standIns.slack)[0]?.blocks);
const reads = ({ standIns }: TestApp): number =>
  standIns.skyvern.calls.filter(({ path }) => path === `/v1/runs/${ID}`).length;

describe("runs of several attempts", () => {
  it("a run attempt with another to come is delivered to no sink, and the run once, as completed at the 2nd attempt", async () => {
    const { relay } = await aRelay();
    expect(await send(relay, PENDING)).toBe("stored");
    await relay.deliver();
    expect(told(relay)).toEqual(NOBODY);
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({
      status: "retrying",
      reported_status: "failed",
      attempt: 1,
      next_attempt_at: new Date(NEXT).toISOString(),
      deliveries: [],
    });

    expect(await send(relay, COMPLETED)).toBe("accepted");
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.completed"));
    expect(header(relay)).toContain("Completed at the 2nd attempt");
    expect(header(relay)).toContain("HTTP 500 at attempt 1");
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({
      status: "completed",
      attempt: 2,
      next_attempt_at: null,
      failure: null,
      revision: 1,
      started_at: new Date(ENDED - MINUTE).toISOString(),
      duration_ms: NEXT + MINUTE - ENDED + MINUTE,
      attempts: [
        { attempt: 1, status: "failed", reason: "HTTP 500 at attempt 1", codes: ["PORTAL_DOWN"], decision: "retry" },
        { attempt: 2, status: "completed", reason: null, codes: [], decision: "final" },
      ],
    });
  });

  it("a run of two attempts has the table of attempts in the mail, in the thread and in the HTTP body", async () => {
    const { relay } = await aRelay();
    await send(relay, SPENT);
    await relay.deliver();
    expect(header(relay)).toContain("Failed after 2 attempts");
    const [mail] = relay.standIns.smtp.messages;
    expect(mail?.raw).toContain("Failed after 2 attempts");
    expect(mail?.raw).toContain("Attempts");
    const table = relay.standIns.slack.messages().filter(({ thread_ts }) => thread_ts !== null);
    expect(table).toHaveLength(1);
    expect(JSON.stringify(table[0]?.blocks)).toMatch(/"table".*PORTAL_DOWN/);
    const [request] = relay.standIns.http.requests;
    expect((JSON.parse(request?.body ?? "") as { data: JsonObject }).data).toMatchObject({
      attempt: 2,
      attempts: [{ attempt: 1 }, { attempt: 2 }],
    });
  });

  it("a run is delivered once when its retry policy is spent", async () => {
    const { relay } = await aRelay();
    await send(relay, PENDING);
    await send(relay, SPENT);
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.failed"));
    expect(header(relay)).toContain("Failed after 2 attempts");
  });

  it("a run of two attempts is delivered once when both webhooks come in one moment, in whichever order", async () => {
    for (const runs of [
      [PENDING, COMPLETED],
      [COMPLETED, PENDING],
    ]) {
      const { relay } = await aRelay();
      await Promise.all([...runs, ...runs].map((run) => send(relay, run)));
      await relay.deliver();
      expect(told(relay)).toEqual(once("run.completed"));
    }
  });

  it("a run is delivered as failed when its retry is canceled before it begins, which Skyvern still calls failed", async () => {
    const { relay } = await aRelay();
    await send(relay, PENDING);
    const revoked = aWorkflowRun({
      payload: {
        modified_at: naive(NOW + SECOND),
        attempts: [{ attempt_number: 1, status: "failed", retry_decision: "revoked" }],
      },
    });
    expect(await send(relay, revoked)).toBe("accepted");
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.failed"));
    expect(header(relay)).toContain("canceled before it began");
  });
});

describe("between two run attempts", () => {
  it("a round over Skyvern's list between two run attempts reads nothing and delivers nothing", async () => {
    const { relay, runtime } = await aRelay();
    relay.standIns.skyvern.addRun(PENDING);
    runtime.advance(10 * SECOND);
    await relay.app.reconcile();
    expect(reads(relay)).toBe(0);
    await send(relay, PENDING);
    await relay.app.reconcile();
    await relay.deliver();
    expect(reads(relay)).toBe(0);
    expect(told(relay)).toEqual(NOBODY);
  });

  it("backfill passes over a run between two attempts, and confirming it by the API delivers nothing", async () => {
    const { relay } = await aRelay({ env: {}, file: "skyvern: { confirm: true }" });
    relay.standIns.skyvern.addRun(PENDING);
    const answer = await relay.webhook(JSON.stringify(PENDING.payload), { signature: "0".repeat(64) });
    expect(answer.json()).toMatchObject({ result: "stored" });
    await relay.deliver();
    expect(told(relay)).toEqual(NOBODY);
  });

  it("Skyvern is asked about a run half a minute after its next attempt was to begin, and again with growing pauses", async () => {
    const { relay, runtime } = await aRelay();
    relay.standIns.skyvern.addRun(RUNNING);
    await send(relay, PENDING);
    const asked: number[] = [];
    for (let minute = 0; minute < 60; minute += 0.5) {
      const before = reads(relay);
      await relay.app.followUp();
      if (reads(relay) > before) asked.push(minute);
      runtime.advance(MINUTE / 2);
    }
    expect(asked).toEqual([1.5, 2.5, 4.5, 9.5, 19.5, 49.5]);
    await relay.deliver();
    expect(told(relay)).toEqual(NOBODY);
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({ status: "running", attempt: 2 });
  });

  it.each([
    ["whose last webhook is lost is delivered once, from what Skyvern says", COMPLETED, "run.completed"],
    ["that fails again, and whose last webhook is lost, is delivered once too", SPENT, "run.failed"],
  ])("a run between two attempts %s", async (_what, end, type) => {
    const { relay, runtime } = await aRelay();
    await send(relay, PENDING);
    relay.standIns.skyvern.addRun(RUNNING);
    runtime.advance(NEXT - NOW + 40 * SECOND);
    await round(relay);
    expect(told(relay)).toEqual(NOBODY);
    relay.standIns.skyvern.addRun(end);
    for (let i = 0; i < 10; i += 1) {
      runtime.advance(MINUTE);
      await round(relay);
    }
    expect(told(relay)).toEqual(once(type));
    // The webhook comes after all.
    await send(relay, end);
    await relay.deliver();
    expect(told(relay)).toEqual(once(type));
  });

  it("a canceled retry whose webhook is lost is delivered by the next round", async () => {
    const { relay, runtime } = await aRelay();
    await send(relay, PENDING);
    relay.standIns.skyvern.addRun(aWorkflowRun({ payload: { modified_at: naive(NOW + SECOND) } }));
    runtime.advance(40 * SECOND);
    await relay.app.reconcile();
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.failed"));
  });

  it("a relay that was stopped between two run attempts asks Skyvern when it is back", async () => {
    const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
    const { relay: before, runtime } = await aRelay({ env });
    await send(before, PENDING);
    await before.stop();
    runtime.advance(HOUR);
    const { relay } = await aRelay({ env, runtime });
    relay.standIns.skyvern.addRun(COMPLETED);
    await relay.app.followUp();
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.completed"));
  });

  it("why says what a run between two attempts waits for", async () => {
    const { relay } = await aRelay();
    await send(relay, PENDING);
    const { summary } = await relay.read<{ summary: string[] }>(`/v1/runs/${ID}/why`);
    expect(summary[0]).toContain(
      `attempt 1 ended as failed, and Skyvern tries again at ${new Date(NEXT).toISOString()}`,
    );
  });
});

describe("a retry that never starts", () => {
  it.each([
    ["as Skyvern still says that it is pending", () => undefined],
    [
      "as Skyvern does not answer",
      ({ standIns }: TestApp) => void standIns.skyvern.faults.push({ status: 500, times: 10_000 }),
    ],
  ])("a run whose retry never starts is delivered as it stands after 24 hours, %s", async (_what, prepare) => {
    const { relay, runtime } = await aRelay({ standIns: ["slack", "smtp", "http"], env: {} });
    relay.standIns.skyvern.addRun(PENDING);
    prepare(relay);
    await send(relay, PENDING);
    runtime.advance(NEXT - NOW + 23 * HOUR);
    await relay.app.followUp();
    await relay.deliver();
    expect(told(relay)).toEqual(NOBODY);
    for (let i = 0; i < 4; i += 1) {
      runtime.advance(HOUR);
      await relay.app.followUp();
      await relay.deliver();
    }
    expect(told(relay)).toEqual(once("run.failed"));
    expect(header(relay)).toContain("but it never started");
    const { routes } = await relay.read<{ routes: { because: string }[] }>(`/v1/runs/${ID}/why`);
    expect(routes).toMatchObject([{ route: "default", matched: true }]);
    const before = reads(relay);
    runtime.advance(24 * HOUR);
    await relay.app.followUp();
    expect(reads(relay)).toBe(before);
  });

  /** A relay that has queued the run as its first attempt ended. */
  async function aRelayThatGaveUp() {
    const { relay, runtime } = await aRelay();
    relay.standIns.skyvern.addRun(PENDING);
    await send(relay, PENDING);
    for (let i = 0; i < 26; i += 1) {
      runtime.advance(HOUR);
      await relay.app.followUp();
    }
    return relay;
  }

  /** A relay that delivered the run as its first attempt ended. */
  async function aRelayThatWaitedInVain() {
    const relay = await aRelayThatGaveUp();
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.failed"));
    return relay;
  }

  it("a run whose retry never started is corrected when it starts after all", async () => {
    const relay = await aRelayThatWaitedInVain();
    await send(relay, COMPLETED);
    await relay.deliver();
    expect(told(relay)).toMatchObject({ slack: 1, corrections: 1, http: ["run.failed", "run.completed"] });
    expect(header(relay)).toContain("Completed at the 2nd attempt");
  });

  it("a run whose retry starts after all and fails for another reason edits the message, and sends nothing more", async () => {
    const relay = await aRelayThatWaitedInVain();
    expect(await send(relay, SPENT)).toBe("updated");
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.failed"));
    expect(header(relay)).toContain("Failed after 2 attempts");
    expect(header(relay)).toContain("HTTP 500 at attempt 2");
  });

  it("a failure that nobody was told of before the retry started after all is told when that fails alike", async () => {
    const relay = await aRelayThatGaveUp();
    expect(await send(relay, RUNNING)).toBe("stored");
    await relay.deliver();
    expect(told(relay)).toEqual(NOBODY);
    expect(await send(relay, SPENT)).toBe("updated");
    await relay.deliver();
    expect(told(relay)).toEqual(once("run.failed"));
  });
});

describe("genuine bodies of Skyvern 1.0.56", () => {
  const file = (name: string): Buffer => readFileSync(new URL(`../fixtures/${name}-1.0.56.json`, import.meta.url));
  const body = (name: string): Buffer => file(`webhook.workflow_run.${name}`);

  it("rows of Skyvern's genuine list that wait for a retry are not read, and every other one is", async () => {
    const { relay } = await aRelay({
      runtime: aRuntime(Date.parse("2026-11-28T15:20:40Z")),
    });
    const list = file("api.runs-list").toString();
    relay.standIns.skyvern.faults.push({ on: /^\/v1\/runs$/, status: 200, body: list });
    await relay.app.reconcile();
    const paths = new Set(relay.standIns.skyvern.calls.map(({ path }) => path));
    const rows = JSON.parse(list) as { run_id: string; retry_pending: boolean }[];
    const pending = rows.filter((row) => row.retry_pending).map(({ run_id }) => run_id);
    expect(pending).toHaveLength(2);
    expect(rows.map(({ run_id }) => run_id).filter((id) => !paths.has(`/v1/runs/${id}`))).toEqual(pending);
  });

  it("a genuine answer of GET run says retrying between two attempts, and over after the second", () => {
    const said = (name: string) =>
      reportedRun(JSON.parse(file(`api.get-run.workflow_run.${name}`).toString()) as JsonObject, NOW);
    const [pending, completed] = [said("failed-retry-pending"), said("completed-attempt-2")];
    expect(pending && isFinal(pending)).toBe(false);
    expect(completed && isFinal(completed)).toBe(true);
    expect(completed).toMatchObject({ attempt: 2, attempts: [{ decision: "retry" }, { decision: "final" }] });
  });

  it.each([
    [["failed-retry-pending", "completed-attempt-2"], "run.completed"],
    [["failed-attempt-2-final"], "run.failed"],
    [["failed-retry-pending-then-canceled-1", "failed-retry-pending-then-canceled-2"], "run.failed"],
  ])("the genuine bodies %j are delivered once, as %s", async (names, type) => {
    const { relay } = await aRelay();
    for (const name of names) {
      expect(told(relay)).toEqual(NOBODY);
      await relay.webhook(body(name));
      await relay.deliver();
    }
    expect(told(relay)).toEqual(once(type));
  });
});
