/**
 * Each sink has one circuit. Its states:
 *
 * - *closed*: deliveries flow. {@link FAILURES_TO_OPEN} failures in a row open it.
 * - *open*: nothing is attempted before `until`, and no delivery uses up its schedule meanwhile.
 * - *half open*: an open circuit past its `until`. One delivery is attempted as a probe. Success closes the circuit,
 *   and so does a request to slow down, which proves that the sink is alive. Failure opens it again for the
 *   schedule's next wait, at most {@link LONGEST_OPEN_MS}.
 * - *stopped*: the sink asked for no more messages (HTTP 410). Nothing is attempted until a person resumes the sink.
 *
 * A request to slow down is no failure. A delivery that is dead at once (the sink refuses it for good, or the relay may
 * not connect) changes `last_failure_at` alone: waiting would mend nothing.
 */
import type { Circuit, Outcome } from "../domain/run.ts";

export const FAILURES_TO_OPEN = 5;
export const LONGEST_OPEN_MS = 300_000;
/** Where a schedule has no wait, as its deliveries are tried once. */
const WITHOUT_SCHEDULE_MS = 30_000;

export const CLOSED: Circuit = {
  state: "closed",
  failures: 0,
  openings: 0,
  until: null,
  reason: null,
  last_success_at: null,
  last_failure_at: null,
};

/** The circuit after an attempt that ended at `now`, epoch ms. `scheduleMs`: the waits of a delivery to its sink. */
export function afterOutcome(circuit: Circuit, outcome: Outcome, now: number, scheduleMs: readonly number[]): Circuit {
  const arrived = outcome.kind === "delivered" || (outcome.kind === "retry" && outcome.receipt !== undefined);
  if (arrived) return { ...CLOSED, last_success_at: now, last_failure_at: circuit.last_failure_at };
  if (outcome.kind === "dead") {
    if (outcome.gone !== true) return { ...circuit, last_failure_at: now };
    return { ...circuit, state: "stopped", until: null, reason: outcome.reason, last_failure_at: now };
  }
  if (circuit.state === "stopped") return circuit;
  const isOpen = circuit.state === "open" && circuit.until !== null && now < circuit.until;
  if (outcome.throttled === true) {
    const { last_success_at, last_failure_at } = circuit;
    return circuit.state === "open" && !isOpen ? { ...CLOSED, last_success_at, last_failure_at } : circuit;
  }
  const failures = circuit.failures + 1;
  const failed = { ...circuit, failures, reason: outcome.reason, last_failure_at: now };
  // Attempts that were in flight when the circuit opened must not open it further.
  if (failures < FAILURES_TO_OPEN || isOpen) return failed;
  const openMs = scheduleMs[Math.min(circuit.openings, scheduleMs.length - 1)] ?? WITHOUT_SCHEDULE_MS;
  return { ...failed, state: "open", openings: circuit.openings + 1, until: now + Math.min(openMs, LONGEST_OPEN_MS) };
}

/** How many attempts may run at one time, and when to ask again if none may (null: only a person changes that). */
export function admits(circuit: Circuit, now: number): { limit: number; at: number | null } {
  if (circuit.state === "closed") return { limit: Infinity, at: null };
  if (circuit.state === "stopped" || circuit.until === null) return { limit: 0, at: null };
  return now < circuit.until ? { limit: 0, at: circuit.until } : { limit: 1, at: null };
}
