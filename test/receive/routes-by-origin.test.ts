/** Routes that test where a run comes from: Skyvern is asked before sinks are chosen, and keeps no message back. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { backfillCommand } from "../../src/cli/backfill.ts";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { silentLog } from "../../src/platform/log.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { verifiedWebhook } from "../support/fixtures.ts";
import { atSkyvern, naive } from "../support/at-skyvern.ts";
import { createIntake } from "../../src/receive/intake.ts";
import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const ID = "wr_602138154398943446";
const BODY = readFileSync(new URL("../fixtures/webhook.workflow_run.completed-child-1.0.56.json", import.meta.url));
const PAYLOAD = JSON.parse(BODY.toString()) as JsonObject;
const FAILED = { ...PAYLOAD, status: "failed", finished_at: "2027-01-01T00:00:00", modified_at: "2027-01-01T00:00:00" };

async function aRelay(when: string, known: Partial<StandInRun> = {}, env: Record<string, string> = {}) {
  const runtime = aRuntime();
  const file = `routes: [{ name: chosen, when: ${when}, to: [http] }]`;
  const relay = await anApp(env, { runtime, file, standIns: ["http", "slack"] });
  relay.standIns.skyvern.addRun({ payload: PAYLOAD, ...known });
  return { relay, runtime };
}

const statuses = ({ standIns }: TestApp): string[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: { status: string } }).data.status);
const questions = ({ standIns }: TestApp): number =>
  standIns.skyvern.calls.filter(({ path }) => /\/tags$|\/workflows\/.*\/runs$/.test(path)).length;
const follow = async (relay: TestApp) => {
  await relay.app.followUp();
  await relay.deliver();
};

const KNOWN = {
  trigger_type: "manual",
  schedule: "wfs_1",
  parent: "wr_1",
  tags: [
    { key: "customer", value: "42" },
    { key: null, value: "nightly" },
  ],
};

describe("a route that tests where a run comes from", () => {
  it.each([
    ["{ trigger: manual }", true],
    ['{ trigger: "!manual" }', false],
    ["{ schedule: wfs_1 }", true],
    ["{ parent: wr_1 }", true],
    ['{ parent: "!*" }', false],
    ["{ tags: nightly }", true],
    ['{ tags: "customer:*" }', true],
    ['{ tags: ["customer:43", other] }', false],
  ])(
    "Skyvern is asked about a run's origin before its first delivery, and the run meets the condition %s: %s",
    async (when, isMet) => {
      const { relay } = await aRelay(when, KNOWN);
      expect((await relay.webhook(BODY)).json()).toMatchObject({ result: "accepted" });
      expect(questions(relay)).toBe(0);
      const { summary } = await relay.read<{ summary: string[] }>(`/v1/runs/${ID}/why`);
      expect(summary[0]).toContain("the relay asks Skyvern, then chooses the sinks");
      await follow(relay);
      expect(statuses(relay)).toEqual(isMet ? ["completed"] : []);
      const { routes } = await relay.read<{ routes: JsonObject[] }>(`/v1/runs/${ID}/why`);
      expect(routes).toMatchObject([{ route: "chosen", matched: isMet }]);
      await follow(relay);
      expect(statuses(relay)).toHaveLength(isMet ? 1 : 0);
      expect(questions(relay)).toBe(2);
    },
  );

  it("a route by origin holds no message up when Skyvern does not answer, and the run counts as one without an origin", async () => {
    const { relay, runtime } = await aRelay('{ tags: "!muted" }', { tags: [{ key: null, value: "muted" }] });
    relay.standIns.skyvern.faults.push({ on: /tags$|workflows/, instead: "reset", times: 100 });
    await relay.webhook(BODY);
    await follow(relay);
    expect(statuses(relay)).toEqual(["completed"]);
    relay.standIns.skyvern.faults.splice(0);
    runtime.advance(60_000);
    await follow(relay);
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({ tags: ["muted"] });
    expect(statuses(relay)).toEqual(["completed"]);
  });

  it.each([
    ["neither", /tags$|workflows/],
    ["the row and no tags", /tags$/],
  ])(
    "a route that Skyvern's late answer meets still gets the run, once, where it first answered %s",
    async (_name, on) => {
      const { relay, runtime } = await aRelay('{ tags: "customer:42" }', KNOWN);
      relay.standIns.skyvern.faults.push({ on, status: 503, times: 100 });
      await relay.webhook(BODY);
      await follow(relay);
      await relay.webhook(BODY);
      expect(statuses(relay)).toEqual([]);
      relay.standIns.skyvern.faults.splice(0);
      for (let minute = 0; minute < 3; minute += 1) {
        runtime.advance(60_000);
        await follow(relay);
      }
      expect(statuses(relay)).toEqual(["completed"]);
      expect(await relay.read(`/v1/runs/${ID}/why`)).toMatchObject({ routes: [{ route: "chosen", matched: true }] });
    },
  );

  it("a route by origin holds up no task, and no run whose origin is known", async () => {
    const { relay } = await aRelay("{ trigger: manual }", KNOWN);
    await relay.webhook(BODY);
    await follow(relay);
    await relay.webhook(JSON.stringify(FAILED));
    await relay.deliver();
    expect(statuses(relay)).toEqual(["completed", "failed"]);
    const task = atSkyvern({ id: "tsk_1", endedAt: NOW });
    await relay.webhook(JSON.stringify(task.payload));
    expect(await relay.read("/v1/runs/tsk_1/why")).toMatchObject({ routes: [{ matched: false }] });
  });

  it("a route by origin decides about the outcome of that moment, whatever came while the run waited", async () => {
    const { relay } = await aRelay("{ trigger: manual }", KNOWN);
    await relay.webhook(BODY);
    await relay.webhook(BODY);
    await relay.webhook(JSON.stringify(FAILED));
    await relay.webhook(JSON.stringify({ ...PAYLOAD, modified_at: "2026-11-28T15:23:39" }));
    await relay.deliver();
    expect(statuses(relay)).toEqual([]);
    await follow(relay);
    expect(statuses(relay)).toEqual(["failed"]);
  });

  it("a route by origin decides about the run's end when another attempt begins while the first outcome waits", async () => {
    const { relay } = await aRelay("{ trigger: manual }", KNOWN);
    await relay.webhook(BODY);
    const again = { attempt: 2, finished_at: null, status: "running" };
    await relay.webhook(JSON.stringify({ ...PAYLOAD, ...again }));
    await relay.webhook(JSON.stringify({ ...PAYLOAD, attempt: 2 }));
    await follow(relay);
    expect(statuses(relay)).toEqual(["completed"]);
  });

  it("a route by origin decides once about a run whose announced attempt never starts", async () => {
    const { relay, runtime } = await aRelay("{ trigger: manual }", KNOWN);
    await relay.webhook(BODY);
    const next_attempt_at = new Date(NOW + 60_000).toISOString().slice(0, -1);
    const pending = { ...FAILED, attempt: 2, finished_at: naive(NOW), retry_pending: true, next_attempt_at };
    await relay.webhook(JSON.stringify(pending));
    relay.standIns.skyvern.addRun({ payload: pending, ...KNOWN });
    for (let hour = 0; hour < 60; hour += 1) {
      await follow(relay);
      runtime.advance(3_600_000);
    }
    await relay.webhook(JSON.stringify({ ...pending, retry_pending: false, next_attempt_at: null }));
    await follow(relay);
    expect(statuses(relay)).toEqual(["failed"]);
  });

  it("a run that waits for its origin is on disk, so that another process can choose its sinks", async () => {
    const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}` };
    const { relay } = await aRelay("{ trigger: manual }", KNOWN, env);
    await relay.webhook(BODY);
    await relay.stop();
    const { relay: next } = await aRelay("{ trigger: manual }", KNOWN, env);
    await follow(next);
    expect([statuses(relay), statuses(next)]).toEqual([[], ["completed"]]);
  });

  it("a run that waits for its origin does not wait for other runs whose origin is asked for again", async () => {
    const { relay, runtime } = await aRelay("{ trigger: manual }", KNOWN);
    for (let i = 0; i < 30; i += 1)
      await relay.webhook(
        JSON.stringify(atSkyvern({ id: `tsk_v2_${i}`, fixture: "task_v2.completed", endedAt: NOW }).payload),
      );
    runtime.advance(3_600_000);
    await relay.webhook(BODY);
    await follow(relay);
    expect(statuses(relay)).toEqual(["completed"]);
  });

  it("an outcome that waits for its origin is not lost when the route is gone and the run is read quietly meanwhile", async () => {
    const database = openSqlite(":memory:", { exclusive: true });
    await migrate(database);
    const store = createSqlStore(database);
    onTestFinished(() => store.close());
    const sinks = [{ name: "http", kind: "http", updates: false }];
    const settings = {
      redactKeys: [],
      archives: false,
      organizations: [null],
      sinks,
      store,
      runtime: aRuntime(),
      log: silentLog,
    };
    const chosen = { name: "chosen", when: { trigger: ["manual"] }, to: ["http"], stop: false };
    const about = { channel: null, query: null, receivedAt: NOW };
    const before = createIntake({ ...settings, routes: [chosen] });
    await before.webhook(verifiedWebhook(BODY.toString()), NOW);
    const reloaded = createIntake({ ...settings, routes: [] });
    const answer = { text: JSON.stringify(FAILED), source: "backfill", organization: null } as const;
    await reloaded.answer({ ...answer, ...about, listedAt: NOW, deliver: false });
    expect((await store.run(ID))?.state.run.status).toBe("failed");
    expect(await store.deliveries({ runId: ID }, { limit: 10 })).toEqual([]);
    await reloaded.route(ID, NOW);
    expect(await store.deliveries({ runId: ID }, { limit: 10 })).toMatchObject([{ sink: "http", state: "pending" }]);
  });

  it("a route by origin delivers no run of the past that is only stored", async () => {
    const { relay, runtime } = await aRelay("{ trigger: manual }", KNOWN, {
      DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`,
    });
    const past = { id: "wr_5", fixture: "workflow_run.completed", endedAt: NOW - 3_600_000, trigger_type: "manual" };
    relay.standIns.skyvern.addRun(atSkyvern(past));
    const shell = {
      env: {},
      stdout: () => {},
      stderr: () => {},
      stopped: new AbortController().signal,
      terminal: false,
    };
    await backfillCommand({ since: "30d", scope: "all" }, { config: relay.config, runtime, shell });
    await follow(relay);
    expect(await relay.read("/v1/runs/wr_5")).toMatchObject({ status: "completed", deliveries: [] });
    expect(statuses(relay)).toEqual([]);
  });
});
