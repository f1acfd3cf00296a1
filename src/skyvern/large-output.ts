/**
 * Outputs with too many values to take apart. Nobody reads a hundred thousand values in a message, and to parse, settle
 * and write millions of them would hold up every other webhook for seconds. The relay treats such an output as opaque:
 * its text stays in the receipt's body, and in its place the run names its size and where to read it.
 */
import { hash } from "node:crypto";
import { measureFields, type MeasuredValue } from "../platform/json.ts";

/** The most values of an output. */
export const MAX_VALUES = 100_000;
/** The most values of everything beside it. */
export const MAX_VALUES_BESIDE = 250_000;
/** A shorter text cannot hold more: a value takes two characters at least. */
const SHORTEST = 2 * MAX_VALUES;
const OUTPUTS = new Set(["output", "extracted_information", "outputs"]);

/** The text of a payload without outputs that hold too many values; null when there are too many beside the output. */
export function boundOutput(text: string): string | null {
  if (text.length < SHORTEST) return text;
  const fields = measureFields(text);
  if (fields === null) return countCommas(text) < MAX_VALUES_BESIDE ? text : null;
  const [outputs, others] = [true, false].map((isOutput) => fields.filter(({ key }) => OUTPUTS.has(key) === isOutput));
  if ((others ?? []).reduce((sum, { value }) => sum + value.values, 0) > MAX_VALUES_BESIDE) return null;
  const parts: string[] = [];
  let copied = 0;
  for (const { value } of outputs ?? []) {
    if (value.values <= MAX_VALUES) continue;
    parts.push(text.slice(copied, value.start), describe(text, value));
    copied = value.end;
  }
  return copied === 0 ? text : parts.join("") + text.slice(copied);
}

/** Commas stand between the values of a text that is no object. Stops counting at the limit. */
function countCommas(text: string): number {
  let commas = 0;
  for (let at = text.indexOf(","); at >= 0 && commas < MAX_VALUES_BESIDE; at = text.indexOf(",", at + 1)) commas += 1;
  return commas;
}

/** Stands in the output's place. Equal outputs have equal descriptions, so that another output is news of the run. */
function describe(text: string, { start, end, values }: MeasuredValue): string {
  const output = text.slice(start, end);
  return JSON.stringify({
    omitted: "the output has too many values to be shown; the raw body of the receipt holds it",
    values,
    bytes: Buffer.byteLength(output),
    sha256: hash("sha256", output),
  });
}
