/** docs/security.md gives examples of what the mask knows: each of them is so. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createRedact } from "../../src/skyvern/redact.ts";

const redact = createRedact();
const page = readFileSync(new URL("../../docs/security.md", import.meta.url), "utf8");
const section = (from: string, to: string): string => page.slice(page.indexOf(from), page.indexOf(to));

/** The examples in a column of a table. */
const examples = (table: string, column: number): string[] =>
  table
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(2)
    .flatMap((row) => [...(row.split("|")[column] ?? "").matchAll(/`([^`]+)`/g)])
    .map(([, example]) => example ?? "")
    // What is left out with … is no whole example.
    .filter((example) => !example.includes("…"));

/** A pair of JSON is a body of its own; the rest is a text that a run returned. */
const isMasked = (example: string): boolean =>
  redact(/^"[^"]+":/.test(example) ? `{${example}}` : JSON.stringify({ output: example })).text.includes("[redacted]");

const known = section("### What the mask knows", "It cannot know:");
const unknown = section("It cannot know:", "\n## On disk");

it.each(examples(known, 2))("the mask hides %s, as docs/security.md says", (example) => {
  expect(isMasked(example)).toBe(true);
});

it.each([...examples(known, 3), ...examples(unknown, 2)])(
  "the mask leaves %s as it is, as docs/security.md says",
  (example) => {
    expect(isMasked(example)).toBe(false);
  },
);
