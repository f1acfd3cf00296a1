import { getEventListeners } from "node:events";
import { expect, test } from "vitest";
import { deadlineIn } from "../src/deadline.ts";

test("aborts when the time is over, as a timeout", async () => {
  const parent = new AbortController();
  const { signal, isOver } = deadlineIn(5, parent.signal);
  expect(isOver()).toBe(false);
  // Its own timer keeps no process alive.
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(signal.reason).toMatchObject({ name: "TimeoutError" });
  expect(isOver()).toBe(true);
});

test("aborts with its parent, for its parent's reason, and at once when that has aborted already", () => {
  const parent = new AbortController();
  const before = deadlineIn(60_000, parent.signal);
  parent.abort("stopped");
  for (const { signal, isOver } of [before, deadlineIn(60_000, parent.signal)]) {
    expect(signal.reason).toBe("stopped");
    expect(isOver()).toBe(false);
  }
});

test("once ended it aborts no more, and leaves nothing with its parent", () => {
  const parent = new AbortController();
  const { signal, end } = deadlineIn(60_000, parent.signal);
  expect(getEventListeners(parent.signal, "abort")).toHaveLength(1);
  end();
  expect(getEventListeners(parent.signal, "abort")).toHaveLength(0);
  parent.abort();
  expect(signal.aborted).toBe(false);
});
