import { expect, it } from "vitest";
import { runProgram } from "../support/process.ts";

it.each([
  ["demo --once", ["demo", "--once"]],
  ["demo --edge --once, inside workerd,", ["demo", "--edge", "--once"]],
])(
  "%s delivers every sample everywhere and ends with 0",
  async (_name, args) => {
    const { code, stdout } = await runProgram(args, {}).ended;
    expect(stdout).toMatch(/arrived once in each of 3 sinks/);
    expect(code).toBe(0);
  },
  60_000,
);
