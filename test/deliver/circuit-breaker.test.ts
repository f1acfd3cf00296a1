import { describe, expect, it } from "vitest";
import { admits, afterOutcome, CLOSED, FAILURES_TO_OPEN, LONGEST_OPEN_MS } from "../../src/deliver/circuit-breaker.ts";
import { nextSlot } from "../../src/deliver/pace.ts";
import type { Circuit, Outcome } from "../../src/domain/run.ts";

const FAILED: Outcome = { kind: "retry", reason: "no answer" };
const DELIVERED: Outcome = { kind: "delivered", receipt: {} };

const SCHEDULE = [5_000, 30_000, 120_000, 600_000, 1_800_000];
const FIRST_OPEN_MS = SCHEDULE[0] ?? 0;

const after = (outcomes: readonly Outcome[], now = 1_000, from: Circuit = CLOSED): Circuit =>
  outcomes.reduce((circuit, outcome) => afterOutcome(circuit, outcome, now, SCHEDULE), from);
const failures = (n: number) => Array.from({ length: n }, () => FAILED);

describe("a circuit", () => {
  it("a circuit stays closed through fewer failures in a row than open it, and forgets them with a success", () => {
    const circuit = after([...failures(FAILURES_TO_OPEN - 1), DELIVERED, ...failures(FAILURES_TO_OPEN - 1)]);
    expect(circuit.state).toBe("closed");
    expect(admits(circuit, 1_000).limit).toBe(Infinity);
  });

  it("a circuit opens after enough failures in a row, lets nothing through, and says when to ask again", () => {
    const circuit = after(failures(FAILURES_TO_OPEN));
    expect(circuit).toMatchObject({ state: "open", until: 1_000 + FIRST_OPEN_MS, reason: "no answer" });
    expect(admits(circuit, 1_000)).toEqual({ limit: 0, at: 1_000 + FIRST_OPEN_MS });
  });

  it("an open circuit lets one probe through when its time has come", () => {
    const circuit = after(failures(FAILURES_TO_OPEN));
    expect(admits(circuit, 1_000 + FIRST_OPEN_MS).limit).toBe(1);
  });

  it("a circuit closes with a probe that succeeds", () => {
    const circuit = after([DELIVERED], 99_000, after(failures(FAILURES_TO_OPEN)));
    expect(circuit).toMatchObject({ state: "closed", failures: 0, openings: 0, last_success_at: 99_000 });
  });

  it.each([
    ["up to a limit", SCHEDULE, [5_000, 30_000, 120_000, LONGEST_OPEN_MS, LONGEST_OPEN_MS, LONGEST_OPEN_MS]],
    ["its last one again and again", [20_000], Array<number>(6).fill(20_000)],
    ["half a minute where there are none", [], Array<number>(6).fill(30_000)],
  ])(
    "a circuit opens for the waits of the schedule, one after the other with each probe that fails, %s",
    (_what, waits, opened) => {
      const open: number[] = [];
      let circuit: Circuit = { ...CLOSED, failures: FAILURES_TO_OPEN - 1 };
      for (let now = 1_000; open.length < 6; now = circuit.until ?? 0) {
        circuit = afterOutcome(circuit, FAILED, now, waits);
        open.push((circuit.until ?? 0) - now);
      }
      expect(open).toEqual(opened);
    },
  );

  it("a circuit is not opened further by attempts that were under way when it opened", () => {
    const open = after(failures(FAILURES_TO_OPEN));
    expect(after(failures(3), 2_000, open)).toMatchObject({ until: open.until, openings: 1 });
  });

  it("a circuit counts neither a throttled delivery nor one that is dead at once as a failure, but says when that was", () => {
    const slow: Outcome = { kind: "retry", reason: "429", throttled: true };
    const refused: Outcome = { kind: "dead", reason: "400" };
    expect(
      after([...Array.from({ length: 20 }, () => slow), ...Array.from({ length: 20 }, () => refused)], 1_000),
    ).toEqual({ ...CLOSED, last_failure_at: 1_000 });
  });

  it("a circuit closes with a throttled probe, as that is a sign of life", () => {
    const slow: Outcome = { kind: "retry", reason: "429", throttled: true };
    const open = after(failures(FAILURES_TO_OPEN));
    expect(after([slow], 2_000, open)).toEqual(open);
    expect(after([slow], open.until ?? 0, open)).toMatchObject({
      state: "closed",
      failures: 0,
      openings: 0,
      until: null,
    });
  });

  it("a circuit stops at a 410 until a person resumes it", () => {
    const stopped = after([{ kind: "dead", reason: "answered 410", gone: true }]);
    expect(stopped).toMatchObject({ state: "stopped", reason: "answered 410" });
    expect(admits(stopped, 9e15)).toEqual({ limit: 0, at: null });
    expect(after(failures(9), 2_000, stopped).state).toBe("stopped");
  });
});

it("a pace spaces messages evenly, and a sink without one waits for nothing", () => {
  const pace = { key: "slack C1", perSecond: 1 };
  expect(nextSlot(pace, null)).toBe(0);
  expect(nextSlot(pace, 5_000)).toBe(6_000);
  expect(nextSlot({ ...pace, perSecond: 4 }, 5_000)).toBe(5_250);
  expect(nextSlot(undefined, 5_000)).toBe(0);
});
