/** Skyvern's test button sends the sample of a run that never was. */
import { describe, expect, it } from "vitest";
import { anApp, type TestApp } from "../support/app.ts";
import { events, topLevel } from "../support/at-skyvern.ts";
import { fixtureBytes } from "../support/fixtures.ts";
import { until } from "../support/until.ts";

const SAMPLES = [
  ["task", "tsk_sample_123456789"],
  ["workflow_run", "wr_sample_123456789"],
] as const;
const standIns = ["slack", "smtp", "http"] as const;

const types = ({ standIns }: TestApp): string[] =>
  standIns.http.requests.map(({ body }) => (JSON.parse(body) as { type: string }).type);

describe.each(SAMPLES)("the sample of a %s", (name, runId) => {
  it("Skyvern's sample is delivered as a test each time, and counted nowhere", async () => {
    const relay = await anApp({}, { standIns });
    for (const pressed of [1, 2]) {
      const answer = await relay.webhook(fixtureBytes(`test-sample.${name}`));
      expect(answer.status).toBe(200);
      expect(answer.json()).toMatchObject({ run_id: runId, result: "test" });
      expect(answer.json<{ sinks: string[] }>().sinks.toSorted()).toEqual(["email", "http", "slack"]);
      await until(
        "the sinks are told",
        () => relay.standIns.smtp.messages.length === pressed && types(relay).length === pressed,
      );
      await until("Slack is told", () => topLevel(relay.standIns.slack).length === pressed);
    }
    expect(types(relay)).toEqual(["run.test", "run.test"]);
    expect(JSON.stringify(topLevel(relay.standIns.slack)[0]?.blocks)).toContain("Test webhook of Skyvern");
    await relay.deliver();
    expect(types(relay)).toHaveLength(2);

    expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });
    expect((await relay.get(`/v1/runs/${runId}`)).status).toBe(404);
    expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [] });
    const { text } = await relay.get("/metrics");
    expect(text).toContain('skyvern_relay_webhooks_total{result="test"} 2');
    expect(text).not.toMatch(/webhooks_total\{result="accepted"\} [1-9]/);
    expect(events(relay, "webhook.test")).toHaveLength(2);
  });

  it("Skyvern's sample reaches the sinks that such a run is routed to", async () => {
    const file = "routes: [{ when: { status: failed }, to: [slack] }, { when: { channel: crm }, to: [http] }]";
    const relay = await anApp({}, { standIns, file });
    const body = fixtureBytes(`test-sample.${name}`);
    expect((await relay.webhook(body)).json()).toMatchObject({ result: "test", sinks: [] });
    expect((await relay.webhook(body, { path: "/webhook/crm" })).json()).toMatchObject({ sinks: ["http"] });
    await until("the sink is told", () => types(relay).length === 1);
  });

  it("Skyvern's sample reaches no sink at the address of doctor", async () => {
    const relay = await anApp({}, { standIns });
    const answer = await relay.webhook(fixtureBytes(`test-sample.${name}`), { path: "/webhook/skyvern-relay-doctor" });
    expect(answer.json()).toMatchObject({ run_id: runId, result: "test" });
    expect(answer.json<{ sinks: string[] }>().sinks.toSorted()).toEqual([]);
    expect(events(relay, "webhook.test")).toMatchObject([{ channel: "skyvern-relay-doctor", sinks: [] }]);
  });

  it("Skyvern's sample is refused without a right signature", async () => {
    const relay = await anApp({}, { standIns });
    const answer = await relay.webhook(fixtureBytes(`test-sample.${name}`), { signature: "0".repeat(64) });
    expect(answer.status).toBe(401);
    expect(types(relay)).toEqual([]);
  });
});
