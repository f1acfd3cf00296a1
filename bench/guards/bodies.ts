/** Bodies of nine megabytes that are heavy in one way each, and what a genuine sender and a stranger make of them. */
const SIZE = 9_000_000;

const filled = (piece: string, around: string): string => piece.repeat((SIZE - around.length) / piece.length);

const OUTPUTS: Record<string, () => string> = {
  numbers: () => `[${filled("0.1234567,", "[1]")}1]`,
  "numbers as written": () => `[${filled("1e-07,", "[1]")}1]`,
  "short numbers": () => `[${filled("1,", "[1]")}1]`,
  deep: () => `${"[".repeat(SIZE / 2)}${"]".repeat(SIZE / 2)}`,
  "deep again and again": () => `[${filled(`${"[".repeat(900)}${"]".repeat(900)},`, "[1]")}1]`,
  "long strings": () => `["${filled("a long string of words ", '[""]')}"]`,
  "many keys": () => `{${Array.from({ length: SIZE / 22 }, (_none, i) => `"key${i}":"value"`).join()}}`,
  "values beyond what is taken apart": () => `[${filled('"a text","b",', "[1]")}1]`,
  "numbers up to what is taken apart": () =>
    `[${Array.from({ length: 99_000 }, (_none, i) => `${i}.${"0".repeat(80)}1`).join()}]`,
  escapes: () => `["${filled(String.raw`a\u0041\\\"`, '[""]')}"]`,
  secrets: () => `["${filled("password%3Dhunter22 ", '[""]')}"]`,
  "many objects": () => `[${filled('{"a":1},', "[1]")}1]`,
};

export const BODIES = Object.keys(OUTPUTS);

/** A payload of task v2 whose output is heavy so. */
export const heavyBody = (kind: string, runId: string): Buffer =>
  Buffer.from(`{"run_id":"${runId}","status":"completed","output":${OUTPUTS[kind]?.() ?? "null"}}`);
