/** The relay's messages of itself, through real sinks. */
import { expect, it } from "vitest";
import { anApp, type TestApp } from "../support/app.ts";
import { aRuntime } from "../support/runtime.ts";

const MINUTE = 60_000;
const send = (relay: TestApp, id: string) => relay.webhook(`{"run_id":"${id}","status":"completed"}`);
const bodies = (relay: TestApp) =>
  relay.standIns.http.requests.map(({ body }) => JSON.parse(body) as { type: string; data: Record<string, unknown> });

it("dead deliveries are reported in Slack, by mail and by HTTP, each marked as the relay's own", async () => {
  const file = "routes: [{ to: [] }]\nalerts: { on_dead: [slack, email, http] }\n";
  const relay = await anApp({}, { standIns: ["slack", "smtp", "http"], file });
  await relay.app.alert();
  // Nothing is routed: only what is sent again goes out.
  await send(relay, "tsk_<1>&co");
  relay.standIns.http.answers.push({ status: 404 });
  await relay.post("/v1/runs/tsk_%3C1%3E%26co/redeliver", { sinks: ["http"] });
  await relay.deliver();
  await relay.app.alert();
  await relay.app.alert();

  const [message, ...more] = relay.standIns.slack.messages();
  expect(more).toEqual([]);
  expect(JSON.stringify(message)).toContain("Relay alert");
  expect(JSON.stringify(message)).toContain("1 delivery is dead (http)");
  expect(JSON.stringify(message)).toContain("This message is about the relay itself");
  expect(JSON.stringify(message)).not.toContain("Run page");

  const [mail] = relay.standIns.smtp.messages;
  expect(relay.standIns.smtp.messages).toHaveLength(1);
  expect(mail?.raw).toMatch(/^X-Skyvern-Relay-Alert: alr_/m);
  expect(mail?.raw).not.toMatch(/^X-Skyvern-Run-Id/m);

  const history = bodies(relay).filter(({ type }) => type === "relay.alert");
  expect(history).toHaveLength(1);
  expect(history[0]?.data).toMatchObject({
    reason: "deliveries_dead",
    count: 1,
    sinks: ["http"],
    run_ids: ["tsk_<1>&co"],
    url: "https://relay.example.com/deliveries?state=dead",
  });
  expect(relay.standIns.http.requests.at(-1)?.headers["webhook-id"]).toBe(history[0]?.data["id"]);
  // What is documented is what is sent.
  const { components, webhooks } = await relay.read<{
    components: { schemas: Record<string, { properties: { data: { properties: object } } }> };
    webhooks: object;
  }>("/openapi.json");
  expect(Object.keys(webhooks)).toEqual(["run", "alert"]);
  expect(Object.keys(components.schemas["RelayAlert"]?.properties.data.properties ?? {}).toSorted()).toEqual(
    Object.keys(history[0]?.data ?? {}).toSorted(),
  );
  expect((await relay.get("/metrics")).text).toContain(
    'skyvern_relay_alerts_total{reason="deliveries_dead",outcome="delivered"} 3',
  );
});

it("a sink that fails for long is reported to another sink, also when it has recovered, and never to itself", async () => {
  const runtime = aRuntime();
  const file = "routes: [{ to: http }]\nalerts: { on_sink_down: [http, slack] }\n";
  const relay = await anApp({}, { runtime, standIns: ["slack", "http"], file });
  for (let n = 0; n < 5; n++) {
    relay.standIns.http.answers.push({ status: 500 });
    await send(relay, `tsk_${n}`);
  }
  await relay.deliver();
  await relay.app.alert();
  runtime.advance(10 * MINUTE);
  await relay.app.alert();
  expect(relay.standIns.slack.messages()).toEqual([]);
  runtime.advance(6 * MINUTE);
  await relay.app.alert();
  await relay.app.alert();
  const said = () => relay.standIns.slack.messages().map((message) => JSON.stringify(message));
  expect(said()).toHaveLength(1);
  expect(said()[0]).toContain("http is failing");
  expect(said()[0]).toContain("5 deliveries are pending");
  await relay.deliver();
  await relay.app.alert();
  expect(said()).toHaveLength(2);
  expect(said()[1]).toContain("http has recovered");
  expect(bodies(relay).filter(({ type }) => type === "relay.alert")).toEqual([]);
});

it("an alert that no sink took makes no delivery, opens no circuit, is logged, and goes out later, once", async () => {
  const runtime = aRuntime();
  const relay = await anApp({}, { runtime, standIns: ["http"], file: "alerts: { on_dead: http }" });
  await relay.app.alert();
  relay.standIns.http.answers.push({ status: 404 }, { status: 500 });
  await send(relay, "tsk_1");
  await relay.deliver();
  await relay.app.alert();
  await relay.app.alert();
  expect(relay.standIns.http.requests).toHaveLength(2);
  expect(relay.log()).toContain('"event":"alert.not_sent"');
  expect((await relay.app.store.deliveries({}, { limit: 10 })).map(({ state }) => state)).toEqual(["dead"]);
  expect((await relay.app.store.circuits()).get("http")?.failures ?? 0).toBe(0);
  for (let minute = 0; minute < 30; minute++) {
    runtime.advance(MINUTE);
    await relay.app.alert();
  }
  expect(bodies(relay).filter(({ type }) => type === "relay.alert")).toHaveLength(2);
  expect(relay.standIns.http.requests).toHaveLength(3);
});

it("a relay without `alerts` in relay.yaml sends no alert to any sink", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  await relay.app.alert();
  relay.standIns.http.answers.push({ status: 404 });
  await send(relay, "tsk_1");
  await relay.deliver();
  await relay.app.alert();
  expect(relay.standIns.http.requests).toHaveLength(1);
});
