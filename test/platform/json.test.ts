import { inspect } from "node:util";
import fc from "fast-check";
import { describe, expect, it, test } from "vitest";
import { isRawNumber, toNumber, numberText, parseJson } from "../../src/platform/json.ts";
import { cpuMs } from "../support/cpu.ts";

/** Whether a number is kept as text: JavaScript would write it differently, or it is as large as placeholders are. */
const isKept = (text: string): boolean => String(Number(text)) !== text || Number(text) >= 1e300;

const SHAPES =
  `0 -0 0.0 -0.0 -0.5 1.5 19.99 10.10 1.0 1e5 1E5 1e-07 1.5e3 -1.25E+2 0e0 0.000001 0.0000001 0.00000123 0.1 0.30 100 1000000
  123456789012345 1234567890123456 9007199254740993 -9007199254740993 1234567.12345678 1234567.123456789
  12345678.1234567891 0.12345678901234 0.123456789012345 0.12345678901234567 99999999999999999999.5 -123456789012.345
  5.0000000000000005`.split(/\s+/);

/** Pieced together by a generator of chance with a fixed seed. */
function* literals(count: number): Generator<string> {
  let seed = 12_345;
  const next = (below: number): number => {
    seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((seed / 2 ** 31) * below);
  };
  const digits = (most: number) => Array.from({ length: 1 + next(most) }, () => "0001234567899"[next(13)]).join("");
  for (let n = 0; n < count; n++) {
    const whole = digits(18).replace(/^0+(?=\d)/, "");
    const fraction = next(3) > 0 ? `.${digits(18)}` : "";
    const exponent = next(5) === 0 ? `${"eE"[next(2)]}${["", "+", "-"][next(3)]}${next(30)}` : "";
    yield `${next(4) === 0 ? "-" : ""}${whole}${fraction}${exponent}`;
  }
}

test("a number is written as it came, wherever it stands, and is JavaScript's own where that can be", () => {
  const isRight = (text: string): boolean =>
    [text, `[${text}]`, `[1,${text}]`, `{"a":${text}}`, `{"a": ${text}}`].every(
      (json) => JSON.stringify(parseJson(json)) === json.replace(": ", ":"),
    ) && typeof parseJson(text) === (isKept(text) ? "object" : "number");
  expect([...SHAPES, ...literals(20_000)].filter((text) => !isRight(text))).toEqual([]);
});

test("the digits of a number are those it came with, else those JavaScript writes", () => {
  fc.assert(
    fc.property(fc.oneof(fc.double({ noDefaultInfinity: true, noNaN: true }), fc.integer()), (number) => {
      const text = String(number);
      expect(numberText(number)).toBe(text);
      const parsed = parseJson(text);
      expect(typeof parsed === "number" || isRawNumber(parsed) ? numberText(parsed) : null).toBe(text);
      expect(toNumber(parsed)).toBe(number === 0 ? 0 : number);
    }),
    { numRuns: 5_000 },
  );
});

describe("any text", () => {
  /** What it comes to by the rule itself: each value is looked at with its source. */
  const byTheRule = (text: string): unknown =>
    parseWithSource(text, (_key, value, { source }) =>
      typeof value === "number" && source !== undefined && isKept(source) ? JSON.rawJSON(source) : value,
    );
  const parseWithSource = JSON.parse as (
    text: string,
    reviver: (key: string, value: unknown, context: { source?: string }) => unknown,
  ) => unknown;
  const outcome = (parse: (text: string) => unknown, text: string): unknown => {
    try {
      return inspect(parse(text), { depth: 50, maxStringLength: null });
    } catch (error) {
      return (error as Error).name;
    }
  };
  const number = fc.oneof(
    fc.constantFrom(...SHAPES),
    fc.constantFrom(
      "01",
      "1.",
      "-",
      ".5",
      "1e",
      "+1",
      "1.0.0",
      "--1.0",
      "0x1",
      "1.0a",
      "1e400",
      "-1E-400",
      "1.0\u00a0",
    ),
  );
  const string = fc.constantFrom(
    "",
    "a",
    "__proto__",
    "constructor",
    "1.0",
    ":1.0,",
    '\\"1.0',
    "\\\\",
    "\\u0000",
    "\\u00001.0",
    "\\u0000x",
    "\0",
    "é",
    "\uD83D",
  );
  const quoted = string.map((inside) => `"${inside}"`);
  const space = fc.constantFrom("", "", "", " ", "\n", "\f", "\u00a0");
  const text = fc.letrec<{ value: string }>((tie) => ({
    value: fc.oneof(
      { depthSize: "medium" },
      { weight: 3, arbitrary: number },
      quoted,
      fc.constantFrom("null", "true", "nul", "NaN"),
      fc
        .array(fc.tuple(space, tie("value"), space).map((parts) => parts.join("")))
        .map((items) => `[${items.join(",")}]`),
      fc
        .array(fc.tuple(fc.oneof({ weight: 9, arbitrary: quoted }, number), space, tie("value")))
        .map((fields) => `{${fields.map(([key, spaces, value]) => `${key}${spaces}:${spaces}${value}`).join(",")}}`),
    ),
  })).value;
  const damaged = fc
    .tuple(text, fc.nat(), fc.constantFrom("", '"', "{", "}", "[", "]", ",", ":", "1.0", "\\"))
    .map(
      ([whole, at, piece]) =>
        whole.slice(0, at % (whole.length + 1)) + piece + whole.slice((at % (whole.length + 1)) + 1),
    );

  /**
   * A key that holds a backslash. V8 remembers the keys of an object, and then reads a later key with an escape as that
   * one: after `{"a":1,"\\":2}` the text `{"a":1,"\n":2}` has the key `\`.
   */
  const MISLEADING = /\\\\[^"]*"\s*:/;

  it.each([
    ["JSON or nearly", text],
    ["damaged", damaged],
  ])("any text that is %s is parsed as the rule for each value says, or refused", (_what, any) => {
    fc.assert(
      fc.property(
        any.filter((json) => !MISLEADING.test(json)),
        (json) => {
          expect(outcome(parseJson, json)).toBe(outcome(byTheRule, json));
        },
      ),
      {
        numRuns: 3000,
        examples: [
          "{1.0:2}",
          "[1.0,1e300,2e300,3e+300,1e308]",
          '{"a":1.0,"a":2}',
          '{"a":01.0,"a":2}',
          '{"a":1.0,"__proto__":1.0}',
          '["\\u00001.0",1.0]',
          '{"\\\\":1.0}',
          "[1.0 :1]",
        ].map((json): [string] => [json]),
      },
    );
  });

  it("any text of half a megabyte is parsed in a moment, whatever it is made of", () => {
    for (const piece of ["1.0,", '"1.0",', '"\\u0000",1.0,', '{"a":1.0},', "[],", '"\\\\",', '"\\"",']) {
      const json = `[${piece.repeat(500_000 / piece.length)}1.0]`;
      expect(cpuMs(() => expect(JSON.stringify(parseJson(json))).toBe(json))).toBeLessThan(3_000);
    }
    expect(() => parseJson("[".repeat(500_000))).toThrow(SyntaxError);
    expect(() => parseJson(`${"[".repeat(250_000)}1.0${"]".repeat(250_000)}`)).toThrow(RangeError);
  });
});

test.each([" ", "0", "1.0", "0.0", "[", ":"])("a long text of %j takes time in proportion to its length", (piece) => {
  const text = JSON.stringify({ a: `:${piece.repeat(200_000)}` });
  expect(cpuMs(() => parseJson(text))).toBeLessThan(1_000);
});
