/** One run known by its webhook and by Skyvern's API, in either order, has the fields of both. */
import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { atSkyvern, naive, topLevel } from "../support/at-skyvern.ts";
import { FIXTURE_ORGANIZATION } from "../support/fixtures.ts";
import { NOW } from "../support/runtime.ts";

const ENDED = NOW - 3_600_000;
const ORDERS = ["webhook then API", "API then webhook"] as const;

/** Floats that are whole, as the API writes them and a webhook does not. */
const float = (text: string): Json => JSON.rawJSON(text);
const BY_API = { total: float("120.0"), rate: float("1e-07"), id: float("9007199254740993"), name: "3.0" };
const BY_WEBHOOK = '"output":{"total":120,"rate":1e-07,"id":9007199254740993,"name":"3.0"}';

/** Both arrive, in one order; what happened last is told apart. */
async function both(relay: TestApp, order: (typeof ORDERS)[number], webhook: string, id: string): Promise<void> {
  const byWebhook = async () => expect((await relay.webhook(webhook)).status).toBe(200);
  // The API's answer is confirmed by an unsigned body, which may come when the run is known already.
  const byApi = async () =>
    expect((await relay.webhook(JSON.stringify({ run_id: id, status: "x" }), { signature: null })).status).toBe(200);
  for (const arrive of order === "webhook then API" ? [byWebhook, byApi] : [byApi, byWebhook]) {
    await arrive();
    await relay.deliver();
  }
}

const confirming = () => anApp({}, { standIns: ["slack", "http"], file: "skyvern: { confirm: true }" });

/** `modified_at` of the API is the later one: Skyvern writes the row when its webhook was answered. */
const modified_at = naive(ENDED + 5_000);

const shownRevision = ({ standIns }: TestApp): JsonObject[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { data: JsonObject }).data);

describe.each(ORDERS)("%s", (order) => {
  it("a task v1 known by webhook and API has the API's prompt and url, and the digits of the webhook", async () => {
    const relay = await confirming();
    const run = { id: "tsk_1", endedAt: ENDED, webhookUrl: "https://relay.example.com/webhook/billing" };
    relay.standIns.skyvern.addRun(atSkyvern({ ...run, payload: { output: BY_API, modified_at } }));
    const webhook = JSON.stringify({ ...atSkyvern(run).payload, output: 0 }).replace('"output":0', BY_WEBHOOK);
    await both(relay, order, webhook, run.id);

    const { text } = await relay.get("/v1/runs/tsk_1");
    expect(text).toContain(BY_WEBHOOK);
    expect(JSON.parse(text)).toMatchObject({
      prompt: "Do tsk_1",
      url: "https://portal.example.com/",
      organization_id: FIXTURE_ORGANIZATION,
      source: order === "API then webhook" ? "reconciled" : "webhook",
      step_count: 3,
    });
    expect(topLevel(relay.standIns.slack)).toHaveLength(1);
    // Nothing is edited: where the webhook comes first, which has no prompt, the API is asked before the message is
    // sent.
    expect(topLevel(relay.standIns.slack)[0]?.edits).toEqual([]);
    expect(shownRevision(relay)).toHaveLength(1);
  });

  it("a task v2 known by webhook and API has summary and organization of the webhook", async () => {
    const relay = await confirming();
    const run = { id: "tsk_v2_1", fixture: "task_v2.completed", endedAt: ENDED };
    relay.standIns.skyvern.addRun(atSkyvern({ ...run, payload: { modified_at } }));
    await both(relay, order, JSON.stringify(atSkyvern(run).payload), run.id);

    const { summary, organization_id, workflow_run_id } = atSkyvern(run).payload;
    expect(await relay.read("/v1/runs/tsk_v2_1")).toMatchObject({
      summary,
      organization_id,
      workflow: { run_id: workflow_run_id },
      status: "completed",
    });
    expect(topLevel(relay.standIns.slack)).toHaveLength(1);
  });

  it("a workflow run known by webhook and API has title and failure categories of the webhook, whatever the API says later", async () => {
    const relay = await confirming();
    const run = { id: "wr_1", fixture: "workflow_run.failed", endedAt: ENDED, status: "failed" };
    relay.standIns.skyvern.addRun(atSkyvern({ ...run, payload: { modified_at } }));
    const { payload } = atSkyvern(run);
    await both(relay, order, JSON.stringify(payload), run.id);

    const categories = (payload["failure_category"] as { category: string }[]).map(({ category }) => category);
    expect(categories.length).toBeGreaterThan(0);
    expect(await relay.read("/v1/runs/wr_1")).toMatchObject({
      title: payload["workflow_title"],
      failure: { reason: payload["failure_reason"], categories },
    });
    expect(topLevel(relay.standIns.slack)).toHaveLength(1);
  });
});
