import { expect, it } from "vitest";
import { failedBlock, typeName, type Block } from "../../src/domain/block.ts";
import { aBlock as makeBlock } from "../support/a-block.ts";

const aBlock = (label: string, given: Partial<Block> = {}): Block =>
  makeBlock({ label, type: "http_request", ...given });

const inTimeline = (...blocks: Block[]) => failedBlock({ blocks, omitted: 0 });

it("the failed block of a run is the one that failed last, with its place among the labels of its attempt", () => {
  const found = inTimeline(
    aBlock("login"),
    aBlock("each", { type: "for_loop", status: "failed" }),
    aBlock("look_up", { depth: 1 }),
    aBlock("look_up", { depth: 1, status: "failed" }),
    aBlock("report"),
  );
  expect(found).toMatchObject({ block: { label: "look_up", status: "failed" }, index: 3, of: 4 });
});

it("the failed block of a run is of its last attempt alone", () => {
  const first = aBlock("login", { status: "failed", attempt: 1 });
  expect(inTimeline(first, aBlock("login", { attempt: 2 }))).toBeNull();
  expect(inTimeline(first, aBlock("login", { attempt: 2, status: "terminated" }))?.block.attempt).toBe(2);
});

it("a run has no failed block where none failed, and where it has no blocks", () => {
  expect(inTimeline(aBlock("login"), aBlock("report", { status: null }))).toBeNull();
  expect(inTimeline()).toBeNull();
});

it.each([
  ["file_download", "File download"],
  ["http_request", "HTTP request"],
  ["for_loop", "Loop"],
  ["", ""],
])("the block type %j is written as %j", (type, name) => {
  expect(typeName(type)).toBe(name);
});
