/** One delivery on its way from the outbox through the worker to one sink, over the guarded fetch. */
import { expect, onTestFinished } from "vitest";
import { createAttempt } from "../../../src/deliver/attempt.ts";
import { Worker } from "../../../src/deliver/worker.ts";
import { createEgress, type EgressOptions } from "../../../src/net/egress.ts";
import { silentLog } from "../../../src/platform/log.ts";
import { createMetrics } from "../../../src/telemetry/metrics.ts";
import type { Delivery } from "../../../src/domain/run.ts";
import { findKind } from "../../../src/sinks/kinds.ts";
import { openSqlite } from "../../../src/store/database.ts";
import { migrate } from "../../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../../src/store/sql-store.ts";
import type { Attempt } from "../../../src/store/contract/deliveries.ts";
import { aDelivery, anArrival, aRun } from "../../support/a-run.ts";
import { NOW, aRuntime } from "../../support/runtime.ts";

const links = {
  run: (id: string) => `https://relay.example.com/runs/${id}`,
  artifact: (id: string, key: string) => `https://relay.example.com/artifacts/${id}/${key}`,
};
/** Tries in all: one and two more. */
const SCHEDULE_MS = [1_000, 1_000];

export interface Ended {
  state: Delivery["state"];
  attempts: Attempt["outcome"][];
  /** What each attempt came to, in words; null of one that delivered. */
  reasons: (string | null)[];
  receipt: Delivery["receipt"];
}

export interface PipelineOptions {
  kind: string;
  /** As in relay.yaml. */
  config: Record<string, unknown>;
  lookup?: EgressOptions["lookup"];
  /** What the sink gets to answer, ms: in each attempt, the last in all that follow. A minute unless given. */
  timeoutsMs?: readonly number[];
}

/** Delivers one run until it is delivered or dead, with a clock that jumps to whenever the next attempt is due. */
export async function deliverOne({ kind, config, lookup, timeoutsMs = [60_000] }: PipelineOptions): Promise<Ended> {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  const egress = createEgress({ allow: ["127.0.0.0/8"], ...(lookup ? { lookup } : {}) });
  onTestFinished(async () => {
    await egress.close();
    await store.close();
  });
  const runtime = aRuntime();
  const sinkKind = findKind(kind);
  const settings = sinkKind.config.parse(config);
  const sink = sinkKind.create("ops", settings, { ...egress, now: runtime.now, log: silentLog });
  const attempts = timeoutsMs.map((timeoutMs) =>
    createAttempt({
      enrich: async () => ({ known: { artifacts: [], status: "unavailable" } }),
      links,
      timeoutMs,
      log: silentLog,
    }),
  );
  const worker = new Worker({
    store,
    lanes: [{ sink, concurrency: 1 }],
    attempt: (claimed, ...rest) =>
      attempts[Math.min(claimed.delivery.attempts, attempts.length) - 1]?.(claimed, ...rest) ?? expect.unreachable(),
    scheduleMs: SCHEDULE_MS,
    leaseMs: 60_000,
    runtime,
    log: silentLog,
    metrics: createMetrics(),
  });
  const run = aRun({ run_id: "tsk_1", received_at: NOW });
  await store.accept([anArrival(run, { decision: { deliveries: [aDelivery("dlv_1", "ops", { kind })] } })]);
  for (let round = 0; round <= SCHEDULE_MS.length; round += 1) {
    await worker.runOnce();
    const [delivery] = await store.deliveries({}, { limit: 1 });
    if (!delivery || delivery.state !== "pending") break;
    runtime.advance((delivery.next_attempt_at ?? runtime.now()) - runtime.now());
  }
  const [delivery] = await store.deliveries({}, { limit: 1 });
  const made = await store.attempts(["dlv_1"]);
  if (!delivery) throw new Error("the delivery is gone");
  return {
    state: delivery.state,
    attempts: made.map(({ outcome }) => outcome),
    reasons: made.map(({ reason }) => reason),
    receipt: delivery.receipt,
  };
}
