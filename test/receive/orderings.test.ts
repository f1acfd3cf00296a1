/**
 * One run, several webhooks (contract §2): whatever the order and whenever deliveries happen in between, there is one
 * outcome, one message in a channel, one mail with at most one correction, and one sequence at the HTTP sinks.
 */
import { describe, it } from "vitest";
import { at, aWorld, FAILING_AT_ONCE, play, webhook, type Gap, type Situation } from "../support/orderings.ts";

const SITUATIONS: Situation[] = [
  {
    name: "v2: completed, then failed because that webhook got no answer",
    bodies: (id) => [webhook("task_v2.completed", id), webhook("task_v2.failed-after-webhook-timeout", id)],
    outcome: "completed",
  },
  {
    name: "the same, and the failed one has no output",
    bodies: (id) => [
      webhook("task_v2.completed", id),
      webhook("task_v2.failed-after-webhook-timeout", id, { output: null, extracted_information: null }),
    ],
    outcome: "completed",
  },
  {
    name: "v1: cancel sends, and the run loop sends",
    bodies: (id) => [
      webhook("task_v1.completed", id, { status: "canceled", output: null, recording_url: null, ...at(0) }),
      webhook("task_v1.completed", id, { status: "canceled", output: null, ...at(9_000) }),
    ],
    outcome: "canceled",
  },
  {
    name: "v2: cancel sends, and the run loop sends",
    bodies: (id) => [
      webhook("task_v2.canceled", id),
      webhook("task_v2.canceled", id, { summary: "Stopped.", ...at(9_000) }),
    ],
    outcome: "canceled",
  },
  {
    name: "workflow: cancel sends, and the executor sends with more",
    bodies: (id) => [
      webhook("workflow_run.canceled-1-from-cancel-api", id),
      webhook("workflow_run.canceled-2-from-executor", id),
    ],
    outcome: "canceled",
  },
  {
    name: "v2: completed, then canceled all the same",
    bodies: (id) => [webhook("task_v2.completed", id, at(0)), webhook("task_v2.canceled", id, at(5_000))],
    outcome: "canceled",
  },
  {
    name: "v2: failed twice over its metadata",
    bodies: (id) => [
      webhook("task_v2.failed", id, at(0)),
      webhook("task_v2.failed", id, { ...at(2_000), failure_reason: "Failed to set up: no metadata" }),
    ],
    outcome: "failed",
  },
  {
    name: "legacy replay: running, then the end",
    bodies: (id) => [webhook("task_v1.running-nonterminal", id), webhook("task_v1.failed", id)],
    outcome: "failed",
  },
];

describe("in both orders", () => {
  it.each<Gap>(["nothing", "deliver"])(
    "two webhooks of one run settle to one outcome and one message in both orders, between them: %s",
    async (gap) => {
      await play(await aWorld(), SITUATIONS, [gap], "none");
    },
  );

  it.each<Gap>(["deliver", "deliver and retry"])(
    "two webhooks of one run settle to one message in both orders where the first attempt is refused, between them: %s",
    async (gap) => {
      await play(await aWorld(), SITUATIONS, [gap], "refused");
    },
  );

  it.each<Gap>(["deliver", "deliver and retry"])(
    "two webhooks of one run settle to one message in both orders where the first answer is lost, between them: %s",
    async (gap) => {
      for (let i = 0; i < SITUATIONS.length; i += FAILING_AT_ONCE / 2) {
        await play(await aWorld(), SITUATIONS.slice(i, i + FAILING_AT_ONCE / 2), [gap], "answer lost");
      }
    },
  );
});
