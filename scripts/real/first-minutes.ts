/**
 * How long a new user of a real Skyvern waits: until the relay has a run of theirs, and after `init` for a run's
 * message in Slack.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { startSlack } from "../../src/stand-ins/slack.ts";
import { freePort } from "./processes.ts";
import type { SkyvernApi } from "./skyvern-api.ts";

const FIRST_PAGE_MS = 20_000;
const FIRST_MESSAGE_MS = 60_000;

export interface FirstMinutes {
  said: string;
  faults: string[];
}

export async function timeFirstMinutes(
  skyvern: SkyvernApi,
  { url, key }: { url: string; key: string },
): Promise<FirstMinutes> {
  const folder = mkdtempSync(join(tmpdir(), "relay-first-minutes-"));
  const children: ChildProcess[] = [];
  const start = (args: readonly string[], env: Record<string, string>): ChildProcess => {
    const given = { PATH: process.env["PATH"], HOME: folder, ...env };
    const options = { cwd: folder, env: given, stdio: "ignore" } as const;
    const child = spawn(process.execPath, [join(import.meta.dirname, "../../bin/skyvern-relay"), ...args], options);
    children.push(child);
    return child;
  };
  const slack = await startSlack();
  try {
    const agent = await skyvern.workflow("first minutes", [{ block_type: "code", label: "sum", code: "x = 1" }]);
    const page = await timeFirstRun(start, { folder, url, key, runId: await skyvern.run(agent) });
    const env = { SLACK_API_URL: slack.url, ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8" };
    const flags = ["--key", key, "--base-url", url, "--slack-bot-token", slack.token, "--slack-channel", "C0123ABCD"];
    const code = await ended(start(["init", ...flags], env));
    if (code !== 0) return { said: "", faults: [`init ended with ${String(code)}`] };
    const startedAt = performance.now();
    const port = await freePort();
    start([], { ...env, HOST: "127.0.0.1", PORT: String(port), DATABASE_URL: `sqlite:${join(folder, "second.db")}` });
    await until("the relay is ready", async () => (await fetch(`http://127.0.0.1:${port}/readyz`)).ok);
    const runId = await skyvern.run(agent, { webhook_url: null });
    await until("Slack's message", () => slack.messages().some(({ blocks }) => JSON.stringify(blocks).includes(runId)));
    const message = performance.now() - startedAt;
    return {
      said: `the first run of one's own after ${seconds(page)}, first message ${seconds(message)} after init`,
      faults: [
        ...(page > FIRST_PAGE_MS ? [`the first run took longer than ${seconds(FIRST_PAGE_MS)}`] : []),
        ...(message > FIRST_MESSAGE_MS ? [`the first message took longer than ${seconds(FIRST_MESSAGE_MS)}`] : []),
      ],
    };
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await slack.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface FirstRun {
  folder: string;
  url: string;
  key: string;
  runId: string;
}

/** From the command until the relay has the run: a key, and nothing else. */
async function timeFirstRun(
  start: (args: readonly string[], env: Record<string, string>) => ChildProcess,
  { folder, url, key, runId }: FirstRun,
): Promise<number> {
  const startedAt = performance.now();
  const port = await freePort();
  const env = { SKYVERN_API_KEY: key, SKYVERN_BASE_URL: url, HOST: "127.0.0.1", PORT: String(port) };
  const relay = start([], env);
  const file = join(folder, "data/relay.token");
  await until("a token", () => existsSync(file) && readFileSync(file, "utf8") !== "");
  const headers = { authorization: `Bearer ${readFileSync(file, "utf8").trim()}` };
  const runs = `http://127.0.0.1:${port}/v1/runs/${runId}`;
  await until("the run", async () => (await fetch(runs, { headers })).ok);
  const taken = performance.now() - startedAt;
  relay.kill("SIGTERM");
  await ended(relay);
  return taken;
}

const ended = (child: ChildProcess): Promise<unknown> => new Promise((resolve) => child.once("exit", resolve));
const seconds = (ms: number): string => `${(ms / 1_000).toFixed(1)} s`;

async function until(what: string, look: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 2 * FIRST_MESSAGE_MS; performance.now() < end; await sleep(100)) {
    const isThere = await Promise.resolve()
      .then(look)
      .catch(() => false);
    if (isThere) return;
  }
  throw new Error(`waited in vain for ${what}`);
}
