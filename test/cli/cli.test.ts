import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { COMMANDS, runCli } from "../../src/cli/cli.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { aFolder, anApp } from "../support/app.ts";
import { runProgram } from "../support/process.ts";

interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command in this process; it is told to stop at once. */
async function run(args: readonly string[], env: Record<string, string> = {}): Promise<Result> {
  let stdout = "";
  let stderr = "";
  const code = await runCli(args, {
    env: { RELAY_CONFIG: "", ...env },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped: AbortSignal.abort(),
  });
  return { code, stdout, stderr };
}

function aFile(text: string): string {
  const path = join(aFolder(), "relay.yaml");
  writeFileSync(path, text);
  return path;
}

const KEY = "a-key-of-the-tests";
const NAMES = Object.keys(COMMANDS);

/** Options without which a command says nothing else. */
const NEEDED: Record<string, string[]> = {
  open: ["tsk_1"],
  backfill: ["--since", "7d"],
  backup: ["--to", "x"],
  copy: ["--from", "x"],
};

describe("usage", () => {
  it("skyvern-relay --help lists every command, and --version prints one line", async () => {
    const help = await run(["--help"]);
    expect(help).toMatchObject({ code: 0, stderr: "" });
    for (const command of NAMES) expect(help.stdout).toMatch(new RegExp(`^  ${command}\\b`, "m"));
    expect(await run(["--version"])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\S*\n$/) as string,
    });
  });

  it.each(NAMES)("%s --help says what it does, without a configuration", async (command) => {
    const { code, stdout, stderr } = await run([command, "--help"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain(`Usage: skyvern-relay ${command}`);
  });

  it.each(NAMES)("the command %s refuses an option that it does not have, whatever else is given", async (command) => {
    const { code, stdout, stderr } = await run([command, ...(NEEDED[command] ?? []), "--no-such-option"], {
      SKYVERN_API_KEY: KEY,
    });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("unknown option '--no-such-option'");
  });

  it.each(["why", "open", "redeliver"])("the command %s refuses an empty run id as wrong usage", async (command) => {
    const { code, stdout, stderr } = await run([command, ""], { SKYVERN_API_KEY: KEY });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("an argument is empty");
  });

  it.each([
    ["backup", ["--to", ""], "--to <place>"],
    ["runs", ["--status", "failed", " "], "--status <status...>"],
  ])("the command %s refuses an empty value, which a script's variable was to fill", async (command, args, option) => {
    const { code, stdout, stderr } = await run([command, ...args], { SKYVERN_API_KEY: KEY });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(`the value of option '${option}' is empty`);
  });

  it.each([
    [["sevre"]],
    [["serve", "--prot", "1"]],
    [["check", "extra"]],
    [["--nothing"]],
    [["demo", "--port"]],
    [["demo", "--port", "eighty"]],
    [["demo", "--port", "70000"]],
    [["demo", "--port", "-1"]],
  ])("skyvern-relay refuses %j as wrong usage with exit code 2, and says why on stderr", async (args) => {
    const { code, stdout, stderr } = await run(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).not.toBe("");
    expect(stderr).not.toMatch(/^\s+at /m);
  });
});

it("skyvern-relay without a command does what `serve` does", async () => {
  const faulty = { PORT: "x" };
  expect(await run([], faulty)).toEqual(await run(["serve"], faulty));
});

describe("check", () => {
  const env = { SKYVERN_API_KEY: KEY, PUBLIC_URL: "https://relay.example.com", RELAY_TOKEN: "a-token-long-enough" };

  it("check says what is set up, and shows no secret", async () => {
    const { code, stdout, stderr } = await run(["check"], {
      ...env,
      SINK_URL: "https://crm.example.com/?token=hunter2",
    });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("https://relay.example.com/webhook");
    expect(stdout).toContain("http (http)");
    for (const secret of [KEY, "a-token-long-enough", "hunter2"]) expect(stdout).not.toContain(secret);
  });

  it("check names the routes of a file and notes what is odd", async () => {
    const path = aFile(
      "sinks: { ops: { kind: http, url: https://x.example/ } }\nroutes: [{ name: bad, when: { status: failed }, to: [ops] }, { name: trials, to: [], stop: true }]\n",
    );
    const { code, stdout } = await run(["check"], { SKYVERN_API_KEY: KEY, RELAY_CONFIG: path });
    expect(code).toBe(0);
    expect(stdout).toContain("bad → ops; trials → nobody, and stops");
    expect(stdout).not.toContain("Webhook:");
    expect(stdout).toContain("Page:    http://localhost:8080/, token in ./data/relay.token (made at the first start)");
    expect(stdout).toMatch(/Off: .*webhooks from Skyvern, because PUBLIC_URL is not set.*\n +turn it on: PUBLIC_URL=/);
    expect(stdout).toContain("every run: the relay reads Skyvern's list every 10s, with at most 3600 requests an hour");
  });

  it("check --json prints JSON when all is right", async () => {
    const { code, stdout } = await run(["check", "--json"], env);
    const json = JSON.parse(stdout) as JsonObject;
    expect([code, json["ok"]]).toEqual([0, true]);
    expect(stdout).not.toContain(KEY);
  });

  it("check lists every fault at once on stderr, with exit code 2", async () => {
    const path = aFile("sinks: { ops: { kind: pigeon } }\nroutes: [{ to: [nobody] }]\n");
    const { code, stdout, stderr } = await run(["check"], { PORT: "x", RELAY_CONFIG: path });
    expect([code, stdout]).toEqual([2, ""]);
    for (const place of ["SKYVERN_API_KEY", "PORT", `${path}:1:`, `${path}:2:`]) expect(stderr).toContain(place);
  });

  it("check --json lists faults as JSON on stdout", async () => {
    const { code, stdout, stderr } = await run(["check", "--json"], { PORT: "x" });
    const { ok, faults } = JSON.parse(stdout) as { ok: boolean; faults: { where: string }[] };
    expect([code, ok, stderr]).toEqual([2, false, ""]);
    expect(faults.map(({ where }) => where)).toEqual(expect.arrayContaining(["SKYVERN_API_KEY", "PORT"]));
  });
});

it("openapi prints the document that the relay serves, without any configuration", async () => {
  const relay = await anApp();
  const { code, stdout, stderr } = await run(["openapi"]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toEqual((await relay.get("/openapi.json")).json());
});

it("serve with a wrong configuration lists the faults and starts nothing", async () => {
  const { code, stdout, stderr } = await run(["serve"], { PORT: "x" });
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toContain("SKYVERN_API_KEY");
});

it("the program takes its arguments, writes to its own streams and ends with the code", async () => {
  expect(await runProgram(["--version"], {}).ended).toMatchObject({ code: 0, stderr: "" });
  expect(await runProgram(["sevre"], {}).ended).toMatchObject({ code: 2, stdout: "" });
});
