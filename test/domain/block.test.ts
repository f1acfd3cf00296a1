import { expect, it } from "vitest";
import { failedBlock, typeName, type Block } from "../../src/domain/block.ts";
import { aBlock as makeBlock } from "../support/a-block.ts";

const aBlock = (label: string, given: Partial<Block> = {}): Block =>
  makeBlock({ label, type: "http_request", ...given });

const inTimeline = (...blocks: Block[]) => failedBlock({ blocks, omitted: 0 });

it("names the block that failed last, and its place among the labels of its attempt", () => {
  const found = inTimeline(
    aBlock("login"),
    aBlock("each", { type: "for_loop", status: "failed" }),
    aBlock("look_up", { depth: 1 }),
    aBlock("look_up", { depth: 1, status: "failed" }),
    aBlock("report"),
  );
  expect(found).toMatchObject({ block: { label: "look_up", status: "failed" }, index: 3, of: 4 });
});

it("looks at the last attempt alone", () => {
  const first = aBlock("login", { status: "failed", attempt: 1 });
  expect(inTimeline(first, aBlock("login", { attempt: 2 }))).toBeNull();
  expect(inTimeline(first, aBlock("login", { attempt: 2, status: "terminated" }))?.block.attempt).toBe(2);
});

it("finds none where none failed, and none where there are no blocks", () => {
  expect(inTimeline(aBlock("login"), aBlock("report", { status: null }))).toBeNull();
  expect(inTimeline()).toBeNull();
});

it.each([
  ["file_download", "File download"],
  ["http_request", "HTTP request"],
  ["for_loop", "Loop"],
  ["", ""],
])("writes the type %j as %j", (type, name) => {
  expect(typeName(type)).toBe(name);
});
