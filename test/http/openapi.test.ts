import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { startHttpSink } from "../support/http-sink.ts";
import { aFolder, anApp, TOKEN, type TestApp } from "../support/app.ts";
import { fixtureBytes } from "../support/fixtures.ts";
import { faultsOf, undocumentedIn, type Schema } from "../support/json-schema.ts";

/** Answers that were asked for here and fit the document, as `GET /v1/runs 200`. */
const exercised = new Set<string>();

type Content = Record<string, { schema: Schema; example?: unknown }>;
interface Operation {
  operationId: string;
  responses: Record<string, { content?: Content }>;
  requestBody?: { content: Content };
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
  webhooks: { run: { post: Operation } };
  components: { schemas: Record<string, Schema> };
}

/** As the relay serves it (test/cli/cli.test.ts). */
let text = "";
let document: Document;
beforeAll(async () => {
  const nothing = { env: {}, stderr: () => {}, stopped: AbortSignal.abort() };
  await runCli(["openapi"], { ...nothing, stdout: (part) => void (text += part) });
  document = JSON.parse(text) as Document;
});

it("@redocly/cli finds no fault in the document", async () => {
  const path = join(aFolder(), "openapi.json");
  writeFileSync(path, text);
  const cli = join(dirname(createRequire(import.meta.url).resolve("@redocly/cli/package.json")), "bin/cli.js");
  const child = spawn(process.execPath, [cli, "lint", path, "--format=json"], {
    // It would tell its makers of each use.
    env: { PATH: process.env["PATH"], REDOCLY_TELEMETRY: "off", REDOCLY_SUPPRESS_UPDATE_NOTICE: "true" },
    stdio: ["ignore", "pipe", "ignore"],
  });
  let stdout = "";
  child.stdout.on("data", (chunk: Buffer) => void (stdout += chunk.toString()));
  const code = await new Promise((resolve) => child.on("close", resolve));
  const { problems, totals } = JSON.parse(stdout) as { problems: { message: string }[]; totals: object };
  expect(problems.map(({ message }) => message)).toEqual([]);
  expect([code, totals]).toEqual([0, { errors: 0, warnings: 0, ignored: 0 }]);
});

it("every operation has an id of its own, and every example in a schema fits it", () => {
  const ids = Object.values(document.paths).flatMap((path) =>
    Object.values(path).map(({ operationId }) => operationId),
  );
  expect(new Set(ids).size).toBe(ids.length);
  const { schemas } = document.components;
  const withExample = Object.entries(schemas).filter(([, schema]) => schema["example"] !== undefined);
  expect(Object.keys(schemas).filter((name) => schemas[name]?.["example"] === undefined)).toEqual([]);
  for (const [name, schema] of withExample) expect(faultsOf(schema["example"], schema, schemas), name).toEqual([]);
});

/** An operation and how it was answered: `GET /v1/runs 200`. */
type Case = string;

const bearer = { authorization: `Bearer ${TOKEN}` };
const V2 = "tsk_v2_565346328529285494";

/**
 * A relay with one run that was told, one that waits, one that is not final, a body that was kept, and a sink that
 * fails.
 */
async function aRelay(): Promise<{ relay: TestApp; receipt: string; kept: string }> {
  const failing = await startHttpSink({});
  onTestFinished(() => failing.close());
  failing.answers.push({ status: 500 });
  const relay = await anApp(
    {},
    {
      standIns: ["http", "slack"],
      file: `sinks: { failing: { kind: http, url: "${failing.url}" } }\ndelivery: { schedule: [1h] }`,
    },
  );
  await relay.webhook(fixtureBytes("task_v2.completed"), { path: "/webhook/billing" });
  await relay.webhook(fixtureBytes("task_v1.failed"));
  await relay.deliver();
  await relay.webhook(fixtureBytes("workflow_run.completed"));
  await relay.webhook('{"run_id":"tsk_running","status":"running"}');
  await relay.webhook('{"odd":true}');
  const { receipts } = await relay.read<{ receipts: { id: string }[] }>(`/v1/runs/${V2}`);
  const { data } = await relay.read<{ data: { id: string }[] }>("/v1/receipts/unrecognized");
  return { relay, receipt: receipts[0]?.id ?? "", kept: data[0]?.id ?? "" };
}

