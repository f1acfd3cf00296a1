/** The first start with nothing but a key: a token of its own, a link that logs in once, settings from `.env`. */
import { execFile } from "node:child_process";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { runCli } from "../../src/cli/cli.ts";
import { startSkyvern } from "../support/skyvern.ts";
import { aFolder } from "../support/app.ts";
import { FIXTURE_KEY } from "../support/fixtures.ts";
import { aFreePort } from "../support/free-port.ts";
import { runProgram } from "../support/process.ts";
import { until } from "../support/until.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

async function aSkyvern(): Promise<string> {
  const skyvern = await startSkyvern({ keys: [FIXTURE_KEY] });
  onTestFinished(() => skyvern.close());
  return skyvern.url;
}

/** `skyvern-relay` without a command, as a terminal has it. Ended when the test ends. */
async function onATerminal(env: Record<string, string> = {}) {
  const folder = aFolder();
  const stopping = new AbortController();
  let stdout = "";
  const ended = runCli([], {
    env: {
      SKYVERN_API_KEY: FIXTURE_KEY,
      SKYVERN_BASE_URL: await aSkyvern(),
      DATABASE_URL: `sqlite:${folder}/relay.db`,
      RELAY_CONFIG: "",
      HOST: "127.0.0.1",
      PORT: String(await aFreePort()),
      LOG_LEVEL: "silent",
      ...env,
    },
    stdout: (text) => void (stdout += text),
    stderr: () => {},
    stopped: stopping.signal,
    screen: { colour: false, columns: () => 80 },
  });
  onTestFinished(async () => {
    stopping.abort();
    expect(await ended).toBe(0);
  });
  await until("it has said where it is", () => stdout.includes("Stored"));
  const token = () => readFileSync(join(folder, "relay.token"), "utf8").trim();
  return { stdout: () => stdout, folder, token };
}

const linkIn = (text: string): string => /http:\/\/\S+\/login\/\S+/.exec(text)?.[0] ?? "";

it("the first start makes a token that only its owner reads, and shows a terminal a login link that works once", async () => {
  const { stdout, folder, token } = await onATerminal();
  expect(statSync(join(folder, "relay.token")).mode & 0o777).toBe(0o600);
  expect(token()).toMatch(/^[0-9a-f]{64}$/);
  expect(stdout()).not.toContain(token());

  const link = linkIn(stdout());
  await fetch(link, { method: "HEAD", redirect: "manual" });
  const first = await fetch(link, { redirect: "manual" });
  expect([first.status, first.headers.get("location")]).toEqual([303, "/"]);
  const cookie = first.headers.get("set-cookie")?.split(";")[0] ?? "";
  expect((await fetch(new URL("/", link), { headers: { cookie }, redirect: "manual" })).status).toBe(200);

  const second = await fetch(link, { redirect: "manual" });
  expect([second.status, second.headers.get("set-cookie")]).toEqual([401, null]);
  expect(await second.text()).toContain("used already");
});

it("the first start shows no login link for an address that others on the way can read", async () => {
  const { stdout, folder } = await onATerminal({ PUBLIC_URL: "http://relay.example.com" });
  expect(linkIn(stdout())).toBe("");
  expect(stdout()).toContain(`the token in ${folder}/relay.token`);
});

it("the first start says what is off in one line each, with the line that turns it on", async () => {
  const { stdout } = await onATerminal();
  expect(stdout()).toMatch(/Off +messages: no sink .*\n +turn it on: .*SLACK_WEBHOOK_URL=/);
  expect(stdout()).toMatch(/Off +webhooks from Skyvern, because PUBLIC_URL is not set; .*\n +turn it on: PUBLIC_URL=/);
});

it("a relay logs neither the token it made nor a login link, and has the same token at the next start", async () => {
  const folder = aFolder();
  const env = {
    SKYVERN_API_KEY: FIXTURE_KEY,
    SKYVERN_BASE_URL: await aSkyvern(),
    DATABASE_URL: `sqlite:${folder}/relay.db`,
    HOST: "127.0.0.1",
    PORT: "0",
  };
  const answers: number[] = [];
  const tokens = new Set<string>();
  for (let start = 0; start < 2; start += 1) {
    const relay = runProgram([], env);
    const port = await until("it has started", () => /"port":(\d+)/.exec(relay.stdout())?.[1]);
    const token = readFileSync(join(folder, "relay.token"), "utf8").trim();
    tokens.add(token);
    const headers = { authorization: `Bearer ${token}` };
    answers.push((await fetch(`http://127.0.0.1:${port}/v1/runs`, { headers })).status);
    relay.signal("SIGTERM");
    const { stdout, stderr, code } = await relay.ended;
    expect(code).toBe(0);
    expect(stdout + stderr).not.toContain(token);
    expect(stdout + stderr).not.toContain("/login/");
    for (const line of stdout.trim().split("\n")) expect(JSON.parse(line)).toHaveProperty("event");
  }
  expect([answers, tokens.size]).toEqual([[200, 200], 1]);
});

