import { array, assert, constantFrom, property, string } from "fast-check";
import { describe, expect, it } from "vitest";
import { RoutesSchema } from "../../src/config/routes.ts";
import { fits, match } from "../../src/domain/routing.ts";
import type { Failure, Run } from "../../src/domain/run.ts";
import { aRun as aTask } from "../support/a-run.ts";
import { cpuMs } from "../support/cpu.ts";
import { ANY_CHARACTER } from "../support/any-character.ts";

const NO_FAILURE: Failure = { reason: null, codes: [], categories: [], errors: [] };

const aRun = (over: Partial<Run> = {}): Run => aTask({ run_type: "task_v2", received_at: 0, ...over });

const routesOf = (...routes: unknown[]) => RoutesSchema.parse(routes);
const meets = (run: Partial<Run>, when: unknown): boolean =>
  match(aRun(run), routesOf({ when, to: ["x"] }), ["x"]).sinks.length === 1;

describe("routes", () => {
  it("a relay without routes sends every run to every sink", () => {
    expect(match(aRun(), [], ["a", "b"])).toEqual({
      sinks: ["a", "b"],
      trace: [{ route: "default", matched: true, because: expect.stringContaining("every sink") }],
    });
  });

  it("routes that match add their sinks, each once, in the order of first mention", () => {
    const routes = routesOf({ to: ["b", "a"] }, { when: { status: "failed" }, to: ["d"] }, { to: ["a", "c"] });
    expect(match(aRun(), routes, ["a", "b", "c", "d"]).sinks).toEqual(["b", "a", "c"]);
  });

  it("routes of which none matches a run send it to no sink", () => {
    expect(match(aRun(), routesOf({ when: { status: "failed" }, to: ["a"] }), ["a"]).sinks).toEqual([]);
  });

  it("routes with stop end the search when they match, and only then", () => {
    const routes = routesOf(
      { name: "failures", when: { status: "failed" }, to: ["a"], stop: true },
      { name: "quiet", when: { status: "completed" }, to: [], stop: true },
      { name: "all", to: ["b"] },
    );
    expect(match(aRun(), routes, ["a", "b"]).sinks).toEqual([]);
    expect(match(aRun({ status: "failed" }), routes, ["a", "b"]).sinks).toEqual(["a"]);
    expect(match(aRun({ status: "canceled" }), routes, ["a", "b"]).sinks).toEqual(["b"]);
  });

  it("routes leave a trace that says of each why it did or did not match", () => {
    const routes = routesOf(
      { when: { status: "failed", channel: "x" }, to: ["a"] },
      { name: "mine", when: { channel: ["!staging", "*"], title: "!*test*" }, to: "a" },
      { to: [], stop: true },
      { name: "last", to: ["a"] },
    );
    expect(match(aRun({ channel: "prod" }), routes, ["a"]).trace).toEqual([
      { route: "route 1", matched: false, because: "status is completed, not failed" },
      { route: "mine", matched: true, because: "channel is prod; title is empty" },
      { route: "route 3", matched: true, because: "it has no conditions" },
      { route: "last", matched: false, because: 'skipped: "route 3" matched and stops the search' },
    ]);
  });

  it("routes leave a short trace of a long and hostile value, on one line", () => {
    const [entry] = match(
      aRun({ title: `\n\u0000${"x".repeat(1e6)}` }),
      routesOf({ when: { title: "y" }, to: [] }),
      [],
    ).trace;
    expect(entry?.because.length).toBeLessThan(150);
    expect(entry?.because).toContain(String.raw`title is "\n\u0000xxx`);
  });
});

const workflow = { run_id: "wr_1", permanent_id: "wpid_1", id: "w_1", title: "Invoices" };

describe("attempts", () => {
  it.each([
    [1, "1", true],
    [1, ">1", false],
    [2, ">1", true],
    [2, 2, true],
    [3, ">=3", true],
    [2, ">=3", false],
    [2, "<3", true],
    [3, "<3", false],
    [3, "<=3", true],
    [2, "!1", true],
    [1, "!1", false],
    [2, ["1", ">2"], false],
    [3, ["1", ">2"], true],
  ])("the run attempt %j meets the condition %j: %j", (attempt, attempts, met) => {
    expect(meets({ attempt }, { attempts })).toBe(met);
  });

  it.each(["", "> 1", "two", "*", "1.5", "-1", ">", "=>2"])(
    "the condition %j on run attempts is refused with what is expected",
    (attempts) => {
      expect(() => routesOf({ when: { attempts }, to: ["a"] })).toThrow(/expected a number or a comparison with one/);
    },
  );
});

