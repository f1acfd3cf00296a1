/**
 * Skyvern's server and the relay as child processes on loopback, which can be stopped and started again on their data.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface Server {
  url: string;
  start(env?: Record<string, string>): Promise<void>;
  /** Ends it and its children; `how` SIGKILL leaves it no time. */
  stop(how?: NodeJS.Signals): Promise<void>;
}

export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Program {
  name: string;
  dir: string;
  command: readonly string[];
  cwd?: string;
  env: Record<string, string>;
  /** Answers 200 when it is up. */
  probe: string;
  timeoutMs: number;
}

function serverOf(url: string, program: Program): Server {
  let child: ChildProcess | null = null;
  return {
    url,
    start: async (env = {}) => {
      const log = openSync(join(program.dir, `${program.name}.log`), "a");
      const [command = "", ...args] = program.command;
      const given = { PATH: process.env["PATH"] ?? "", HOME: program.dir, ...program.env, ...env };
      const started = spawn(command, args, {
        detached: true,
        cwd: program.cwd ?? process.cwd(),
        env: given,
        stdio: ["ignore", log, log],
      });
      child = started;
      const deadline = Date.now() + program.timeoutMs;
      while (Date.now() < deadline) {
        if (started.exitCode !== null) break;
        const answer = await fetch(program.probe).catch(() => null);
        await answer?.body?.cancel();
        if (answer?.ok === true) return;
        await sleep(300);
      }
      throw new Error(`${program.name} did not start: see ${join(program.dir, `${program.name}.log`)}`);
    },
    stop: async (how = "SIGTERM") => {
      const ending = child;
      child = null;
      if (ending?.pid === undefined || ending.exitCode !== null) return;
      const ended = new Promise((resolve) => ending.once("exit", resolve));
      process.kill(-ending.pid, how);
      await Promise.race([
        ended,
        sleep(20_000, null, { ref: false }).then(() => process.kill(-(ending.pid ?? 0), "SIGKILL")),
      ]);
    },
  };
}

export interface SkyvernOptions {
  dir: string;
  modelUrl: string;
  smtp: { port: number; user: string; password: string };
}

/** Its data lie in `dir`/data. The key is known once it was started. */
export async function aSkyvern({ dir, modelUrl, smtp }: SkyvernOptions): Promise<Server & { key(): string }> {
  const data = join(dir, "data");
  mkdirSync(join(dir, "site"), { recursive: true });
  mkdirSync(data, { recursive: true });
  // Skyvern asks the DNS whether a recipient's domain takes mail, which no invented one does.
  const site =
    "try:\n    import email_validator\n    email_validator.CHECK_DELIVERABILITY = False\nexcept ImportError:\n    pass\n";
  writeFileSync(join(dir, "site", "sitecustomize.py"), site);
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = {
    HOME: data,
    ENV: "local",
    PORT: String(port),
    PYTHONPATH: join(dir, "site"),
    PLAYWRIGHT_BROWSERS_PATH: join(dir, "browsers"),
    SKYVERN_ENV_FILE: join(data, ".env"),
    SKYVERN_BASE_URL: url,
    SKYVERN_APP_URL: "http://127.0.0.1:8080",
    SKYVERN_TELEMETRY: "false",
    DO_NOT_TRACK: "1",
    LITELLM_LOCAL_MODEL_COST_MAP: "True",
    SKYVERN_STORAGE_TYPE: "local",
    ARTIFACT_STORAGE_PATH: join(data, "artifacts"),
    DOWNLOAD_PATH: join(data, "downloads"),
    VIDEO_PATH: join(data, "video"),
    HAR_PATH: join(data, "har"),
    LOG_PATH: join(data, "log"),
    BROWSER_TYPE: "chromium-headless",
    // The runs' own pages are on loopback.
    ALLOWED_HOSTS: '["127.0.0.1"]',
    ENABLE_OPENAI_COMPATIBLE: "true",
    LLM_KEY: "OPENAI_COMPATIBLE",
    SECONDARY_LLM_KEY: "OPENAI_COMPATIBLE",
    OPENAI_COMPATIBLE_MODEL_NAME: "stand-in",
    OPENAI_COMPATIBLE_API_KEY: "none",
    OPENAI_COMPATIBLE_API_BASE: `${modelUrl}/v1`,
    OPENAI_COMPATIBLE_SUPPORTS_VISION: "true",
    SMTP_HOST: "127.0.0.1",
    SMTP_PORT: String(smtp.port),
    SMTP_USERNAME: smtp.user,
    SMTP_PASSWORD: smtp.password,
    ALLOW_SMTP_INTERNAL_HOSTS: "true",
  };
  // Skyvern's own command listens on every address.
  const args = ["--factory", "--host", "127.0.0.1", "--port", String(port), "--loop", "asyncio", "--no-access-log"];
  const command = [join(dir, "venv/bin/uvicorn"), "skyvern.forge.api_app:create_api_app", ...args];
  const probe = `${url}/api/v1/heartbeat`;
  const server = serverOf(url, { name: "skyvern", dir, command, cwd: data, env, probe, timeoutMs: 120_000 });
  return {
    ...server,
    key: () => /^SKYVERN_API_KEY=['"]?([^'"\n]+)/m.exec(readFileSync(join(data, ".env"), "utf8"))?.[1] ?? "",
  };
}

/** `env`: what it is started with, for its other commands. */
export async function aRelay(dir: string, env: Record<string, string>): Promise<Server & { env: typeof env }> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const command = [process.execPath, "src/main.ts", "serve"];
  const given = { ...env, HOST: "127.0.0.1", PORT: String(port), PUBLIC_URL: url, LOG_FORMAT: "json" };
  const server = serverOf(url, { name: "relay", dir, command, env: given, probe: `${url}/readyz`, timeoutMs: 30_000 });
  return { ...server, env: given };
}