describe("every answer", () => {
  const cases: Record<Case, (given: { receipt: string; kept: string }) => [path: string, body?: unknown]> = {
    "GET /v1/runs 200": () => ["/v1/runs?limit=2"],
    "GET /v1/runs 400": () => ["/v1/runs?limit=0&x=1"],
    "GET /v1/runs/{run_id} 200": () => [`/v1/runs/${V2}`],
    "GET /v1/runs/{run_id} 404": () => ["/v1/runs/tsk_0"],
    "GET /v1/runs/{run_id}/receipts/{id}/raw 200": ({ receipt }) => [`/v1/runs/${V2}/receipts/${receipt}/raw`],
    "GET /v1/runs/{run_id}/receipts/{id}/raw 404": () => [`/v1/runs/${V2}/receipts/rcp_0/raw`],
    "GET /v1/receipts/unrecognized 200": () => ["/v1/receipts/unrecognized"],
    "GET /v1/receipts/unrecognized 400": () => ["/v1/receipts/unrecognized?limit=0"],
    "GET /v1/receipts/{id}/raw 200": ({ kept }) => [`/v1/receipts/${kept}/raw`],
    "GET /v1/receipts/{id}/raw 404": () => ["/v1/receipts/rcp_0/raw"],
    "GET /v1/deliveries 200": () => ["/v1/deliveries"],
    "GET /v1/deliveries 400": () => ["/v1/deliveries?state=lost"],
    "POST /v1/runs/{run_id}/redeliver 202": () => [`/v1/runs/${V2}/redeliver`, { sinks: ["slack"] }],
    "POST /v1/runs/{run_id}/redeliver 400": () => [`/v1/runs/${V2}/redeliver`, { sinks: ["nobody"] }],
    "POST /v1/runs/{run_id}/redeliver 404": () => ["/v1/runs/tsk_0/redeliver"],
    "POST /v1/runs/{run_id}/redeliver 409": () => ["/v1/runs/tsk_running/redeliver"],
    "POST /v1/redeliver 202": () => ["/v1/redeliver", { dry_run: true }],
    "POST /v1/redeliver 400": () => ["/v1/redeliver", { state: "lost" }],
    "GET /v1/runs/{run_id}/artifacts 200": () => [`/v1/runs/${V2}/artifacts`],
    "GET /v1/runs/{run_id}/artifacts 404": () => ["/v1/runs/tsk_0/artifacts"],
    "POST /v1/runs/{run_id}/artifacts/refresh 200": () => [`/v1/runs/${V2}/artifacts/refresh`],
    "POST /v1/runs/{run_id}/artifacts/refresh 404": () => ["/v1/runs/tsk_0/artifacts/refresh"],
    "GET /v1/runs/{run_id}/why 200": () => [`/v1/runs/${V2}/why`],
    "GET /v1/runs/{run_id}/why 404": () => ["/v1/runs/tsk_0/why"],
    "GET /v1/runs.csv 200": () => ["/v1/runs.csv?q=tsk*"],
    "GET /v1/runs.csv 400": () => ["/v1/runs.csv?q=*"],
    "GET /v1/runs.ndjson 200": () => ["/v1/runs.ndjson"],
    "GET /v1/runs.ndjson 400": () => ["/v1/runs.ndjson?limit=1"],
    "GET /v1/sinks 200": () => ["/v1/sinks"],
    "POST /v1/sinks/{name}/resume 200": () => ["/v1/sinks/failing/resume"],
    "POST /v1/sinks/{name}/resume 404": () => ["/v1/sinks/nobody/resume"],
    "POST /v1/sinks/{name}/test 200": () => ["/v1/sinks/slack/test"],
    "POST /v1/sinks/{name}/test 404": () => ["/v1/sinks/nobody/test"],
    "GET /v1/stats 200": () => ["/v1/stats?until=2026-08-23T11:00:00Z"],
    "GET /v1/stats 400": () => ["/v1/stats?bucket=week"],
    "GET /v1/events 200": () => ["/v1/events"],
    "GET /v1/events 400": () => ["/v1/events?last_event_id=1.5"],
  };
  it.each(Object.entries(cases))("the answer %s is as the OpenAPI document says", async (name, make) => {
    const { relay, ...given } = await aRelay();
    const [path, body] = make(given);
    const method = name.split(" ")[0] ?? "";
    const answer = await ask(relay, method, path, `Bearer ${TOKEN}`, body);
    expect(`${method} ${templateOf(name)} ${answer.status}`).toBe(name);
    check(name, answer);
  });

  it.each([
    ["401", "no token", "none"],
    ["403", "no token configured", "Bearer wrong"],
    ["429", "too many wrong ones", "Bearer wrong"],
  ])("the API answers %s to %s, everywhere as the OpenAPI document says", async (status, _what, authorization) => {
    const relay = await anApp(status === "403" ? { RELAY_TOKEN: undefined } : {});
    if (status === "429") for (let i = 0; i < 10; i += 1) await ask(relay, "GET", "/v1/runs", authorization);
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const method of Object.keys(operations)) {
        const name = `${method.toUpperCase()} ${path} ${status}`;
        const answer = await ask(relay, method.toUpperCase(), path.replaceAll(/\{\w+\}/g, "x"), authorization);
        expect(String(answer.status), name).toBe(status);
        check(name, answer);
      }
    }
  });

  it("GET /v1/events answers 503 beyond 32 streams, as the OpenAPI document says", async () => {
    const relay = await anApp();
    const open = () => relay.app.fetch(new Request("http://relay.test/v1/events", { headers: bearer }));
    const readers = [];
    for (let n = 0; n < 32; n += 1) {
      const reader = (await open()).body?.getReader();
      await reader?.read();
      readers.push(reader);
    }
    check("GET /v1/events 503", await ask(relay, "GET", "/v1/events", bearer.authorization));
    for (const reader of readers) await reader?.cancel();
  });

  it("every documented answer was asked for, and every answer is documented", () => {
    const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
      Object.entries(operations).flatMap(([method, { responses }]) =>
        Object.keys(responses).map((status) => `${method.toUpperCase()} ${path} ${status}`),
      ),
    );
    expect([...exercised].toSorted(), "each is asked for in `cases`, above").toEqual(documented.toSorted());
  });

  const templateOf = (name: Case): string => name.split(" ")[1] ?? "";

  /** Of a stream, its beginning. */
  async function ask(relay: TestApp, method: string, path: string, authorization: string, body?: unknown) {
    const response = await relay.app.fetch(
      new Request(`http://relay.test${path}`, {
        method,
        headers: { authorization, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        body: body === undefined ? null : JSON.stringify(body),
      }),
    );
    const type = response.headers.get("content-type")?.split(";")[0] ?? "";
    if (type !== "text/event-stream") return { status: response.status, type, text: await response.text() };
    const reader = response.body?.getReader();
    const { value } = (await reader?.read()) ?? {};
    await reader?.cancel();
    return { status: response.status, type, text: new TextDecoder().decode(value) };
  }

  function check(name: Case, { status, type, text }: { status: number; type: string; text: string }): void {
    const operation = document.paths[templateOf(name)]?.[(name.split(" ")[0] ?? "").toLowerCase()];
    const content = operation?.responses[String(status)]?.content ?? {};
    expect(Object.keys(content), name).toEqual([type]);
    const schema = content[type]?.schema ?? {};
    const value: unknown = type.endsWith("json") && !type.endsWith("ndjson") ? JSON.parse(text) : text;
    const { schemas } = document.components;
    expect(faultsOf(value, schema, schemas), name).toEqual([]);
    expect(undocumentedIn(value, schema, schemas), name).toEqual([]);
    exercised.add(`${name.split(" ").slice(0, 2).join(" ")} ${status}`);
  }
});

it("an HTTP sink receives results and tests as the OpenAPI document says", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  await relay.webhook(fixtureBytes("workflow_run.completed"));
  await relay.deliver();
  await relay.post("/v1/sinks/http/test");
  const { post } = document.webhooks.run;
  const schema = post.requestBody?.content["application/json"]?.schema ?? {};
  expect(relay.standIns.http.requests).toHaveLength(2);
  for (const { body } of relay.standIns.http.requests) {
    const value = JSON.parse(body) as JsonObject;
    expect(faultsOf(value, schema, document.components.schemas)).toEqual([]);
    expect(undocumentedIn(value, schema, document.components.schemas)).toEqual([]);
  }
});
