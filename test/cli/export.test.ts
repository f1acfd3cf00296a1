/** `skyvern-relay export`: what the history API exports, without the API. */
import { execFile, execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { aFolder, anApp, PUBLIC_URL } from "../support/app.ts";
import { runCommand } from "../support/command.ts";
import { runProgram } from "../support/process.ts";
import { FIXTURE_KEY, fixtureBytes, mutated } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";

async function aHistory() {
  const folder = aFolder();
  const runtime = aRuntime();
  runtime.advance(Date.now() - runtime.now());
  const url = `sqlite:${join(folder, "relay.db")}`;
  const relay = await anApp({ DATABASE_URL: url }, { runtime });
  for (let i = 0; i < 55; i += 1) {
    await relay.webhook(mutated("task_v1.completed", { run_id: `tsk_${i}`, task_id: `tsk_${i}` }));
  }
  await relay.webhook(fixtureBytes("task_v1.failed"), { path: "/webhook/billing" });
  await relay.webhook(fixtureBytes("task_v2.completed-unicode-and-numbers"));
  const env = { SKYVERN_API_KEY: FIXTURE_KEY, DATABASE_URL: url, PUBLIC_URL };
  const run = (...args: string[]) => runCommand(["export", ...args], env);
  return { relay, folder, run, env };
}

it.each([
  ["ndjson", "/v1/runs.ndjson"],
  ["csv", "/v1/runs.csv"],
])("export as %s writes byte for byte what the API does, page after page", async (format, address) => {
  const { relay, run } = await aHistory();
  const { code, stdout, stderr } = await run("--format", format);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe((await relay.get(address)).text);
  for (let i = 0; i < 55; i += 1) expect(stdout).toContain(`tsk_${i}${format === "csv" ? "," : '"'}`);
});

it.each([
  [["--status", "failed", "terminated"], "status=failed&status=terminated"],
  [["--channel", "billing"], "channel=billing"],
  [["--run-type", "task_v2"], "run_type=task_v2"],
  [["--q", "billing tab*"], "q=billing+tab*"],
  [["--since", "2001-01-01", "--until", "2001-02-01"], "until=2001-02-01"],
  [["--source", "backfill"], "source=backfill"],
])("export filters by %j as the API does", async (args, query) => {
  const { relay, run } = await aHistory();
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toBe((await relay.get(`/v1/runs.ndjson?${query}`)).text);
});

it("export --to writes the file whole, readable by its owner alone, by the format of its name, and says how many runs", async () => {
  const { relay, folder, run } = await aHistory();
  const file = join(folder, "runs.csv");
  expect(await run("--to", file, "--json")).toEqual({
    code: 0,
    stdout: `${JSON.stringify({ file, format: "csv", runs: 57 })}\n`,
    stderr: "",
  });
  expect(readFileSync(file).subarray(0, 3)).toEqual(Buffer.from([0xef, 0xbb, 0xbf]));
  expect(readFileSync(file, "utf8")).toBe(`\uFEFF${(await relay.get("/v1/runs.csv")).text}`);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await run("--to", file, "--format", "ndjson", "--status", "failed")).toMatchObject({
    code: 0,
    stdout: `1 run in ${file}.\n`,
  });
});

it("export --to leaves out the byte order mark with --no-bom, and in NDJSON, which knows none", async () => {
  const { folder, run } = await aHistory();
  const [csv, ndjson] = [join(folder, "runs.csv"), join(folder, "runs.ndjson")];
  expect([await run("--to", csv, "--no-bom"), await run("--to", ndjson)]).toMatchObject([{ code: 0 }, { code: 0 }]);
  expect(readFileSync(csv, "utf8").slice(0, 7)).toBe("run_id,");
  expect(readFileSync(ndjson, "utf8").slice(0, 1)).toBe("{");
});

it("export --to a device writes to it and leaves it there", async () => {
  const { folder, run } = await aHistory();
  // One of its own where the test may make it, as a mistake replaces it.
  const mayMake = process.getuid?.() === 0;
  const device = mayMake ? join(folder, "full.csv") : "/dev/full";
  if (mayMake) execFileSync("mknod", [device, "c", "1", "7"]);
  const { code, stderr } = await run("--to", device);
  expect({ code, stderr }).toEqual({
    code: 1,
    stderr: "skyvern-relay export: ENOSPC: no space left on device, write\n",
  });
  expect(lstatSync(device).isCharacterDevice()).toBe(true);
});

