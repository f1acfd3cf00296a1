import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { settle, settleWithoutRetry, toState } from "../../src/receive/settle.ts";
import type { RunState, Source } from "../../src/domain/run.ts";
import { isDeliveryFailure, normalize } from "../../src/skyvern/normalize.ts";
import { readPayload } from "../../src/skyvern/payload.ts";
import { parseJson, type Json, type JsonObject } from "../../src/platform/json.ts";

const fixture = (name: string): JsonObject =>
  parseJson(readFileSync(join(import.meta.dirname, "../fixtures", `${name}.json`), "utf8")) as JsonObject;

const ARRIVAL = { channel: null, organization: null } as const;

function observe(payload: JsonObject, receivedAt: number, source: Source = "webhook"): RunState {
  const parsed = readPayload(payload);
  if (parsed.kind !== "run") throw new Error(`not a run: ${parsed.kind}`);
  const run = normalize(parsed.payload, { ...ARRIVAL, source, receivedAt });
  return toState(run, null, isDeliveryFailure(parsed.payload));
}

/** A small payload; later ones by `at`, in seconds. */
const payload = (status: string, at: number | null, more: JsonObject = {}): JsonObject => {
  const time = at === null ? null : `2026-01-01T00:00:${String(at).padStart(2, "0")}`;
  return { run_id: "tsk_v2_1", status, finished_at: time, modified_at: time, ...more };
};

function settleAll(observations: readonly RunState[]): {
  state: RunState;
  verdicts: string[];
  notes: (string | null)[];
} {
  let state: RunState | null = null;
  const verdicts: string[] = [];
  const notes: (string | null)[] = [];
  for (const observation of observations) {
    const settled = settle(state, observation);
    state = settled.state;
    verdicts.push(settled.verdict);
    notes.push(settled.note);
  }
  return { state: state as unknown as RunState, verdicts, notes };
}

const story = (...payloads: JsonObject[]) => settleAll(payloads.map((one, i) => observe(one, 1_000 + i)));

const FAILED_DELIVERY = "Failed to run task 2.0: Failed to send webhook.    task_v2_id=tsk_v2_1";

