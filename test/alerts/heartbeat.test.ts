/** Signs of life, to a service on loopback that notes them. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { createHeartbeat } from "../../src/alerts/heartbeat.ts";
import { createEgress } from "../../src/net/egress.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { Secret } from "../../src/platform/secret.ts";
import { createLog } from "../../src/platform/log/stdout-log.ts";
import { aListeningApp } from "../support/app.ts";
import { until } from "../support/until.ts";

async function aMonitor() {
  const calls: string[] = [];
  const monitor = { calls, status: 200, url: "" };
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (piece: Buffer) => (body += piece.toString()));
    request.on("end", () => {
      calls.push(`${request.method} ${request.url} ${body}`.trim());
      response.writeHead(monitor.status).end("OK");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  monitor.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return monitor;
}

async function aHeartbeat(path = "/ping/a-secret-id") {
  const monitor = await aMonitor();
  const egress = createEgress({ allow: [], trusted: [monitor.url] });
  onTestFinished(() => egress.close());
  const lines: string[] = [];
  const state: { fault: string | null } = { fault: null };
  const beat = createHeartbeat({
    url: new Secret(monitor.url + path),
    request: egress.request,
    fault: async () => state.fault,
    now: () => 0,
    log: createLog("info", { write: (line) => void lines.push(line) }),
    metrics: createMetrics(),
  });
  const { signal } = new AbortController();
  return { monitor, state, lines, beat: () => beat(signal) };
}

it("a heartbeat is a GET while all is well, and a POST to /fail with the reason when it is not", async () => {
  const { monitor, state, beat } = await aHeartbeat("/ping/a-secret-id?rid=1");
  await beat();
  state.fault = "the delivery loop has stalled";
  await beat();
  state.fault = null;
  await beat();
  expect(monitor.calls).toEqual([
    "GET /ping/a-secret-id?rid=1",
    "POST /ping/a-secret-id/fail?rid=1 the delivery loop has stalled",
    "GET /ping/a-secret-id?rid=1",
  ]);
});

it("a heartbeat that is refused is logged once, and again once it is accepted; no line has its address, a secret", async () => {
  const { monitor, beat, lines } = await aHeartbeat();
  monitor.status = 404;
  await beat();
  await beat();
  monitor.status = 200;
  await beat();
  const events = lines.map((line) => (JSON.parse(line) as { event: string }).event);
  expect(events).toEqual(["heartbeat.rejected", "heartbeat.accepted"]);
  expect(lines.join("")).not.toContain("a-secret-id");
});

it("the heartbeat of a running relay reaches a private address without ALLOW_PRIVATE_NETWORKS, as the operator named it", async () => {
  const monitor = await aMonitor();
  const relay = await aListeningApp(
    { ALLOW_PRIVATE_NETWORKS: undefined, PING: `${monitor.url}/ping/x` },
    { file: 'heartbeat: { url: "${PING}", every: 10s }' },
  );
  await until("a sign of life", () => monitor.calls.length > 0);
  expect(monitor.calls[0]).toBe("GET /ping/x");
  await relay.app.store.close();
  // The write of the beat answers for a second.
  await until("/readyz fails", async () => (await relay.get("/readyz")).status === 503);
});
