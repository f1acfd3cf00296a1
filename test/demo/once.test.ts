import { expect, it } from "vitest";
import { runProgram } from "../support/process.ts";

it("demo --once delivers every sample everywhere and ends with 0", async () => {
  const { code, stdout } = await runProgram(["demo", "--once"], {}).ended;
  expect(stdout).toMatch(/arrived once in each of 3 sinks/);
  expect(code).toBe(0);
}, 60_000);
