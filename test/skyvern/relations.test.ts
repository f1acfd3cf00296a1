/** Where a workflow run comes from, by genuine answers of Skyvern 1.0.56. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parseJson, type Json } from "../../src/platform/json.ts";
import { createRedact } from "../../src/skyvern/redact.ts";
import { findRow, readTags, toRelations } from "../../src/skyvern/relations.ts";

const fixture = (name: string): Json =>
  parseJson(readFileSync(new URL(`../fixtures/api.${name}-1.0.56.json`, import.meta.url), "utf8"));
const CHILD = "wr_602138154398943446";
const redact = createRedact();

it("a child's row names its parent, and its tags are those that people set", () => {
  const row = findRow(fixture("workflow-runs.child"), CHILD) ?? null;
  const tags = readTags(fixture("run-tags")) ?? null;
  expect(toRelations(row, tags, redact)).toEqual({
    parent: "wr_602138154398943416",
    trigger: "api",
    schedule: null,
    retried_from: null,
    tags: ["customer:42"],
  });
});

it("a run that is not in the list has no row, and an answer of another shape is no list", () => {
  expect(findRow(fixture("workflow-runs.child"), "wr_1")).toBeNull();
  expect(findRow([null, 7, [], { workflow_run_id: 8 }], "wr_1")).toBeNull();
  expect(findRow({ detail: "no" }, "wr_1")).toBeUndefined();
  expect(readTags([])).toBeUndefined();
});

it("a value of another type counts as absent", () => {
  const row = findRow([{ workflow_run_id: "wr_1", parent_workflow_run_id: 7, trigger_type: " " }], "wr_1") ?? null;
  expect(
    toRelations(row, readTags({ tags: [null, { key: 1, value: 2 }, { key: 3, value: "a\0b" }] }) ?? null, redact),
  ).toEqual({
    parent: null,
    trigger: null,
    schedule: null,
    retried_from: null,
    tags: ["a\uFFFDb"],
  });
});

it("a tag is masked like any other value, and tags are bounded", () => {
  const secret = "sk_live_51Hx9Kd82hfJQw7Zp0aBcDeFg";
  const tags = readTags({
    tags: [
      { key: "api_key", value: secret },
      ...Array.from({ length: 90 }, () => ({ key: null, value: "x".repeat(900) })),
    ],
  });
  const { tags: read } = toRelations(null, tags ?? null, redact);
  expect(read?.[0]).toBe("api_key:[redacted]");
  expect(read?.length).toBe(50);
  expect(read?.[1]?.length).toBe(200);
});