describe("the rule table", () => {
  it("the first final receipt of a run is accepted as revision 1", () => {
    const { state, verdicts } = story(payload("completed", 1));
    expect(verdicts).toEqual(["accepted"]);
    expect(state).toMatchObject({ revision: 1, run: { status: "completed", reported_status: "completed" } });
  });

  it.each(["created", "queued", "running", "paused", "a status of tomorrow"])(
    "a receipt with the status %s is stored, and does not make the run final",
    (status) => {
      expect(story(payload(status, null)).verdicts).toEqual(["stored"]);
    },
  );

  it("the first final receipt after others that were not is accepted, still as revision 1", () => {
    const { state, verdicts } = story(payload("running", null), payload("paused", null), payload("completed", 3));
    expect(verdicts).toEqual(["stored", "stored", "accepted"]);
    expect(state.revision).toBe(1);
  });

  it("a receipt that is not final never undoes one that is", () => {
    const { state, verdicts } = story(payload("completed", 1), payload("running", 9));
    expect(verdicts).toEqual(["accepted", "stored"]);
    expect(state.run).toMatchObject({ status: "completed", reported_status: "completed" });
  });

  it("a receipt that says the same again is a duplicate", () => {
    const { state, verdicts } = story(payload("failed", 1), payload("failed", 1));
    expect(verdicts).toEqual(["accepted", "duplicate"]);
    expect(state.revision).toBe(1);
  });

  it("a receipt fills in what is new, erases nothing, and counts as updated when a message shows what is new", () => {
    const { state, verdicts } = story(
      payload("completed", 1, { summary: "done", prompt: "look" }),
      payload("completed", 1, { summary: null, output: { a: 1 } }),
    );
    expect(verdicts).toEqual(["accepted", "updated"]);
    expect(state).toMatchObject({ revision: 2, run: { summary: "done", prompt: "look", output: { a: 1 } } });
  });

  it("a receipt with new data that no message shows is a duplicate, and its data are stored", () => {
    const { state, verdicts } = story(payload("completed", 1), payload("completed", 1, { organization_id: "o_1" }));
    expect(verdicts).toEqual(["accepted", "duplicate"]);
    expect(state.run.organization_id).toBe("o_1");
  });

  it("a receipt with another final status from a later time corrects the outcome and its reason", () => {
    const { state, verdicts, notes } = story(
      payload("failed", 1, { failure_reason: "no table" }),
      payload("completed", 2, { output: 1 }),
    );
    expect(verdicts).toEqual(["accepted", "corrected"]);
    expect(notes[1]).toBe("the outcome changed from failed to completed");
    expect(state).toMatchObject({ revision: 2, run: { status: "completed", failure: null } });
  });

  it("a failure keeps what only one source says of it, as the API has no categories", () => {
    const byApi = payload("failed", 1, { failure_reason: "no table", modified_at: "2026-01-01T00:00:09" });
    const { state, verdicts } = story(
      payload("failed", 1, { failure_reason: "no table", failure_category: [{ category: "AUTH_FAILURE" }] }),
      byApi,
    );
    expect(verdicts).toEqual(["accepted", "duplicate"]);
    expect(state.run.failure).toMatchObject({ reason: "no table", categories: ["AUTH_FAILURE"] });
  });

  it("a receipt with another final status from an earlier time is a duplicate", () => {
    const { state, verdicts } = story(payload("canceled", 5), payload("completed", 2));
    expect(verdicts).toEqual(["accepted", "duplicate"]);
    expect(state.run.status).toBe("canceled");
  });

  it("modified_at decides where finished_at is the same, and arrival where both are", () => {
    const same = { finished_at: "2026-01-01T00:00:01" };
    expect(
      story(payload("completed", 1, { ...same, modified_at: "2026-01-01T00:00:09" }), payload("failed", 1, same)).state
        .run.status,
    ).toBe("completed");
    expect(story(payload("completed", 1), payload("canceled", 1)).state.run.status).toBe("canceled");
  });

  it("a 'failed' by an undelivered webhook after 'completed' is a duplicate", () => {
    const { state, verdicts, notes } = story(
      payload("completed", 1, { output: 1 }),
      payload("failed", 1, { output: 1, failure_reason: FAILED_DELIVERY, modified_at: "2026-01-01T00:00:59" }),
    );
    expect(verdicts).toEqual(["accepted", "duplicate"]);
    expect(notes[1]).toContain("webhook could not be delivered");
    expect(state.run).toMatchObject({ status: "completed", reported_status: "failed", failure: null });
  });

  it("a 'failed' by an undelivered webhook settles as completed when nothing came before and there is an output", () => {
    const { state, verdicts } = story(payload("failed", 1, { output: { a: 1 }, failure_reason: FAILED_DELIVERY }));
    expect(verdicts).toEqual(["accepted"]);
    expect(state.run).toMatchObject({ status: "completed", reported_status: "failed", failure: null });
  });

  it("a 'failed' by an undelivered webhook without an output counts until something better comes", () => {
    const failed = payload("failed", 9, { failure_reason: FAILED_DELIVERY });
    expect(story(failed).state.run.status).toBe("failed");
    expect(story(failed, payload("completed", 1))).toMatchObject({
      verdicts: ["accepted", "corrected"],
      state: { run: { status: "completed" } },
    });
  });
});

it.each(["constructor", "__proto__", "toString"])("a status called %s settles like any other unknown one", (status) => {
  const odd = payload(status, 1, { failure_reason: "odd" });
  const { verdicts, state } = story(odd, odd, payload("completed", 2));
  expect(verdicts).toEqual(["stored", "stored", "accepted"]);
  expect(state.run).toMatchObject({ status: "completed", failure: null });
});

/** What must not depend on the order. The number of revisions tells how often the relay changed its mind, so it may. */
const settledRun = (state: RunState) => {
  const { source: _first, ...run } = state.run;
  return run;
};

function expectOrderIndependent(payloads: readonly JsonObject[], numRuns = 300): void {
  const observations = payloads.map((one, i) => observe(one, 1_000 + i));
  const expected = settledRun(settleAll(observations).state);
  const order = fc
    .shuffledSubarray(observations, { minLength: observations.length })
    .chain((all) => fc.array(fc.constantFrom(...observations), { maxLength: 4 }).map((again) => [...all, ...again]))
    .chain((all) => fc.shuffledSubarray(all, { minLength: all.length }));
  fc.assert(
    fc.property(order, (some) => {
      expect(settledRun(settleAll(some).state)).toEqual(expected);
    }),
    { numRuns },
  );
}

const attempt = (number: number, status: string, at: number | null, more: JsonObject = {}): JsonObject =>
  payload(status, at, { run_id: "wr_1", attempt: number, retry_pending: false, next_attempt_at: null, ...more });
