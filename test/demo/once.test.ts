import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { SINK_STAND_INS } from "../../src/stand-ins/sinks.ts";
import { aFreePort } from "../support/free-port.ts";
import { runProgram } from "../support/process.ts";

const EDGE_DEMO = fileURLToPath(new URL("../../scripts/edge/demo.ts", import.meta.url));

it.each([
  ["demo --once", undefined, ["demo", "--once", "--port", String(await aFreePort())]],
  ["demo --edge --once, inside workerd,", EDGE_DEMO, ["--edge", "--once"]],
])(
  "%s delivers every sample everywhere and ends with 0",
  async (_name, main, args) => {
    const { code, stdout } = await runProgram(args, {}, undefined, main).ended;
    expect(stdout).toContain(`arrived once in each of ${Object.keys(SINK_STAND_INS).length} sinks`);
    const port = args[args.indexOf("--port") + 1];
    if (args.includes("--port")) expect(stdout).toContain(`http://localhost:${port}`);
    expect(code).toBe(0);
  },
  180_000,
);
