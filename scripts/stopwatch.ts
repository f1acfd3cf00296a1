/**
 * `node scripts/stopwatch.ts TARBALL` (or a folder with an installed package): how long a new user waits. In empty
 * folders, against a stand-in Skyvern with 1,204 runs of the last seven days and a stand-in Slack:
 *
 * 1. `SKYVERN_API_KEY=… skyvern-relay`, and nothing else: until the first page shows runs of one's own (at most 20 s),
 *    and all of them.
 * 2. `skyvern-relay init` by flags, then `skyvern-relay`: until Slack has the first message of a run (at most 60 s
 *    after `init`).
 *
 * Prints the times and the requests, and ends with 1 when one is too long. `npm install` of the tarball is timed apart:
 * it depends on the network.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startSkyvern, type StandInSkyvern } from "../src/stand-ins/skyvern.ts";
import { startSlack } from "../src/stand-ins/slack.ts";
import { skyvernWorkflows } from "../test/support/skyvern-workflows.ts";

const KEY = "a-key-of-the-stopwatch";
const RUNS = 1_204;
const DAYS = 7;
const DAY_MS = 86_400_000;
const FIRST_PAGE_MS = 20_000;
const FIRST_MESSAGE_MS = 60_000;
const GIVE_UP_MS = 120_000;

const [given] = process.argv.slice(2);
if (given === undefined) throw new Error("scripts/stopwatch.ts TARBALL|FOLDER");
const root = mkdtempSync(join(tmpdir(), "relay-stopwatch-"));
const children: ChildProcess[] = [];
const lines: string[] = [];
let isLate = false;

const report = (what: string, ms: number, limitMs: number | null = null): void => {
  const over = limitMs !== null && ms > limitMs;
  isLate ||= over;
  const limit = limitMs === null ? "" : `  (at most ${limitMs / 1_000} s)${over ? "  TOO LONG" : ""}`;
  lines.push(`${(ms / 1_000).toFixed(1).padStart(6)} s  ${what}${limit}`);
};

try {
  const program = install(resolve(given));
  const skyvern = await startSkyvern({ keys: [KEY], more: skyvernWorkflows(37, { schedules: 4 }).more });
  const slack = await startSlack();
  for (let i = 0; i < RUNS; i += 1) addRun(skyvern, i, Date.now() - (i * DAYS * DAY_MS) / RUNS - 1_000);

  await timeFirstPage(program, skyvern);
  await timeFirstMessage(program, skyvern, slack);
  await Promise.all([skyvern.close(), slack.close()]);
} finally {
  for (const child of children) child.kill("SIGKILL");
  rmSync(root, { recursive: true, force: true });
}
process.stdout.write(`${lines.join("\n")}\n`);
process.exit(isLate ? 1 : 0);

/** The program of a tarball that is installed into an empty folder, or of a folder where that was done. */
function install(from: string): string {
  if (statSync(from).isDirectory()) return join(from, "bin/skyvern-relay");
  const folder = join(root, "installed");
  mkdirSync(folder);
  const startedAt = performance.now();
  execFileSync("npm", ["init", "--yes"], { cwd: folder, stdio: "ignore" });
  execFileSync("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", from], {
    cwd: folder,
  });
  report("npm install of the tarball", performance.now() - startedAt);
  return join(folder, "node_modules/skyvern-relay/bin/skyvern-relay");
}

function addRun(skyvern: StandInSkyvern, i: number, endedAt: number): void {
  const naive = (ms: number): string => new Date(ms).toISOString().replace("Z", "000");
  const id = `wr_${5_000_000 + i}`;
  const isFailed = i % 9 === 0;
  skyvern.addRun({
    payload: {
      run_id: id,
      workflow_run_id: id,
      run_type: "workflow_run",
      status: isFailed ? "failed" : "completed",
      workflow_title: `Workflow ${i % 37}`,
      workflow_permanent_id: `wpid_${i % 37}`,
      failure_reason: isFailed ? "The portal did not let it in" : null,
      output: { read_output: { total: i } },
      created_at: naive(endedAt - 60_000),
      queued_at: naive(endedAt - 59_000),
      started_at: naive(endedAt - 58_000),
      finished_at: naive(endedAt),
    },
    run_request: { workflow_id: `wpid_${i % 37}`, title: `Workflow ${i % 37}`, webhook_url: null },
  });
}

