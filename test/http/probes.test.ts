import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createReadiness } from "../../src/http/probes.ts";
import { silentLog } from "../../src/platform/log.ts";
import { createHistory, type HistoryDeps } from "../../src/http/api/history.ts";
import { aListeningApp, anApp, TOKEN } from "../support/app.ts";
import { fixtureBytes } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";

const BODY = '{"run_id":"tsk_1","status":"completed"}';

describe("health", () => {
  it.each(["/healthz", "/readyz", "/healthz/"])(
    "%s is 200 without a token, with and without RELAY_TOKEN",
    async (path) => {
      for (const RELAY_TOKEN of [TOKEN, undefined]) {
        const relay = await anApp({ RELAY_TOKEN });
        const answer = await relay.get(path, { authorization: "" });
        expect([answer.status, answer.json()]).toEqual([200, { status: "ok" }]);
      }
    },
  );

  it("/readyz is 503 once a stop was asked for, and /healthz still 200", async () => {
    const relay = await anApp();
    const stopping = relay.stop();
    expect((await relay.get("/readyz")).status).toBe(503);
    expect((await relay.get("/healthz")).status).toBe(200);
    await stopping;
  });
});

it("/readyz tries one write for all who ask at one time or within a second", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const relay = await anApp();
  const ping = vi.spyOn(relay.app.store, "ping");
  const answers = await Promise.all(Array.from({ length: 50 }, () => relay.get("/readyz")));
  vi.advanceTimersByTime(999);
  answers.push(await relay.get("/readyz"));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
  expect(ping).toHaveBeenCalledTimes(1);
});

it("/readyz tries again after a second, and at once after a failure", async () => {
  vi.useFakeTimers({ toFake: ["performance"] });
  onTestFinished(() => void vi.useRealTimers());
  const relay = await anApp();
  const full = new Error("the disk is full");
  const ping = vi.spyOn(relay.app.store, "ping").mockRejectedValueOnce(full);
  expect((await relay.get("/readyz")).status).toBe(503);
  expect((await relay.get("/readyz")).status).toBe(200);
  ping.mockRejectedValueOnce(full);
  vi.advanceTimersByTime(999);
  expect((await relay.get("/readyz")).status).toBe(200);
  vi.advanceTimersByTime(1);
  expect((await relay.get("/readyz")).status).toBe(503);
});

describe("metrics", () => {
  it("the metrics show what is pending, for how long, and what is dead", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime, standIns: ["http"], file: "delivery: { schedule: [1h] }" });
    relay.standIns.http.answers.push({ status: 500 }, { status: 404 });
    await relay.webhook(fixtureBytes("task_v2.completed"));
    await relay.webhook(BODY);
    await relay.deliver();
    runtime.advance(5_000);

    const { text, headers } = await relay.get("/metrics");

    expect(headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain('skyvern_relay_backlog{sink="http"} 1');
    expect(text).toContain('skyvern_relay_dead_deliveries{sink="http"} 1');
    expect(
      Number(/skyvern_relay_oldest_undelivered_seconds\{sink="http"\} (\S+)/.exec(text)?.[1]),
    ).toBeGreaterThanOrEqual(5);
    expect(text).toContain('skyvern_relay_attempts_total{sink="http",outcome="retry"} 1');
    expect(text).toContain('skyvern_relay_attempts_total{sink="http",outcome="dead"} 1');
  });

  it("the metrics show nothing pending once everything was delivered", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    await relay.webhook(BODY);
    expect((await relay.get("/metrics")).text).toContain('skyvern_relay_backlog{sink="http"} 1');
    await relay.deliver();
    expect((await relay.get("/metrics")).text).not.toMatch(/skyvern_relay_backlog\{sink="http"\} [1-9]/);
  });

  it("the metrics have no run id, run type or title in a label", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    await relay.webhook(fixtureBytes("workflow_run.completed"), { path: "/webhook/billing" });
    await relay.deliver();
    const { text } = await relay.get("/metrics");
    for (const word of ["wr_565255494265942522", "workflow_run", "Invoice Downloader", "billing"]) {
      expect(text).not.toContain(word);
    }
  });

  it("the metrics are served without a token on METRICS_PORT, and nothing else is", async () => {
    const relay = await aListeningApp({ METRICS_PORT: "0" }).catch((error: unknown) => error as Error);
    if (relay instanceof Error) throw relay;
    const started = /"metrics_port":(\d+)/.exec(relay.log())?.[1];

    const metrics = await fetch(`http://127.0.0.1:${started}/metrics`);

    expect(metrics.status).toBe(200);
    expect(await metrics.text()).toContain("skyvern_relay_webhooks_total");
    for (const path of ["/v1/runs", "/", "/webhook", "/openapi.json"]) {
      expect((await fetch(`http://127.0.0.1:${started}${path}`)).status).toBe(404);
    }
    expect((await fetch(`${relay.url}/metrics`)).status).toBe(401);
  });
});

