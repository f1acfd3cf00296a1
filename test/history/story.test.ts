import { expect, test } from "vitest";
import { aRun } from "../support/a-run.ts";
import type { Delivery } from "../../src/domain/run.ts";
import type { Attempt } from "../../src/store/contract/deliveries.ts";
import { buildTimeline } from "../../src/history/story.ts";

const run = aRun({ created_at: 10, started_at: 20, finished_at: 30 });

const aDelivery = (given: Partial<Delivery> = {}): Delivery => ({
  id: "dlv_1",
  run_id: "tsk_1",
  subject: "run",
  revision: 1,
  sink: "ops",
  kind: "slack",
  cause: "result",
  state: "delivered",
  attempts: 1,
  next_attempt_at: null,
  last_error: null,
  created_at: 40,
  delivered_at: 60,
  receipt: null,
  ...given,
});

const anAttempt = (given: Partial<Attempt> = {}): Attempt => ({
  delivery_id: "dlv_1",
  n: 1,
  started_at: 50,
  finished_at: 60,
  outcome: "delivered",
  reason: null,
  ...given,
});

const told = (delivery: Delivery, attempts: Attempt[]) =>
  buildTimeline({ run, receipts: [], deliveries: [delivery], attempts, circuits: new Map() }).map(({ title, lines }) =>
    [title, ...lines].join(" | "),
  );

test("the story of a run leaves out the times that Skyvern did not send", () => {
  expect(told(aDelivery(), []).slice(0, 3)).toEqual(["Run created", "Started", "Finished"]);
});

test("the story of a run has each attempt with its reason, and its last failed one says when the next is due", () => {
  const delivery = aDelivery({ state: "pending", attempts: 2, next_attempt_at: 3_600_000 });
  const attempts = [
    anAttempt({ outcome: "retry", reason: "Slack answered 429" }),
    anAttempt({ n: 2, started_at: 70, finished_at: 80, outcome: "retry", reason: "Slack answered 503" }),
  ];
  expect(told(delivery, attempts).slice(-2)).toEqual([
    "Pending: not delivered to ops yet (attempt 1, 10 ms) | Slack answered 429",
    "Pending: not delivered to ops yet (attempt 2, 10 ms) | Slack answered 503 | Next try at 1970-01-01T01:00:00.000Z.",
  ]);
});

test("the story of a run shows an attempt that died with the process, and does not count one in flight as dead", () => {
  const cut = /One attempt was cut short/;
  expect(told(aDelivery({ attempts: 2 }), [anAttempt({ n: 2 })])[3]).toMatch(cut);
  expect(told(aDelivery({ attempts: 1 }), [anAttempt()])[3]).not.toMatch(cut);
  expect(told(aDelivery({ state: "sending", attempts: 1 }), [])[3]).not.toMatch(cut);
});

test("the story of a run says why a delivery died without an attempt", () => {
  const givenUp = aDelivery({ state: "dead", attempts: 0, last_error: "its sink is no longer configured" });
  expect(told(givenUp, [])[3]).toContain("Dead: its sink is no longer configured");
});
