/** A workflow run that Skyvern tries again, as it has it at some time. */
import type { JsonObject } from "../../src/platform/json.ts";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { atSkyvern, naive } from "./at-skyvern.ts";
import { NOW } from "./runtime.ts";

const MINUTE = 60_000;
/** When its first attempt ended. */
export const ENDED = NOW - 1_000;

export interface Ended {
  attempt?: number;
  status?: string;
  endedAt?: number | null;
  /** When the next run attempt is to begin. */
  next?: number | null;
  payload?: JsonObject;
}

/** The run `wr_1`; the attempts before the given one failed. */
export function aWorkflowRun({
  attempt = 1,
  status = "failed",
  endedAt = ENDED,
  next = null,
  payload = {},
}: Ended): StandInRun {
  const row = (number: number): JsonObject => ({
    attempt_number: number,
    status: number < attempt ? "failed" : status,
    failure_reason: number < attempt || status === "failed" ? `HTTP 500 at attempt ${number}` : null,
    error_codes: number < attempt ? ["PORTAL_DOWN"] : [],
    started_at: naive(ENDED - MINUTE + (number - 1) * 2 * MINUTE),
    finished_at: number < attempt || endedAt !== null ? naive(ENDED + (number - 1) * 2 * MINUTE) : null,
    retry_decision: number < attempt || next !== null ? "retry" : endedAt === null ? null : "final",
  });
  return atSkyvern({
    id: "wr_1",
    fixture: "workflow_run.failed-minimal",
    status,
    endedAt,
    createdAt: ENDED - MINUTE,
    payload: {
      failure_reason: status === "failed" ? `HTTP 500 at attempt ${attempt}` : null,
      failure_category: null,
      attempt,
      retry_pending: next !== null,
      next_attempt_at: next === null ? null : naive(next),
      attempts: Array.from({ length: attempt }, (_none, i) => row(i + 1)),
      ...payload,
    },
  });
}
