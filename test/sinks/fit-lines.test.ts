import { expect, it } from "vitest";
import type { Json } from "../../src/platform/json.ts";
import { fitLines } from "../../src/sinks/fit-lines.ts";
import { MESSAGE_AMOUNT, readableOutput, type Section } from "../../src/sinks/readable-output.ts";
import { CORPUS } from "./output-corpus.ts";

const fit = (output: Json, lines: number) =>
  fitLines(readableOutput({ kind: "workflow", output }, MESSAGE_AMOUNT), lines);

/** As a phone of 45 characters a line shows it, with its title. */
function heightOf(section: Section): number {
  if (section.kind === "text") return 1 + section.text.split("\n").length;
  return 1 + (section.kind === "fields" ? section.fields.length : section.rows.length);
}
const charactersIn = (section: Section): number =>
  section.kind === "text"
    ? section.text.length
    : section.kind === "fields"
      ? section.fields.reduce((sum, { label, value }) => sum + label.length + value.length, 0)
      : section.rows.flat().reduce((sum, cell) => sum + cell.length, 0);

it.each([...CORPUS])("the output %s is fitted into the lines of a message", (_name, sample) => {
  const { sections } = fitLines(readableOutput(sample, MESSAGE_AMOUNT), 12);
  const height = sections.map(heightOf).reduce((sum, one) => sum + one, 0);
  // A block that is begun has all its titles.
  expect(height).toBeLessThanOrEqual(12 + sections.length);
  const characters = sections.map(charactersIn).reduce((sum, one) => sum + one, 0);
  expect(characters).toBeLessThanOrEqual(12 * 45 + 12 * 30);
});

it("a fitted output counts the fields, rows and blocks that do not fit", () => {
  const fields = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`field_${i}`, i]));
  const output = { first_output: { a: 1 }, second_output: { a: 1 }, third_output: fields };
  const { sections, omittedBlocks } = fit(output, 5);
  expect(sections).toMatchObject([{ title: "third", omitted: 3 }]);
  expect(omittedBlocks).toBe(2);
  const rows = Array.from({ length: 4 }, (_, i) => ({ id: i, name: "n".repeat(40) }));
  expect(fit({ list_output: rows }, 5).sections).toMatchObject([{ kind: "table", omitted: 3 }]);
});

it("a fitted text that is long is cut after whole lines, with a mark", () => {
  const { sections } = fit({ text_output: `${"a line\n".repeat(10)}end` }, 4);
  expect(sections).toMatchObject([{ kind: "text", text: "a line\na line\na line …" }]);
  const [wide] = fit({ text_output: "😀".repeat(500) }, 4).sections;
  expect(wide?.kind === "text" && wide.text.isWellFormed() && wide.text.length <= 3 * 45).toBe(true);
});

it("an output is left as it is where its lines are not limited", () => {
  const output = { text_output: "x".repeat(5_000), list_output: Array.from({ length: 6 }, (_, i) => ({ i, j: i })) };
  const { blocks } = readableOutput({ kind: "workflow", output }, MESSAGE_AMOUNT);
  expect(fit(output, Infinity).sections).toEqual(blocks.flat());
});
