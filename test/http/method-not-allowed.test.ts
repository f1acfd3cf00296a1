import { expect, it } from "vitest";
import { anApp, TOKEN, type TestApp } from "../support/app.ts";
import { fixtureBytes } from "../support/fixtures.ts";

const ask = (relay: TestApp, method: string, path: string, authorization = `Bearer ${TOKEN}`) =>
  relay.app.fetch(
    new Request(`http://relay.test${path}`, {
      method,
      headers: { authorization },
      body: ["GET", "HEAD"].includes(method) ? null : "not=json",
    }),
  );

it.each([
  ["/v1/runs", "GET, HEAD"],
  ["/v1/runs/", "GET, HEAD"],
  ["/v1/runs/tsk_1", "GET, HEAD"],
  ["/v1/runs/tsk_1/why", "GET, HEAD"],
  ["/v1/runs/tsk_1/receipts/rcp_1/raw", "GET, HEAD"],
  ["/v1/runs.csv", "GET, HEAD"],
  ["/v1/deliveries", "GET, HEAD"],
  ["/v1/events", "GET, HEAD"],
  ["/v1/stats", "GET, HEAD"],
  ["/v1/sinks", "GET, HEAD"],
  ["/v1/runs/tsk_1/redeliver", "POST"],
  ["/v1/redeliver", "POST"],
  ["/v1/sinks/http/test", "POST"],
  ["/openapi.json", "GET, HEAD"],
  ["/metrics", "GET, HEAD"],
  ["/healthz", "GET, HEAD"],
  ["/", "POST, GET, HEAD"],
  ["/webhook/billing", "POST"],
  ["/login", "GET, HEAD, POST"],
  ["/sinks", "GET, HEAD"],
  ["/runs/tsk_1", "GET, HEAD"],
  ["/runs/tsk_1/redeliver", "POST"],
  ["/artifacts/tsk_1/a_1", "GET, HEAD"],
])("%s answers any other method 405, and says in allow what there is", async (path, allow) => {
  const relay = await anApp();
  for (const method of ["PUT", "DELETE", "PATCH", "OPTIONS", "GET", "POST"]) {
    if (allow.split(", ").includes(method)) continue;
    const answer = await ask(relay, method, path);
    expect([answer.status, answer.headers.get("allow")], method).toEqual([405, allow]);
    expect(answer.headers.get("content-type")).toBe("application/problem+json");
    expect(await answer.json()).toMatchObject({ status: 405, title: "Method Not Allowed" });
  }
});

it("a client without a token learns of no method", async () => {
  const relay = await anApp();
  expect((await ask(relay, "PUT", "/v1/runs", "")).status).toBe(401);
});

it("an unknown address is answered 404, whatever the method", async () => {
  const relay = await anApp();
  for (const path of ["/v1/nothing", "/nothing", "/runs/tsk_1/nothing"])
    for (const method of ["GET", "POST", "DELETE"])
      expect((await ask(relay, method, path)).status, `${method} ${path}`).toBe(404);
});

it("a client without a token learns of no run: each has the same methods, stored or not", async () => {
  const relay = await anApp();
  await relay.webhook(fixtureBytes("task_v1.completed"));
  const { data } = await relay.read<{ data: { run_id: string }[] }>("/v1/runs");
  const answers = ["tsk_0", data[0]?.run_id].map(async (id) => (await ask(relay, "PUT", `/runs/${id}`, "")).text());
  expect(new Set(await Promise.all(answers)).size).toBe(1);
});

it.each(["/v1/runs", "/v1/runs.csv", "/v1/stats", "/v1/events", "/openapi.json", "/metrics", "/healthz"])(
  "HEAD %s has the headers of GET and no body",
  async (path) => {
    const relay = await anApp();
    const head = await ask(relay, "HEAD", path);
    expect([head.status, await head.text()]).toEqual([200, ""]);
    const get = await ask(relay, "GET", path);
    expect(head.headers.get("content-type")).toBe(get.headers.get("content-type"));
    await get.body?.cancel();
  },
);
