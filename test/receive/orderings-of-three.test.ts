/**
 * One run, several webhooks (contract §2): whatever the order and whenever deliveries happen in between, there is one
 * outcome, one message in a channel, one mail with at most one correction, and one sequence at the HTTP sinks.
 */
import { describe, it } from "vitest";
import { aWorld, play, webhook, type Gap, type Situation, type Trouble } from "../support/orderings.ts";

const SITUATION: Situation = {
  name: "v2: completed, failed by its own webhook, replayed by hand",
  bodies: (id) => [
    webhook("task_v2.completed", id),
    webhook("task_v2.failed-after-webhook-timeout", id),
    webhook("replay.task_v2.completed", id),
  ],
  outcome: "completed",
};

/** After the first webhook and after the second. */
const GAPS: Record<Trouble, [Gap, Gap][]> = {
  none: [
    ["nothing", "nothing"],
    ["nothing", "deliver"],
    ["deliver", "nothing"],
    ["deliver", "deliver"],
  ],
  refused: [
    ["deliver", "nothing"],
    ["deliver", "deliver and retry"],
  ],
  "answer lost": [
    ["deliver", "nothing"],
    ["deliver", "deliver and retry"],
  ],
};

describe.each(Object.entries(GAPS))("in all six orders, deliveries in between; first attempt: %s", (trouble, pairs) => {
  it.each(pairs)(
    `three webhooks of one run settle to one outcome and message in all six orders (${SITUATION.name}), between them: %s, %s`,
    async (...gaps) => {
      await play(await aWorld(), [SITUATION], gaps, trouble as Trouble);
    },
  );
});
