/** Whoever may send a body may choose it: what reads texts from outside takes time in proportion to their length. */
import { describe, expect, it } from "vitest";
import { parseJson } from "../../src/platform/json.ts";
import { defuse } from "../../src/platform/hostile-text.ts";
import { readClaimedRunId } from "../../src/reconcile/claimed-run.ts";
import { inert } from "../../src/sinks/slack/text.ts";
import { expectLinear } from "../support/linear.ts";

const PIECES = [
  '\\"',
  "\\\\",
  '"',
  "[",
  "]",
  "{",
  '{"a":',
  "1e-7,",
  "0.0000001,",
  "a@b.",
  "https://",
  "@",
  "<",
  "__",
  ".",
];

describe.each(PIECES)("%j, again and again", (piece) => {
  it("a text that repeats is read in linear time for the id of an unsigned body", () => {
    expectLinear(piece, (text) => readClaimedRunId(Buffer.from(`{"status":"x","run_id":"tsk_1","y":"${text}`)));
    expectLinear(piece, (text) => readClaimedRunId(Buffer.from(`{"status":"x","run_id":"tsk_1","y":${text}`)));
  });

  it("a text that repeats is parsed in linear time", () => {
    expectLinear(piece, (text) => {
      try {
        return parseJson(`[${text}1]`);
      } catch {
        return null;
      }
    });
  });

  it("a text that repeats is made harmless in linear time", () => {
    expectLinear(piece, defuse);
    expectLinear(piece, (text) => inert(text, 3_000));
  });
});

it("the measure of linear time sees what is not linear", () => {
  const quadratic = (text: string): number => {
    let found = 0;
    for (let at = text.indexOf("b"); at < 0 && found < text.length; found += 20) at = text.indexOf("b", found);
    return found;
  };
  expect(() => expectLinear("a", quadratic)).toThrow(/to be less than/);
});