it("a relay refuses a token file that holds no token, and names it", async () => {
  const folder = aFolder();
  writeFileSync(join(folder, "relay.token"), "");
  const { code, stderr } = await runProgram([], {
    SKYVERN_API_KEY: FIXTURE_KEY,
    DATABASE_URL: `sqlite:${folder}/relay.db`,
  }).ended;
  expect(code).toBe(2);
  expect(stderr).toContain(`${folder}/relay.token: holds no token: delete it`);
});

const AT_A_TERMINAL = `
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
said = b""
while b"relay started" not in said:
    said += os.read(fd, 4096)
os.kill(pid, 1)
while b"config unchanged" not in said:
    said += os.read(fd, 4096)
os.close(fd)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;

it("a relay at a terminal reloads at a SIGHUP, and stops when its terminal is closed", async () => {
  const folder = aFolder();
  const env = {
    PATH: process.env["PATH"],
    SKYVERN_API_KEY: FIXTURE_KEY,
    SKYVERN_BASE_URL: await aSkyvern(),
    DATABASE_URL: `sqlite:${folder}/relay.db`,
    HOST: "127.0.0.1",
    PORT: "0",
    NO_COLOR: "1",
  };
  const args = ["-c", AT_A_TERMINAL, process.execPath, MAIN, "serve"];
  const { stdout } = await promisify(execFile)("python3", args, { cwd: folder, env });
  expect(stdout).toBe("0\n");
});

it("a relay says which port is taken, and what to do", async () => {
  const other = createServer();
  await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void other.close());
  const { port } = other.address() as AddressInfo;
  const { code, stderr } = await runProgram([], {
    SKYVERN_API_KEY: FIXTURE_KEY,
    DATABASE_URL: `sqlite:${aFolder()}/relay.db`,
    HOST: "127.0.0.1",
    PORT: String(port),
  }).ended;
  expect([code, stderr]).toEqual([
    1,
    `skyvern-relay: port ${port} is taken: stop what listens there, or set PORT to another one\n`,
  ]);
});

it("a relay says which HOST is no address of this machine, and closes its database", async () => {
  const folder = aFolder();
  const { code, stderr } = await runProgram([], {
    SKYVERN_API_KEY: FIXTURE_KEY,
    DATABASE_URL: `sqlite:${folder}/relay.db`,
    HOST: "192.0.2.1",
    PORT: "0",
  }).ended;
  expect([code, stderr]).toEqual([
    1,
    "skyvern-relay: HOST 192.0.2.1 is no address of this machine: set it to one, or to 0.0.0.0 for all\n",
  ]);
  expect(readdirSync(folder).filter((name) => name.endsWith("-wal"))).toEqual([]);
});

it("a second relay on a database says that another relay has it, and leaves the token of that one", async () => {
  const folder = aFolder();
  const env = {
    SKYVERN_API_KEY: FIXTURE_KEY,
    SKYVERN_BASE_URL: await aSkyvern(),
    DATABASE_URL: `sqlite:${folder}/relay.db`,
    HOST: "127.0.0.1",
    PORT: "0",
  };
  const first = runProgram([], env);
  await until("it has started", () => first.stdout().includes("relay.started"));
  const token = readFileSync(join(folder, "relay.token"), "utf8");
  const { code, stderr } = await runProgram([], env).ended;
  expect(code).toBe(1);
  expect(stderr.trim().split("\n")).toEqual([
    expect.stringMatching(
      /^skyvern-relay: the database .* another skyvern-relay process runs on this database; stop it/,
    ),
  ]);
  expect(readFileSync(join(folder, "relay.token"), "utf8")).toBe(token);
});

it("the program says on an old Node which one it needs, in one line", async () => {
  const old = 'Object.defineProperty(process, "versions", { value: { ...process.versions, node: "20.20.2" } })';
  const program = join(dirname(MAIN), "../bin/skyvern-relay");
  const args = ["--import", `data:text/javascript,${encodeURIComponent(old)}`, program, "--version"];
  await expect(promisify(execFile)(process.execPath, args)).rejects.toMatchObject({
    code: 1,
    stdout: "",
    stderr: "skyvern-relay needs Node 24 or newer, this is 20.20.2: https://nodejs.org\n",
  });
});

it("the program reads .env where it starts, and the environment wins", async () => {
  const cwd = aFolder();
  writeFileSync(join(cwd, ".env"), "SKYVERN_API_KEY=from-the-file\nPORT=1111\nMETRICS_PORT=2222\n");
  const env = { PATH: process.env["PATH"], PORT: "3333" };
  const { stdout } = await promisify(execFile)(process.execPath, [MAIN, "check", "--json"], { cwd, env });
  const { config } = JSON.parse(stdout) as { config: { listen: object } };
  expect(config.listen).toMatchObject({ port: 3333, metrics_port: 2222 });
});