describe("a condition", () => {
  it.each<[Partial<Run>, unknown]>([
    [{ status: "timed_out" }, { status: "timed_out" }],
    [{ run_type: "task_v2" }, { run_type: "task_v2" }],
    [{ workflow }, { workflow: "wpid_1" }],
    [{ workflow }, { workflow: "invoices" }],
    [{ organization_id: "o_1" }, { organization: "o_1" }],
    [{ channel: "prod" }, { channel: "prod" }],
    [{ url: "https://shop.example/cart?x=1" }, { url: "https://shop.example/*" }],
    [{ title: "Daily import" }, { title: "daily *" }],
    [{ failure: { ...NO_FAILURE, codes: ["A", "B"] } }, { error_code: "B" }],
    [{ failure: { ...NO_FAILURE, categories: ["AUTH_FAILURE"] } }, { failure_category: "AUTH_FAILURE" }],
  ])("the run %j meets the condition %j", (run, when) => {
    expect(meets(run, when)).toBe(true);
    const [key] = Object.keys(when as object);
    const never = key === "status" ? "failed" : "something else";
    expect(meets(run, { [key as string]: never })).toBe(false);
  });

  it("a condition on the workflow looks at its permanent id and title only", () => {
    expect(["wr_1", "w_1"].map((id) => meets({ workflow }, { workflow: id }))).toEqual([false, false]);
  });

  it("a condition needs all of its keys and one item of a list", () => {
    const run = { status: "failed", channel: "prod" };
    expect(meets(run, { status: ["completed", "failed"], channel: "prod" })).toBe(true);
    expect(meets(run, { status: ["completed", "failed"], channel: "test" })).toBe(false);
  });

  it("a condition ignores case", () => {
    expect(meets({ channel: "Straße" }, { channel: "STRASSE" })).toBe(true);
    expect(meets({ status: "failed" }, { status: "FAIL*" })).toBe(true);
  });

  it("a condition without a value is met by negated items only", () => {
    expect(meets({ title: null }, { title: "*" })).toBe(false);
    expect(meets({ title: null }, { title: "!a" })).toBe(true);
    expect(meets({ title: null }, { title: ["!a", "b"] })).toBe(false);
    expect(meets({ failure: null }, { error_code: "!X" })).toBe(true);
    expect(meets({ workflow: null }, { workflow: "!wpid_1" })).toBe(true);
  });

  it("a condition with negated items needs all of these met, and one of the others", () => {
    const when = { title: ["!*test*", "!draft", "import*", "draft"] };
    const titles = ["import a", "import test", "draft", "export"];
    expect(titles.map((title) => meets({ title }, when))).toEqual([true, false, false, false]);
    expect(titles.map((title) => meets({ title }, { title: ["!*test*", "!draft"] }))).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it("a condition on a field of several values refuses when any value is refused", () => {
    const failure = { ...NO_FAILURE, codes: ["A", "B"] };
    expect(meets({ failure }, { error_code: "!B" })).toBe(false);
    expect(meets({ failure }, { error_code: ["!C", "A"] })).toBe(true);
  });

  it("a condition takes a ! inside and a second ! for what they are", () => {
    expect(meets({ title: "wow!" }, { title: "wow!" })).toBe(true);
    expect(meets({ title: "!x" }, { title: "!!x" })).toBe(false);
  });
});

const textOf = (letters: string[], maxLength: number) =>
  array(constantFrom(...letters), { maxLength }).map((all) => all.join(""));

describe("a wildcard", () => {
  it.each([
    ["*", "", true],
    ["", "", true],
    ["", "a", false],
    ["a*a", "a", false],
    ["a*a", "aa", true],
    ["a*b*c", "a-c-b-c", true],
    ["*b", "abab", true],
    ["a.c", "abc", false],
    ["[a]*", "[A]b", true],
  ])("the wildcard %j covers %j: %s", (pattern, value, expected) => {
    expect(fits(pattern, value)).toBe(expected);
  });

  it("a wildcard covers exactly what the textbook definition covers", () => {
    const covers = (pattern: string, value: string): boolean => {
      if (pattern === "") return value === "";
      if (pattern[0] === "*")
        return covers(pattern.slice(1), value) || (value !== "" && covers(pattern, value.slice(1)));
      return pattern[0] === value[0] && covers(pattern.slice(1), value.slice(1));
    };
    assert(
      property(textOf(["a", "b", "*"], 8), textOf(["a", "b"], 10), (pattern, value) => {
        expect(fits(pattern, value)).toBe(covers(pattern, value));
      }),
      { numRuns: 5000 },
    );
  });

  it("a wildcard covers any text when it stands for all of it", () => {
    assert(
      property(
        string({ unit: ANY_CHARACTER }),
        (value) => fits("*", value) && fits(`${value.replaceAll("*", "")}*`, value.replaceAll("*", "")),
      ),
    );
  });

  it("a wildcard takes time in proportion to the value, not to the ways it could fit", () => {
    const url = "a".repeat(1_000_000);
    const patterns = [`${"*a".repeat(100)}*b`, `*${"a".repeat(100)}b*`, `*b${"a".repeat(100)}*`, "*a*a*a*a*a*a*a*a*b*"];
    const fitting = (): void => patterns.forEach((pattern) => expect(fits(pattern, url)).toBe(false));
    expect(cpuMs(fitting)).toBeLessThan(2_000);
  });
});
