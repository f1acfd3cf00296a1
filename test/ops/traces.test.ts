/** Traces, to a collector on loopback that takes what OTLP's JSON may be, and nothing else. */
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { z } from "zod";
import { attemptSpanOf, traceIdOf } from "../../src/telemetry/trace.ts";
import { aListeningApp, anApp, TOKEN } from "../support/app.ts";
import { systemRuntime } from "../../src/platform/runtime.ts";
import { until } from "../support/until.ts";

const attribute = z.strictObject({
  key: z.string().min(1),
  value: z.union([
    z.strictObject({ stringValue: z.string() }),
    z.strictObject({ boolValue: z.boolean() }),
    z.strictObject({ intValue: z.string().regex(/^-?\d+$/) }),
    z.strictObject({ doubleValue: z.number() }),
  ]),
});
const traceId = z.string().regex(/^(?!0{32})[0-9a-f]{32}$/);
const spanId = z.string().regex(/^(?!0{16})[0-9a-f]{16}$/);
/** https://github.com/open-telemetry/opentelemetry-proto/blob/main/opentelemetry/proto/trace/v1/trace.proto as JSON. */
const Span = z
  .strictObject({
    traceId,
    spanId,
    parentSpanId: spanId.optional(),
    name: z.string().min(1),
    kind: z.int().min(1).max(5),
    startTimeUnixNano: z.string().regex(/^\d{19}$/),
    endTimeUnixNano: z.string().regex(/^\d{19}$/),
    attributes: z.array(attribute),
    links: z.array(z.strictObject({ traceId, spanId, attributes: z.array(attribute) })).optional(),
    status: z.strictObject({ code: z.literal(2), message: z.string() }).or(z.strictObject({})),
  })
  .refine((span) => BigInt(span.endTimeUnixNano) >= BigInt(span.startTimeUnixNano));
const Request = z.strictObject({
  resourceSpans: z.array(
    z.strictObject({
      resource: z.strictObject({ attributes: z.array(attribute) }),
      scopeSpans: z.array(
        z.strictObject({ scope: z.strictObject({ name: z.string(), version: z.string() }), spans: z.array(Span) }),
      ),
    }),
  ),
});

async function aCollector() {
  const spans: z.infer<typeof Span>[] = [];
  const requests: { url: string | undefined; headers: IncomingHttpHeaders }[] = [];
  const collector = { spans, requests, faults: [] as string[], status: 200, url: "" };
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      requests.push({ url: request.url, headers: request.headers });
      const result = Request.safeParse(JSON.parse(Buffer.concat(chunks).toString()));
      if (!result.success) collector.faults.push(z.prettifyError(result.error));
      else spans.push(...result.data.resourceSpans.flatMap((one) => one.scopeSpans.flatMap((scope) => scope.spans)));
      response.writeHead(collector.status, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  collector.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return collector;
}

const BODY = '{"run_id":"tsk_1","status":"completed"}';

it("each receipt and attempt is a span of the run's trace, and HTTP sinks get it as traceparent", async () => {
  const collector = await aCollector();
  const relay = await anApp(
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_HEADERS: "x-key=a%20secret" },
    { standIns: ["http"], runtime: systemRuntime(), file: "delivery: { schedule: [0s] }" },
  );
  relay.standIns.http.answers.push({ status: 500 });
  await relay.webhook(BODY);
  await relay.webhook(BODY);
  await until("it is delivered", async () => {
    await relay.deliver();
    return relay.standIns.http.requests.length === 2;
  });
  const log = relay.log();
  await relay.stop();

  expect(collector.faults).toEqual([]);
  expect(collector.requests[0]?.url).toBe("/v1/traces");
  expect(collector.requests[0]?.headers["x-key"]).toBe("a secret");
  const { spans } = collector;
  expect([...new Set(spans.map((span) => span.traceId))]).toEqual([traceIdOf("tsk_1")]);
  expect(new Set(spans.map((span) => span.spanId)).size).toBe(spans.length);
  const [received, again, first, second] = [
    ...spans.filter(({ name }) => name === "webhook.received"),
    ...spans.filter(({ name }) => name === "delivery.attempted"),
  ];
  expect(spans).toHaveLength(4);
  expect([received?.parentSpanId, again?.parentSpanId]).toEqual([undefined, undefined]);
  expect([first?.parentSpanId, second?.parentSpanId]).toEqual([received?.spanId, received?.spanId]);
  expect(second?.links?.map((link) => link.spanId)).toEqual([first?.spanId]);
  expect(first?.status).toMatchObject({ code: 2 });
  expect(second?.status).toEqual({});

  const [, sent] = relay.standIns.http.requests;
  const id = String(sent?.headers["webhook-id"]);
  expect(second?.spanId).toBe(attemptSpanOf(id, 2));
  expect(sent?.headers["traceparent"]).toBe(`00-${traceIdOf("tsk_1")}-${second?.spanId}-01`);
  expect(log).not.toContain("a secret");
});

it("the log lines of a run have all its ids, the trace's as well, with a collector or without", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  await relay.webhook(BODY);
  await relay.deliver();
  const lines = relay
    .log()
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  const line = (event: string) => lines.find((one) => one["event"] === event);
  const ids = { run_id: "tsk_1", trace_id: traceIdOf("tsk_1") };
  const text = expect.any(String) as string;
  expect(line("webhook.received")).toMatchObject({ ...ids, receipt_id: text, key: text, verdict: "accepted" });
  expect(line("delivery.attempted")).toMatchObject({
    ...ids,
    delivery_id: text,
    sink: "http",
    attempt: 1,
    revision: 1,
  });
  // Nobody records anything: a receiver is told nothing of the kind.
  expect(relay.standIns.http.requests[0]?.headers["traceparent"]).toBeUndefined();
});

it("a collector that is down holds up nothing; spans are dropped and counted, and the log says so once", async () => {
  const collector = await aCollector();
  collector.status = 503;
  const relay = await aListeningApp(
    // In a private network, which only its operator's word opens.
    { OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, ALLOW_PRIVATE_NETWORKS: undefined },
  );
  for (let n = 0; n < 3; n++) await relay.webhook(`{"run_id":"tsk_${n}","status":"completed"}`);
  await until("the collector was tried", () => collector.requests.length > 0);
  await until("it is counted", async () => {
    const headers = { authorization: `Bearer ${TOKEN}` };
    return /spans_dropped_total [1-9]/.test(await (await fetch(`${relay.url}/metrics`, { headers })).text());
  });
  await relay.stop();
  expect(relay.log().match(/traces\.rejected/g)).toHaveLength(1);
});
