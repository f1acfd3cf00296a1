/** `/v1/sinks`: the state of each sink, test messages, and resuming. */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import { isoTime } from "../../platform/time.ts";
import type { Delivery, Outcome } from "../../domain/run.ts";
import { listSinkHealth, type SinkHealthDeps } from "../../history/sink-health.ts";
import { deliveryJson, DeliverySchema, problemAnswer, jsonAnswer, guarded, time } from "./schemas.ts";
import { SINK, TEST } from "./examples.ts";
import { problem } from "../problem.ts";

export interface SinksDeps extends SinkHealthDeps {
  /** Resumes a sink. */
  resume(sink: string): Promise<void>;
  /** Makes one immediate attempt of a marked test result, outside the outbox. */
  sendTest(sink: string): Promise<{ delivery: Delivery; outcome: Outcome; ms: number }>;
}

const SinkStateSchema = z
  .object({
    name: z.string(),
    kind: z.string(),
    state: z
      .enum(["closed", "open", "stopped"])
      .openapi({ description: "The circuit: `open` after failures in a row, `stopped` by HTTP 410." }),
    failures: z.int().openapi({ description: "Failures in a row." }),
    retry_at: time.nullable().openapi({ description: "When an open circuit is probed." }),
    reason: z.string().nullable(),
    backlog: z.int().openapi({ description: "Pending and sending deliveries." }),
    oldest_undelivered_at: time.nullable(),
    dead: z.int(),
    last_success_at: time.nullable(),
    last_failure_at: time.nullable(),
  })
  .openapi("SinkState", { example: SINK });
type SinkState = z.output<typeof SinkStateSchema>;

const SinkParams = z.object({ name: z.string() });
const noSink = { 404: problemAnswer("No such sink.") };

const listSinks = guarded({
  operationId: "listSinks",
  method: "get",
  path: "/sinks",
  summary: "List sinks and their health",
  responses: {
    200: jsonAnswer(z.object({ data: z.array(SinkStateSchema) }), "In the order of the configuration."),
  },
});

const resumeSink = guarded({
  operationId: "resumeSink",
  method: "post",
  path: "/sinks/{name}/resume",
  summary: "Resume a sink that is stopped or whose circuit is open",
  request: { params: SinkParams },
  responses: { 200: jsonAnswer(SinkStateSchema, "The sink."), ...noSink },
});

const TestSchema = z
  .object({
    outcome: z
      .enum(["delivered", "retry", "dead"])
      .openapi({ description: "`retry`: a real message would be tried again; this one is not." }),
    reason: z.string().nullable().openapi({ description: "Why it was not delivered." }),
    ms: z.int().openapi({ description: "How long the attempt took." }),
    delivery: DeliverySchema,
  })
  .openapi("TestResult", { example: TEST });

const testSink = guarded({
  operationId: "testSink",
  method: "post",
  path: "/sinks/{name}/test",
  summary: "Send a marked test result through one sink, now",
  description:
    "One attempt, made at once: it waits behind nothing, is not tried again, and leaves the circuit as it is. " +
    "It belongs to no " +
    ("run: its `run_id` is `test_…`, its status `test`, an HTTP sink gets `run.test`. It is listed under " +
      "`/v1/deliveries` with ") +
    "cause `test`, as `delivered` or, when it failed, as `canceled`, since it is not retried.",
  request: { params: SinkParams },
  responses: { 200: jsonAnswer(TestSchema, "The outcome of the attempt, failed or not."), ...noSink },
});

export function mountSinks(app: OpenAPIHono, deps: SinksDeps): void {
  const isSink = (name: string): boolean => deps.sinks.some((sink) => sink.name === name);

  app.openapi(listSinks, async (c) => c.json({ data: await sinkStates(deps) }, 200));

  app.openapi(resumeSink, async (c) => {
    const { name } = c.req.valid("param");
    if (!isSink(name)) return problem(c, 404, "There is no such sink.");
    await deps.resume(name);
    const states = await sinkStates(deps);
    return c.json(states.find((state) => state.name === name) as SinkState, 200);
  });

  app.openapi(testSink, async (c) => {
    const { name } = c.req.valid("param");
    if (!isSink(name)) return problem(c, 404, "There is no such sink.");
    const { delivery, outcome, ms } = await deps.sendTest(name);
    const reason = outcome.kind === "delivered" ? null : outcome.reason;
    return c.json({ outcome: outcome.kind, reason, ms, delivery: deliveryJson(delivery) }, 200);
  });
}

async function sinkStates(deps: SinksDeps): Promise<SinkState[]> {
  const all = await listSinkHealth(deps);
  return all.flatMap(({ name, kind, circuit, backlog, counts }) => {
    if (kind === null) return [];
    const { state, failures, until, reason, last_success_at, last_failure_at } = circuit;
    return {
      name,
      kind,
      state,
      failures,
      retry_at: isoTime(until),
      reason,
      backlog: backlog?.size ?? 0,
      oldest_undelivered_at: isoTime(backlog?.oldest ?? null),
      dead: counts["dead"] ?? 0,
      last_success_at: isoTime(last_success_at),
      last_failure_at: isoTime(last_failure_at),
    };
  });
}