it("export --to a pipe writes to its reader, without a byte order mark", async () => {
  const { relay, folder, env } = await aHistory();
  const pipe = join(folder, "pipe.csv");
  execFileSync("mkfifo", [pipe]);
  const reader = promisify(execFile)("cat", [pipe], { maxBuffer: 1 << 26 });
  const { code } = await runProgram(["export", "--to", pipe], env).ended;
  expect(code).toBe(0);
  expect((await reader).stdout).toBe((await relay.get("/v1/runs.csv")).text);
  expect(lstatSync(pipe).isFIFO()).toBe(true);
});

it("export --to a pipe ends without a word when its reader has seen enough", async () => {
  const { folder, env } = await aHistory();
  const pipe = join(folder, "pipe.ndjson");
  execFileSync("mkfifo", [pipe]);
  const reader = promisify(execFile)("head", ["-c", "1", pipe]);
  expect(await runProgram(["export", "--to", pipe], env).ended).toMatchObject({ code: 0, stderr: "" });
  expect((await reader).stdout).toBe("{");
});

it("export --to a link replaces what it leads to, and the link stays", async () => {
  const { folder, run } = await aHistory();
  const [target, link, missing, dangling] = ["target", "link", "missing", "dangling"].map((name) => join(folder, name));
  writeFileSync(target ?? "", "old");
  symlinkSync("target", link ?? "");
  symlinkSync("missing", dangling ?? "");
  for (const [to, written] of [
    [link, target],
    [dangling, missing],
  ] as [string, string][]) {
    expect((await run("--to", to, "--status", "failed")).code).toBe(0);
    expect(lstatSync(to).isSymbolicLink()).toBe(true);
    expect(readFileSync(written, "utf8")).toMatch(/^\{"run_id".*\n$/);
  }
});

it("export --to a file with two names writes what both show", async () => {
  const { folder, run } = await aHistory();
  const [one, two] = [join(folder, "one"), join(folder, "two")];
  writeFileSync(one, "old and longer than nothing");
  linkSync(one, two);
  expect((await run("--to", one, "--q", "nothinglikethis")).code).toBe(0);
  expect([readFileSync(one, "utf8"), readFileSync(two, "utf8")]).toEqual(["", ""]);
});

it.each(["-", "/dev/stdout"])("export --to %s writes to standard output", async (to) => {
  const { run } = await aHistory();
  const [named, plain] = [await run("--to", to, "--format", "csv"), await run("--format", "csv")];
  expect(named).toEqual(plain);
  expect(named.stdout.slice(0, 7)).toBe("run_id,");
});

it("export leaves no half file behind when it was stopped, and the old file as it was", async () => {
  const { folder, env } = await aHistory();
  const file = join(folder, "runs.ndjson");
  const ended = await runCommand(["export", "--to", file], env, { stopped: AbortSignal.abort() });
  expect(ended).toMatchObject({ code: 1, stdout: "" });
  expect(existsSync(file)).toBe(false);
  expect(readdirSync(folder).filter((name) => name.endsWith(".part"))).toEqual([]);
});

it("export says what keeps it from writing", async () => {
  const { folder, run } = await aHistory();
  chmodSync(folder, 0o700);
  const { code, stderr } = await run("--to", join(folder, "no", "such", "folder.csv"));
  expect(code).toBe(1);
  expect(stderr).toMatch(/^skyvern-relay export: ENOENT/);
});

it("export shows how far it has come where there is a terminal", async () => {
  const { folder, env } = await aHistory();
  const { stderr } = await runCommand(["export", "--to", join(folder, "x.csv")], env, { terminal: true });
  expect(stderr).toMatch(/Writing: \[#+-*\] 50 runs/);
  expect(stderr.endsWith("\r\u001B[K")).toBe(true);
});

it.each([
  [["--format", "xml"], "--format must be ndjson or csv"],
  [["--json"], "--json goes with --to"],
  [["--since", "x"], "--since must be"],
  [["--source", "nowhere"], "--source: "],
  [["--delivery", "lost"], "--delivery: "],
  [["--q", '"'], "--q: "],
])("export refuses %j as wrong usage", async (args, reason) => {
  const { code, stdout, stderr } = await runCommand(["export", ...args], { SKYVERN_API_KEY: "k" });
  expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
  expect(stderr).toContain(reason);
});
