/** One word for one thing, wherever users read it: the glossary in src/domain/run.ts has the words. */
import { globSync } from "node:fs";
import { expect, it } from "vitest";
import { DELIVERY_STATES } from "../../src/domain/run.ts";
import { STATES } from "../../src/web/markup.ts";
import { DOCUMENTS, MORE_DOCUMENTS, read, ROOT } from "./documents.ts";

it("a page calls the state of a delivery as the API does, with a capital letter", () => {
  const labels = DELIVERY_STATES.map((state) => STATES[state].label);
  expect(labels.map((label) => label.toLowerCase())).toEqual(DELIVERY_STATES);
});

it("no page, message or document has a second word for a dead or a pending delivery", () => {
  const files = [...DOCUMENTS, ...MORE_DOCUMENTS, ...globSync(["src/**/*.ts", "ops/*.{yaml,json}"], { cwd: ROOT })];
  const other = /deliver(?:y|ies)[^.|;\n]{0,20} (?:given up|gave up|waits?|waiting)\b|dead letter/gi;
  const found = files.flatMap((file) =>
    (withoutComments(read(file)).match(other) ?? []).map((words) => `${file}: ${words}`),
  );
  expect(found, "the glossary says dead and pending").toEqual([]);
});

const withoutComments = (text: string): string => text.replaceAll(/^\s*(?:\*|\/\*|\/\/).*$/gm, "");
