import type { Block } from "../../src/domain/block.ts";

/** A block that worked, at the top of the first attempt. */
export const aBlock = (given: Partial<Block>): Block => ({
  label: null,
  type: "task",
  status: "completed",
  attempt: 1,
  depth: 0,
  started_at: null,
  duration_ms: null,
  reason: null,
  codes: [],
  screenshot: null,
  ...given,
});