async function timeFirstPage(program: string, skyvern: StandInSkyvern): Promise<void> {
  const folder = newFolder("first-page");
  const startedAt = performance.now();
  const port = await freePort();
  const env = { SKYVERN_API_KEY: KEY, SKYVERN_BASE_URL: skyvern.url, HOST: "127.0.0.1", PORT: String(port) };
  const relay = start(program, [], folder, env);
  const token = await until("a token", () => read(join(folder, "data/relay.token")));
  const headers = { authorization: `Bearer ${token}` };
  const cookie = await until("a login", () => login(port, token));
  await until("the first page with a run", async () => {
    const page = await fetch(`http://127.0.0.1:${port}/`, { headers: { cookie } });
    return (await page.text()).includes("wr_5");
  });
  const since = new Date(Date.now() - (DAYS + 1) * DAY_MS).toISOString();
  report("first page with runs of one's own, after the command", performance.now() - startedAt, FIRST_PAGE_MS);
  await until("all runs", async () => {
    await new Promise((later) => setTimeout(later, 500));
    const answer = await fetch(`http://127.0.0.1:${port}/v1/stats?since=${since}&bucket=day`, { headers });
    const { totals } = (await answer.json()) as { totals: Record<string, number> };
    return Object.values(totals).reduce((sum, runs) => sum + runs, 0) === RUNS;
  });
  report(`all ${RUNS} runs of ${DAYS} days, after the command`, performance.now() - startedAt);
  lines.push(`${String(skyvern.calls.length).padStart(8)}  requests to Skyvern until then`);
  await stop(relay);
}

async function timeFirstMessage(
  program: string,
  skyvern: StandInSkyvern,
  slack: Awaited<ReturnType<typeof startSlack>>,
) {
  const folder = newFolder("first-message");
  const env = { SLACK_API_URL: slack.url, ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8" };
  const startedAt = performance.now();
  const flags = [
    "--key",
    KEY,
    "--base-url",
    skyvern.url,
    "--slack-bot-token",
    slack.token,
    "--slack-channel",
    "C0123ABCD",
  ];
  const init = start(program, ["init", ...flags], folder, env);
  const code = await new Promise((ended) => init.once("exit", ended));
  if (code !== 0) throw new Error(`init ended with ${String(code)}`);
  report("init by flags, with its test message", performance.now() - startedAt);
  const after = performance.now();
  const port = await freePort();
  const relay = start(program, [], folder, { ...env, HOST: "127.0.0.1", PORT: String(port) });
  await until("the relay is ready", () => fetch(`http://127.0.0.1:${port}/readyz`).then(({ ok }) => ok));
  addRun(skyvern, RUNS + 500, Date.now());
  await until("the run's message", () => slack.messages().some(({ text }) => text.includes("Workflow")));
  report("first message of a run in Slack, after init", performance.now() - after, FIRST_MESSAGE_MS);
  await stop(relay);
}

function newFolder(name: string): string {
  const folder = join(root, name);
  mkdirSync(folder);
  return folder;
}

function start(program: string, args: readonly string[], cwd: string, env: Record<string, string>): ChildProcess {
  const child = spawn(process.execPath, [program, ...args], {
    cwd,
    env: { PATH: process.env["PATH"], HOME: root, ...env },
    stdio: ["ignore", "ignore", "inherit"],
  });
  children.push(child);
  return child;
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  await new Promise((ended) => child.once("exit", ended));
}

function read(file: string): string | null {
  return existsSync(file) ? readFileSync(file, "utf8").trim() || null : null;
}

async function login(port: number, token: string): Promise<string | null> {
  const url = `http://127.0.0.1:${port}/login`;
  const headers = { origin: `http://127.0.0.1:${port}`, "sec-fetch-site": "same-origin" };
  const body = new URLSearchParams({ token });
  const answer = await fetch(url, { method: "POST", headers, body, redirect: "manual" });
  return answer.headers.get("set-cookie")?.split(";")[0] ?? null;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

/** Asks again and again; what cannot be asked yet is asked again too. */
async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  for (const end = performance.now() + GIVE_UP_MS; performance.now() < end;) {
    const found = await Promise.resolve()
      .then(look)
      .catch(() => null);
    if (found !== null && found !== undefined && found !== false) return found;
    await new Promise((later) => setTimeout(later, 50));
  }
  throw new Error(`waited ${GIVE_UP_MS / 1_000} s in vain for ${what}`);
}