const PENDING = { retry_pending: true, next_attempt_at: "2026-01-01T00:01:00" };
const ATTEMPT_1 = { attempt_number: 1, status: "failed", failure_reason: "first", error_codes: [] };
const ATTEMPT_2 = { attempt_number: 2, status: "failed", failure_reason: "second", error_codes: [] };
const NEXT = Date.parse("2026-01-01T00:01:00Z");

describe("run attempts", () => {
  it("a final status with another attempt to come is stored, and the end of that attempt is accepted", () => {
    const { state, verdicts, notes } = story(
      attempt(1, "failed", 1, { ...PENDING, failure_reason: "first" }),
      attempt(2, "completed", 9),
    );
    expect(verdicts).toEqual(["stored", "accepted"]);
    expect(notes[0]).toBe("attempt 1 ended as failed; Skyvern tries again at 2026-01-01T00:01:00.000Z");
    expect(state).toMatchObject({
      revision: 1,
      run: { status: "completed", attempt: 2, next_attempt_at: null, failure: null },
    });
  });

  it("a run that waits for its next attempt is shown as retrying, with the time and with what its webhook said", () => {
    const { state } = story(attempt(1, "timed_out", 1, PENDING));
    expect(state.run).toMatchObject({ status: "retrying", reported_status: "timed_out", next_attempt_at: NEXT });
  });

  it("the outcome of the last attempt takes nothing of an earlier attempt", () => {
    const { state } = story(
      attempt(1, "failed", 1, {
        ...PENDING,
        failure_reason: "first",
        errors: [{ error_code: "FIRST" }],
        output: { a: 1 },
        recording_url: "https://x.example/1",
        workflow_title: "Invoices",
      }),
      attempt(2, "failed", 9, { failure_reason: "second" }),
    );
    expect(state.run).toMatchObject({
      title: "Invoices",
      output: null,
      recording: null,
      failure: { reason: "second", codes: [] },
    });
  });

  it("a run whose retry was revoked ends, with the same time of its end", () => {
    const { state, verdicts } = story(
      attempt(1, "failed", 1, { ...PENDING, failure_reason: "first" }),
      attempt(1, "failed", 1, { failure_reason: "first", modified_at: "2026-01-01T00:00:05" }),
    );
    expect(verdicts).toEqual(["stored", "accepted"]);
    expect(state.run).toMatchObject({ status: "failed", next_attempt_at: null, failure: { reason: "first" } });
  });

  it("an earlier attempt never undoes a later one, whatever its times say", () => {
    const { state, verdicts } = story(attempt(2, "completed", 3), attempt(1, "failed", 50, PENDING));
    expect(verdicts).toEqual(["accepted", "stored"]);
    expect(state.run).toMatchObject({ status: "completed", attempt: 2 });
  });

  it("an outcome is corrected when another attempt began after it", () => {
    const { state, verdicts } = story(attempt(1, "failed", 1), attempt(2, "running", null), attempt(2, "completed", 9));
    expect(verdicts).toEqual(["accepted", "stored", "corrected"]);
    expect(state).toMatchObject({ revision: 2, run: { status: "completed", attempt: 2 } });
    expect(state.ended).toBeUndefined();
  });

  it("the duration of a run spans all attempts, and their table, where there is one, gives their number", () => {
    const { state } = story(
      attempt(2, "failed", 9, {
        started_at: "2026-01-01T00:00:08",
        queued_at: "2026-01-01T00:00:07",
        attempts: [
          {
            ...ATTEMPT_1,
            started_at: "2026-01-01T00:00:01",
            finished_at: "2026-01-01T00:00:02",
            retry_decision: "retry",
          },
          {
            ...ATTEMPT_2,
            started_at: "2026-01-01T00:00:08",
            finished_at: "2026-01-01T00:00:09",
            retry_decision: "final",
          },
        ],
      }),
    );
    expect(state.run.started_at).toBe(Date.parse("2026-01-01T00:00:01Z"));
    expect(state.run.queued_at).toBeNull();
    expect(state.run.attempts).toMatchObject([
      { attempt: 1, status: "failed", reason: "first", decision: "retry" },
      { attempt: 2, status: "failed", reason: "second", decision: "final" },
    ]);
  });

  it("a run without a retry policy has one attempt and no table of attempts", () => {
    const { state } = story(attempt(1, "completed", 1, { attempts: [{ ...ATTEMPT_1, retry_decision: null }] }));
    expect(state.run).toMatchObject({ attempt: 1, attempts: [] });
  });

  it("a run whose retry never started is delivered as it stands, and corrected when it did start after all", () => {
    const { state } = story(
      attempt(1, "failed", 1, {
        ...PENDING,
        failure_reason: "first",
        attempts: [{ ...ATTEMPT_1, retry_decision: "retry" }],
      }),
    );
    const given = settleWithoutRetry(state);
    expect(given).toMatchObject({
      verdict: "accepted",
      note: "attempt 1 ended as failed, and its retry never started",
      state: {
        revision: 1,
        run: { status: "failed", failure: { reason: "first" }, attempts: [{ decision: "never_started" }] },
      },
    });
    expect(settleWithoutRetry(given?.state as RunState)).toBeNull();
    const again = settle(given?.state ?? null, observe(attempt(1, "failed", 1, PENDING), 5_000));
    expect(again).toMatchObject({ verdict: "stored", state: { run: { status: "failed" } } });
    const after = settle(again.state, observe(attempt(2, "completed", 9), 6_000));
    expect(after).toMatchObject({ verdict: "corrected", state: { revision: 2, run: { status: "completed" } } });
  });

  it.each([
    ["pending without a time", { retry_pending: true, next_attempt_at: null }, "retrying"],
    ["a time without the flag", { retry_pending: null, next_attempt_at: "2026-01-01T00:01:00" }, "retrying"],
    ["a flag that is no boolean", { retry_pending: "yes", next_attempt_at: null }, "failed"],
    ["a time that is none", { retry_pending: null, next_attempt_at: "soon" }, "failed"],
  ])("a run whose next attempt is announced oddly is still settled: %s", (_what, values, status) => {
    expect(story(attempt(1, "failed", 1, values)).state.run.status).toBe(status);
  });
});

