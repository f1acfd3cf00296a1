import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { anApp, type TestApp } from "../support/app.ts";
import { aRuntime } from "../support/runtime.ts";

interface Tested {
  outcome: string;
  reason: string | null;
  ms: number;
  delivery: JsonObject;
}
const test = async (relay: TestApp, sink: string) => {
  const answer = await relay.post(`/v1/sinks/${sink}/test`);
  expect(answer.status).toBe(200);
  return answer.json<Tested>();
};
const aRun = (id: string): string => JSON.stringify({ run_id: id, status: "completed" });

describe("POST /v1/sinks/{name}/test", () => {
  it("POST /v1/sinks/{name}/test sends one marked message through that sink only, at once", async () => {
    const relay = await anApp({}, { standIns: ["http", "slack", "smtp"] });

    const { outcome, reason, delivery } = await test(relay, "http");

    expect([outcome, reason]).toEqual(["delivered", null]);
    expect(delivery).toMatchObject({
      sink: "http",
      cause: "test",
      state: "delivered",
      attempts: 1,
      receipt: { status: 200 },
    });
    const [request] = relay.standIns.http.requests;
    expect(relay.standIns.http.requests).toHaveLength(1);
    expect(request?.headers["webhook-id"]).toBe(delivery["id"]);
    expect(request?.verified).toBe(true);
    const { type, data } = JSON.parse(request?.body ?? "") as { type: string; data: JsonObject };
    expect(type).toBe("run.test");
    expect(data).toMatchObject({
      run_id: delivery["run_id"],
      run_type: "test",
      status: "test",
      output: { test: true },
    });
    expect(data["run_id"]).toMatch(/^test_/);
    expect(relay.standIns.slack.calls).toHaveLength(0);
    expect(relay.standIns.smtp.messages).toHaveLength(0);
  });

  it("POST /v1/sinks/{name}/test says in Slack and in mail that no run happened, and answers with the proof", async () => {
    const relay = await anApp({}, { standIns: ["slack", "smtp"] });
    const slack = await test(relay, "slack");
    expect(slack.delivery["receipt"]).toMatchObject({ ts: expect.any(String) as string });
    expect(JSON.stringify(relay.standIns.slack.messages())).toContain("This is a test message. No run happened.");
    const mail = await test(relay, "email");
    expect(mail.delivery["receipt"]).toMatchObject({ message_id: expect.any(String) as string });
    expect(JSON.stringify(relay.standIns.smtp.messages)).toContain("This is a test message");
  });

  it.each([
    [{ status: 503 }, "retry", /503/],
    [{ status: 404 }, "dead", /404/],
    [{ reset: true }, "retry", /\w/],
  ])(
    "POST /v1/sinks/{name}/test answers what the sink did (%j), tries no more, and leaves nothing owed to the sink",
    async (answer, outcome, reason) => {
      const runtime = aRuntime();
      const relay = await anApp({}, { standIns: ["http"], runtime });
      relay.standIns.http.answers.push(answer);

      const tested = await test(relay, "http");

      expect(tested).toMatchObject({ outcome, reason: expect.stringMatching(reason) as string });
      expect(tested.delivery).toMatchObject({ state: "canceled", last_error: tested.reason });
      runtime.advance(86_400_000);
      await relay.deliver();
      expect(relay.standIns.http.requests).toHaveLength(1);
      expect((await relay.get("/metrics")).text).not.toMatch(/dead_deliveries\{sink="http"\} [1-9]/);
      expect((await relay.post("/v1/redeliver", { state: ["canceled", "dead"] })).json()).toMatchObject({ count: 0 });
    },
  );

  it("the delivery of POST /v1/sinks/{name}/test is listed among deliveries, and nowhere else", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const { delivery } = await test(relay, "http");
    expect((await relay.read("/v1/deliveries?sink=http"))["data"]).toEqual([delivery]);
    expect((await relay.read("/v1/runs"))["data"]).toEqual([]);
    expect((await relay.read("/v1/stats"))["totals"]).toEqual({});
    expect((await relay.get(`/v1/runs/${String(delivery["run_id"])}`)).status).toBe(404);
  });

  it("POST /v1/sinks/{name}/test goes out while the circuit is open and others are pending, and changes neither", async () => {
    const relay = await anApp({}, { standIns: ["http"], file: "delivery: { schedule: [1h] }" });
    for (let i = 0; i < 8; i++) {
      relay.standIns.http.answers.push({ status: 500 });
      await relay.webhook(aRun(`tsk_${i}`));
    }
    await relay.deliver();
    relay.standIns.http.answers.length = 0;
    const [before] = (await relay.read<{ data: JsonObject[] }>("/v1/sinks")).data;
    expect(before).toMatchObject({ state: "open", backlog: 8 });

    expect((await test(relay, "http")).outcome).toBe("delivered");

    expect((await relay.read<{ data: JsonObject[] }>("/v1/sinks")).data).toEqual([before]);
  });

  it("POST /v1/sinks/{name}/test of an unknown sink is answered 404", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    expect((await relay.post("/v1/sinks/nobody/test")).status).toBe(404);
  });

  it("POST /v1/sinks/{name}/test needs the token", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const response = await relay.app.fetch(new Request("http://relay.test/v1/sinks/http/test", { method: "POST" }));
    expect(response.status).toBe(401);
    expect(relay.standIns.http.requests).toHaveLength(0);
  });
});
