import { describe, expect, it } from "vitest";
import { anApp } from "../support/app.ts";
import { FIXTURE_KEY, fixtureBytes, signatureOf } from "../support/fixtures.ts";

const BODY = '{"run_id":"tsk_1","status":"completed"}';
const run = async (relay: Awaited<ReturnType<typeof anApp>>) => relay.read("/v1/runs/tsk_1");

describe("the address of the webhook", () => {
  it.each([
    ["/webhook", null],
    ["/webhook/", null],
    ["/", null],
    ["/webhook/billing", "billing"],
    ["/webhook/billing/", "billing"],
    ["/webhook/A_b-9", "A_b-9"],
    [`/webhook/${"x".repeat(64)}`, "x".repeat(64)],
    ["/webhook?token=abc&x=1", null],
    ["/webhook/billing?x=1", "billing"],
  ])("the webhook address %s is taken with the label %s, and redirects nowhere", async (path, channel) => {
    const relay = await anApp();

    const answer = await relay.webhook(BODY, { path });

    expect([answer.status, answer.json()]).toEqual([200, { run_id: "tsk_1", result: "accepted" }]);
    expect(await run(relay)).toMatchObject({ channel, receipts: [{ channel }] });
  });

  it.each([`/webhook/${"x".repeat(65)}`, "/webhook/a.b", "/webhook/a%20b", "/webhook/%C3%BC", "/webhook/a%2Fb"])(
    "the webhook address %s has no valid label and is answered 400 with a reason, and nothing is stored",
    async (path) => {
      const relay = await anApp();
      const answer = await relay.webhook(BODY, { path });
      expect(answer.status).toBe(400);
      expect(answer.json()["error"]).toMatch(/channel/);
      expect(await relay.read("/v1/runs")).toMatchObject({ data: [] });
    },
  );

  it.each(["GET", "PUT", "DELETE", "PATCH"])(
    "the webhook address answers %s with 405, which names POST",
    async (method) => {
      const relay = await anApp();
      const response = await relay.app.fetch(new Request("http://relay.test/webhook/billing", { method }));
      expect([response.status, response.headers.get("allow")]).toEqual([405, "POST"]);
    },
  );

  it("a run keeps its first label when the same webhook comes by another address", async () => {
    const relay = await anApp();
    await relay.webhook(BODY, { path: "/webhook/billing" });
    expect((await relay.webhook(BODY, { path: "/webhook/legal" })).json()["result"]).toBe("duplicate");
    expect(await run(relay)).toMatchObject({ channel: "billing" });
  });
});

describe("answers", () => {
  it.each([
    ["accepted", BODY, FIXTURE_KEY],
    ["unrecognized", "{}", FIXTURE_KEY],
    ["refused", BODY, "another key"],
    ["a one-time-code request", '{"task_id":"tsk_1"}', FIXTURE_KEY],
    ["too large", `"${"x".repeat(2000)}"`, FIXTURE_KEY],
  ])("the webhook's answers are short JSON without a secret: %s", async (_what, body, key) => {
    const relay = await anApp({}, { file: "receive: { body_limit: 1KB }" });
    const answer = await relay.webhook(body, { key });
    expect(answer.headers.get("content-type")).toBe("application/json");
    expect(() => answer.json()).not.toThrow();
    expect(answer.text.length).toBeLessThan(160);
    expect(answer.text).not.toContain(FIXTURE_KEY);
    expect(answer.text).not.toContain(signatureOf(body, key));
    expect(answer.status).not.toBe(403);
  });

  it("the webhook's answers count in the metrics by what they were", async () => {
    const relay = await anApp();
    await relay.webhook(BODY);
    await relay.webhook(BODY);
    await relay.webhook("{}");
    await relay.webhook(BODY, { signature: null });
    await relay.webhook(BODY, { key: "another key" });
    await relay.webhook(fixtureBytes("not-a-run.totp-request"));

    const { text } = await relay.get("/metrics");

    for (const [result, count] of Object.entries({
      accepted: 1,
      duplicate: 1,
      unrecognized: 1,
      missing_signature: 1,
      wrong_signature: 1,
      totp: 1,
    })) {
      expect(text).toContain(`skyvern_relay_webhooks_total{result="${result}"} ${count}`);
    }
  });

  it("the webhook answers 503 with a short Retry-After after a stop was asked for", async () => {
    const relay = await anApp();
    const stopping = relay.stop();

    const answer = await relay.webhook(BODY);

    expect(answer.status).toBe(503);
    expect(Number(answer.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(Number(answer.headers.get("retry-after"))).toBeLessThanOrEqual(30);
    await stopping;
  });
});

it("each run is logged once, with its ids and without its body", async () => {
  const relay = await anApp();
  await relay.webhook('{"run_id":"tsk_1","status":"completed","prompt":"do not log me"}', { path: "/webhook/billing" });

  const lines = relay
    .log()
    .split("\n")
    .filter((line) => line.includes("webhook.received"));

  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
    {
      level: "info",
      event: "webhook.received",
      run_id: "tsk_1",
      verdict: "accepted",
      status: "completed",
      channel: "billing",
      key: "SKYVERN_API_KEY[1]",
    },
  ]);
  expect(relay.log()).not.toContain("do not log me");
});

const FAILURES_ONLY =
  "sinks: { crm: { kind: http, url: https://crm.example/ } }\nroutes: [{ when: { status: failed }, to: [crm] }]";

it.each([
  ["no route matched", FAILURES_ONLY, ["completed"]],
  ["no sink is configured", "", ["completed"]],
  ["it says nothing new", FAILURES_ONLY, ["failed", "failed"]],
  ["the status is not final", FAILURES_ONLY, ["running"]],
])("a webhook that causes no delivery is logged with the reason: %s", async (reason, file, statuses) => {
  const relay = await anApp({}, { file });
  for (const status of statuses) await relay.webhook(JSON.stringify({ run_id: "tsk_1", status }));
  const lines = relay.log().split("\n");
  const line = lines.find((one) => one.includes('"deliveries":0'));
  expect(JSON.parse(line ?? "null")).toMatchObject({ event: "webhook.received", no_delivery: reason });
});

it("an address that sends webhooks without a right signature gets 429 and no more log lines, and its genuine ones get in", async () => {
  const relay = await anApp();
  const statuses = [];
  for (let i = 0; i < 320; i += 1) statuses.push((await relay.webhook(BODY, { signature: "0".repeat(64) })).status);
  expect(statuses).toEqual([...Array<number>(299).fill(401), ...Array<number>(21).fill(429)]);
  expect(relay.log().split('"event":"webhook.refused"')).toHaveLength(300);
  expect((await relay.webhook(BODY)).json()).toMatchObject({ result: "accepted" });
});

it("a webhook over the size limit is logged, at most 299 times in a row from one address", async () => {
  const relay = await anApp({}, { file: "receive: { body_limit: 1KB }" });
  const large = `{"run_id":"tsk_1","status":"completed","summary":"${"x".repeat(1000)}"}`;
  for (let i = 0; i < 310; i += 1) expect((await relay.webhook(large)).status).toBe(413);
  const lines = relay
    .log()
    .split("\n")
    .filter((line) => line.includes('"event":"webhook.refused"'));
  expect(lines).toHaveLength(299);
  expect(JSON.parse(lines[0] ?? "null")).toMatchObject({ level: "warn", reason: "too_large", channel: null });
});