describe("/openapi.json", () => {
  interface Document {
    openapi: string;
    paths: Record<
      string,
      Record<string, { security?: unknown; responses: Record<string, unknown>; parameters?: { name: string }[] }>
    >;
    webhooks: Record<string, unknown>;
    components: {
      schemas: Record<string, { properties?: Record<string, unknown> }>;
      securitySchemes: Record<string, unknown>;
    };
  }

  it("/openapi.json is OpenAPI 3.1 and needs no token", async () => {
    const relay = await anApp({ RELAY_TOKEN: undefined });
    const answer = await relay.get("/openapi.json");
    expect(answer.status).toBe(200);
    expect(answer.json<Document>()).toMatchObject({
      openapi: "3.1.0",
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer" } } },
    });
  });

  it("/openapi.json has every route of the history API, each with its refusals", async () => {
    const relay = await anApp();
    const { paths } = await relay.read<Document>("/openapi.json");
    for (const [method, path] of [
      ["get", "/v1/runs"],
      ["get", "/v1/runs/{run_id}"],
      ["get", "/v1/runs/{run_id}/receipts/{id}/raw"],
      ["get", "/v1/receipts/unrecognized"],
      ["get", "/v1/deliveries"],
      ["post", "/v1/runs/{run_id}/redeliver"],
    ] as const) {
      const operation = paths[path]?.[method];
      expect(operation, `${method} ${path}`).toMatchObject({ security: [{ bearer: [] }] });
      expect(Object.keys(operation?.responses ?? {})).toEqual(expect.arrayContaining(["401", "403"]));
    }
  });

  it("/openapi.json documents exactly the routes below /v1 that answer", async () => {
    const relay = await anApp();
    const { paths } = await relay.read<Document>("/openapi.json");
    for (const [path, methods] of Object.entries(paths)) {
      // It answers for as long as somebody listens.
      if (path === "/v1/events") continue;
      for (const method of Object.keys(methods)) {
        const address = path.replaceAll(/\{\w+\}/g, "nothing");
        const response = await relay.app.fetch(
          new Request(`http://relay.test${address}`, {
            method,
            headers: { authorization: `Bearer ${TOKEN}` },
            body: method === "get" ? null : "{}",
          }),
        );
        // A stream does not end: its beginning is enough.
        const reader = response.body?.getReader();
        const { value } = (await reader?.read()) ?? {};
        await reader?.cancel();
        const text = new TextDecoder().decode(value);
        expect(text, `${method} ${path}`).not.toContain("The relay has no such address");
      }
    }
    const documented = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ":$1")}`),
    );
    // Mounted on nothing: what its routes would use is not asked for.
    const { routes } = createHistory({} as HistoryDeps);
    const answering = routes.filter(({ method }) => method !== "ALL").map(({ method, path }) => `${method} /v1${path}`);
    expect([...new Set(answering)].toSorted()).toEqual(documented.filter((name) => name.includes("/v1/")).toSorted());
  });

  it("/openapi.json lists the parameters by their names in the interface", async () => {
    const relay = await anApp();
    const { paths } = await relay.read<Document>("/openapi.json");
    const names = (path: string) => paths[path]?.["get"]?.parameters?.map(({ name }) => name);
    expect(names("/v1/runs")).toEqual(
      expect.arrayContaining([
        "status",
        "run_type",
        "workflow",
        "organization_id",
        "channel",
        "source",
        "sink",
        "delivery",
        "since",
        "until",
        "q",
        "limit",
        "cursor",
      ]),
    );
    expect(names("/v1/deliveries")).toEqual(
      expect.arrayContaining(["state", "sink", "run_id", "since", "until", "limit", "cursor"]),
    );
  });

  it("/openapi.json has what an HTTP sink receives as a webhook, with the run's schema", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    const { webhooks, components } = await relay.read<Document>("/openapi.json");
    expect(Object.keys(webhooks)).toEqual(["run", "alert"]);
    await relay.webhook(fixtureBytes("workflow_run.completed"));
    await relay.deliver();
    const { data } = JSON.parse(relay.standIns.http.requests[0]?.body ?? "{}") as { data: Record<string, unknown> };
    expect(Object.keys(data).toSorted()).toEqual(Object.keys(components.schemas["Run"]?.properties ?? {}).toSorted());
  });

  it("/openapi.json is the same each time it is asked for", async () => {
    const relay = await anApp();
    const first = (await relay.get("/openapi.json")).text;
    for (let n = 0; n < 5; n++) expect((await relay.get("/openapi.json")).text).toBe(first);
  });
});

it("a sink that had no delivery yet has its metrics, as 0", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const { text } = await relay.get("/metrics");
  for (const name of [
    'skyvern_relay_backlog{sink="http"}',
    'skyvern_relay_dead_deliveries{sink="http"}',
    'skyvern_relay_oldest_undelivered_seconds{sink="http"}',
    'skyvern_relay_attempts_total{sink="http",outcome="delivered"}',
    'skyvern_relay_attempts_total{sink="http",outcome="dead"}',
    'skyvern_relay_delivery_seconds_count{sink="http"}',
  ])
    expect(text).toContain(`${name} 0\n`);
});

it("any other address is answered 404", async () => {
  const relay = await anApp();
  for (const path of ["/admin", "/.env", "/v2/runs", "/webhooks", "/webhook/a/b"]) {
    const answer = await relay.get(path);
    expect(answer.status).toBe(404);
  }
});

it("a relay whose delivery loop has stalled, or that stops, is not ready, and tries no write to find out", async () => {
  const store = { ping: () => Promise.reject(new Error("nobody asks")) };
  const readiness = (isStalled: boolean, isStopping: boolean) =>
    createReadiness({
      store,
      now: () => 0,
      damage: () => null,
      isStalled: () => isStalled,
      isStopping: () => isStopping,
      log: silentLog,
    })();
  expect(await readiness(true, false)).toBe("the delivery loop has stalled");
  expect(await readiness(false, true)).toBe("stopping");
});
