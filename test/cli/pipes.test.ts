/** What a command writes arrives whole, in whatever it is piped into. Real pipes: they hold 64 kB. */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { aFolder, anApp, PUBLIC_URL } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { FIXTURE_KEY, mutated } from "../support/fixtures.ts";

const PROGRAM = `${process.execPath} ${fileURLToPath(new URL("../../src/main.ts", import.meta.url))}`;

/** Runs a line of shell with `$RELAY` as the program. */
const shell = (line: string, env: Record<string, string> = {}) =>
  promisify(execFile)("bash", ["--norc", "-c", `set -o pipefail; RELAY=${JSON.stringify(PROGRAM)}; ${line}`], {
    cwd: aFolder(),
    env: { PATH: process.env["PATH"], RELAY_CONFIG: "", ...env },
    maxBuffer: 1 << 26,
  });

/** A database whose export is larger than a pipe. */
async function aLongHistory() {
  const DATABASE_URL = `sqlite:${aFolder()}/relay.db`;
  const relay = await anApp({ DATABASE_URL });
  for (let i = 0; i < 120; i += 1) {
    const output = { text: `${i} `.repeat(1_000) };
    await relay.webhook(mutated("task_v2.completed", { run_id: `tsk_v2_${i}`, task_id: `tsk_v2_${i}`, output }));
  }
  return { env: { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL, PUBLIC_URL } };
}

it("openapi prints its document whole to a reader that takes its time", async () => {
  const { stdout } = await shell("$RELAY openapi | (sleep 1; cat)");
  expect(stdout).toBe((await runCommand(["openapi"])).stdout);
  expect(stdout.length).toBeGreaterThan(65_536);
});

it("export prints all of the runs into gzip", async () => {
  const { env } = await aLongHistory();
  const { stdout } = await shell("$RELAY export | (sleep 1; gzip) | gunzip", env);
  const lines = stdout.trimEnd().split("\n");
  expect(new Set(lines.map((line) => (JSON.parse(line) as { run_id: string }).run_id)).size).toBe(120);
  expect(lines).toHaveLength(120);
});

it("a reader that has seen enough ends the command without a word and with exit code 0", async () => {
  const { env } = await aLongHistory();
  const { stdout, stderr } = await shell("{ $RELAY export; echo code $? >&2; } | head -c 10", env);
  expect({ stdout: stdout.length, stderr }).toEqual({ stdout: 10, stderr: "code 0\n" });
});

it("a closed standard error changes no exit code", async () => {
  const { stdout } = await shell("({ $RELAY export; echo code $? >&9; } 2>&1 >/dev/null | true) 9>&1");
  expect(stdout).toBe("code 2\n");
});

it("a command whose output cannot be written fails and says why", async () => {
  const { stderr } = await shell("$RELAY openapi > /dev/full || echo code $? >&2");
  expect(stderr).toBe(
    "skyvern-relay: the output could not be written: ENOSPC: no space left on device, write\ncode 1\n",
  );
});

it("export reads no further than its reader takes", async () => {
  const { env } = await aLongHistory();
  const written: number[] = [0];
  const code = await runCli(["export"], {
    env: { RELAY_CONFIG: "", ...env },
    stdout: (text) => void (written[0] = (written[0] ?? 0) + text.length),
    stderr: () => {},
    flushed: async () => void written.unshift(0),
    stopped: new AbortController().signal,
  });
  expect({ code, most: Math.max(...written) < 600_000, pages: written.filter((length) => length > 0).length }).toEqual({
    code: 0,
    most: true,
    pages: 3,
  });
});