describe("receipts in any order", () => {
  it("receipts settle alike in any order and number: completed, replay, and failed by its own webhook", () => {
    expectOrderIndependent(
      [
        "webhook.task_v2.completed",
        "webhook.replay.task_v2.completed",
        "webhook.task_v2.failed-after-webhook-timeout",
      ].map(fixture),
    );
  });

  it("receipts settle alike in any order and number: two attempts, one webhook each", () => {
    expectOrderIndependent(
      ["webhook.workflow_run.failed-retry-pending-1.0.56", "webhook.workflow_run.completed-attempt-2-1.0.56"].map(
        fixture,
      ),
    );
  });

  it("receipts settle alike in any order and number: a retry revoked between two attempts", () => {
    expectOrderIndependent(
      [1, 2].map((n) => fixture(`webhook.workflow_run.failed-retry-pending-then-canceled-${n}-1.0.56`)),
    );
  });

  it("receipts settle alike in any order and number: any run attempts, reported by webhook and by the API", () => {
    const one = fc.record({
      number: fc.integer({ min: 1, max: 3 }),
      status: fc.constantFrom("failed", "completed", "canceled", "running", "queued"),
      at: fc.option(fc.integer({ min: 0, max: 59 })),
      isPending: fc.boolean(),
      reason: fc.option(fc.constantFrom("first", "second")),
      output: fc.option(fc.integer({ min: 0, max: 3 })),
      code: fc.option(fc.constantFrom("A", "B")),
      rows: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 5 }), (some) => {
        expectOrderIndependent(
          some.map(({ number, status, at, isPending, reason, output, code, rows }) =>
            attempt(number, status, at, {
              ...(isPending ? PENDING : {}),
              failure_reason: reason,
              output,
              errors: code === null ? [] : [{ error_code: code }],
              attempts: [ATTEMPT_1, ATTEMPT_2, { ...ATTEMPT_2, attempt_number: 3 }].slice(0, rows),
            }),
          ),
          20,
        );
      }),
      { numRuns: 200 },
    );
  });

  it("receipts settle alike in any order and number: canceled twice", () => {
    expectOrderIndependent(
      ["webhook.workflow_run.canceled-1-from-cancel-api", "webhook.workflow_run.canceled-2-from-executor"].map(fixture),
    );
  });

  it("receipts settle alike in any order and number: webhook and API answer of one run", () => {
    expectOrderIndependent(["webhook.task_v1.completed", "api.get-run.task_v1.completed"].map(fixture));
    expectOrderIndependent(["webhook.workflow_run.completed", "api.get-run.workflow_run.completed"].map(fixture));
  });

  it("receipts settle alike in any order and number: any mix of statuses, times and gaps", () => {
    const one = fc.record({
      status: fc.constantFrom("running", "completed", "failed", "canceled", "terminated", "timed_out"),
      at: fc.option(fc.integer({ min: 1, max: 5 })),
      source: fc.constantFrom<Source>("webhook", "reconciled"),
      more: fc.record(
        {
          summary: fc.option(fc.constantFrom("a", "b")),
          output: fc.option(fc.constantFrom(1, "x", "[removed]")),
          failure_reason: fc.option(fc.constantFrom("r1", "r2", "[removed]", FAILED_DELIVERY)),
          workflow_title: fc.option(fc.constantFrom("t1", "t2")),
          workflow_permanent_id: fc.option(fc.constantFrom("wpid_1", "wpid_2")),
          errors: fc.option(fc.constantFrom<Json[]>([{ error_code: "E1" }], [])),
          failure_category: fc.option(fc.constantFrom<Json[]>([{ category: "A" }], [{ category: "B" }], [])),
          step_count: fc.option(fc.constantFrom(1, 2)),
          screenshot_urls: fc.option(fc.constantFrom<Json[]>([], ["https://x.example/v1/artifacts/a_1/content"])),
        },
        { requiredKeys: [] },
      ),
    });
    fc.assert(
      fc.property(
        fc.array(one, { minLength: 2, maxLength: 5 }).chain((list) => {
          const observations = list.map(({ status, at, more, source }, i) =>
            observe(payload(status, at, more), 1_000 + i, source),
          );
          const orders = fc.shuffledSubarray([...observations, ...observations.slice(0, 2)], {
            minLength: observations.length + Math.min(2, observations.length),
          });
          return fc.tuple(fc.constant(observations), orders);
        }),
        ([observations, order]) => {
          expect(settledRun(settleAll(order).state)).toEqual(settledRun(settleAll(observations).state));
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

describe("text that Skyvern's retention removed", () => {
  const whole = {
    failure_reason: "The portal asked for a second factor.",
    parameters: { customer: "Jansen", period: "2026-10" },
    output: { invoice: { number: "INV-1", sum: 12 } },
    errors: [{ error_code: "MFA", reasoning: "A code was asked for." }],
  };
  const removed = {
    failure_reason: "[removed]",
    parameters: { customer: "[removed]", period: "[removed]" },
    output: { invoice: { number: "[removed]", sum: 12 } },
    errors: [{ error_code: "MFA", reasoning: "[removed]" }],
    recording_url: null,
  };
  const answered = (body: JsonObject, at: number) => observe(body, at, "reconciled");

  it("text that Skyvern's retention removed never replaces stored text, whichever comes first", () => {
    const webhook = observe(payload("failed", 1, { ...whole, recording_url: "https://x.example/r.webm" }), 1_000);
    const later = answered(payload("failed", 1, { ...removed, modified_at: "2026-06-01T00:00:00" }), 2_000);
    const kept = settleAll([webhook]).state.run;
    for (const order of [
      [webhook, later],
      [later, webhook],
      [later, webhook, later],
    ]) {
      const { failure, parameters, output, recording } = settleAll(order).state.run;
      expect({ failure, parameters, output, recording }).toEqual({
        failure: kept.failure,
        parameters: kept.parameters,
        output: kept.output,
        recording: kept.recording,
      });
    }
    expect(settleAll([webhook, later]).verdicts).toEqual(["accepted", "duplicate"]);
  });

  it("Skyvern's mark of removed text is shown where nothing else is known", () => {
    expect(settleAll([answered(payload("failed", 1, removed), 1_000)]).state.run.failure?.reason).toBe("[removed]");
  });

  it("a webhook's text that reads like Skyvern's mark of removed text is a page's own words", () => {
    const words = { output: { posts: ["[removed]"] } };
    const { state, verdicts } = story(payload("completed", 1, whole), payload("completed", 2, words));
    expect(state.run.output).toEqual(words.output);
    expect(verdicts).toEqual(["accepted", "updated"]);
  });
});

it("the state of a run may be written and read between receipts, as the store does", () => {
  const payloads = ["webhook.task_v2.completed", "webhook.task_v2.failed-after-webhook-timeout"].map(fixture);
  const [first, second] = payloads.map((one, i) => observe(one, 1_000 + i)) as [RunState, RunState];
  const written = parseJson(JSON.stringify(settle(null, first).state)) as unknown as RunState;
  expect(settle(written, second)).toEqual(settle(settle(null, first).state, second));
});
