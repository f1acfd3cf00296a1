import type { Run, RunState } from "../../src/domain/run.ts";
import type { IncomingReceipt, Decision, NewDelivery } from "../../src/store/contract/receipts.ts";

/** A completed task; name what matters. */
export const aRun = (values: Partial<Run> = {}): Run => ({
  run_id: "tsk_1",
  run_type: "task_v1",
  kind: "task",
  status: "completed",
  reported_status: "completed",
  source: "webhook",
  organization_id: null,
  channel: null,
  title: null,
  prompt: null,
  url: null,
  summary: null,
  app_url: null,
  workflow: null,
  output: null,
  failure: null,
  parameters: null,
  files: [],
  recording: null,
  screenshots: [],
  step_count: null,
  parent: null,
  trigger: null,
  schedule: null,
  tags: null,
  retried_from: null,
  retried_by: null,
  children: [],
  credits: null,
  ai_fallback: null,
  labels: null,
  attempt: 1,
  attempts: [],
  next_attempt_at: null,
  created_at: null,
  queued_at: null,
  started_at: null,
  finished_at: null,
  modified_at: null,
  received_at: 1_000,
  ...values,
});

export const aState = (run: Run, revision = 1): RunState => {
  const clock = [run.attempt, 1, 1, run.finished_at ?? 0, run.modified_at ?? 0, 1, run.received_at] as const;
  return { run, owners: [run.organization_id], revision, clock, clocks: {}, reported: clock, failures: {} };
};

export const aDelivery = (id: string, sink = "ops", values: Partial<NewDelivery> = {}): NewDelivery => ({
  id,
  sink,
  kind: "slack",
  cause: "result",
  ...values,
});

/** An arrival that is decided as told, whatever is known. */
export function anArrival(
  run: Run,
  { hash, decision = {}, body = "{}" }: { hash?: string; decision?: Partial<Decision>; body?: string } = {},
): IncomingReceipt {
  const bodyHash = hash ?? `hash of ${run.run_id} at ${run.received_at}`;
  return {
    receipt: {
      id: `rcp_${bodyHash}`,
      bodyHash,
      body: Buffer.from(body),
      source: run.source,
      channel: run.channel,
      labels: run.labels,
      keyName: "key",
      sentAt: "1787400000",
      reportedStatus: run.reported_status,
      receivedAt: run.received_at,
      note: null,
    },
    run: {
      id: run.run_id,
      decide: (known) => ({
        verdict: known === null ? "accepted" : "updated",
        note: null,
        routing: null,
        state: aState(run, (known?.state.revision ?? 0) + 1),
        deliveries: [],
        cancel: [],
        ...decision,
      }),
    },
  };
}
