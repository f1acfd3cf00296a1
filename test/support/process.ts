/** The real program as a process of its own, ended when the test ends. */
import { spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import { aFolder, TOKEN } from "./app.ts";
import { FIXTURE_KEY, signatureOf } from "./fixtures.ts";
import { until } from "./until.ts";

const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface Program {
  pid: number;
  stdout(): string;
  stderr(): string;
  signal(signal: NodeJS.Signals): void;
  ended: Promise<Ended>;
}

/** Runs `skyvern-relay <args>` with nothing in its environment but `env`, in a folder of its own. */
export function runProgram(
  args: readonly string[],
  env: Record<string, string>,
  file?: string,
  main: string = MAIN,
): Program {
  const cwd = aFolder();
  if (file !== undefined) writeFileSync(join(cwd, "relay.yaml"), file);
  const child = spawn(process.execPath, [main, ...args], { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => void (stdout += chunk.toString("utf8")));
  child.stderr.on("data", (chunk: Buffer) => void (stderr += chunk.toString("utf8")));
  const ended = new Promise<Ended>((resolve) => {
    child.on("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  onTestFinished(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return {
    pid: child.pid ?? -1,
    stdout: () => stdout,
    stderr: () => stderr,
    signal: (signal) => void child.kill(signal),
    ended,
  };
}

export interface RelayProcess extends Program {
  url: string;
  port: number;
  /** A signed webhook; the status, the headers and the answer's JSON. Rejects when the relay is gone. */
  webhook(body: string | Uint8Array): Promise<{ status: number; headers: Headers; json: Record<string, unknown> }>;
  read<T>(path: string): Promise<T>;
}

/** `skyvern-relay serve` on a free port of 127.0.0.1; resolves when it accepts webhooks. */
export async function serve(env: Record<string, string>, file?: string): Promise<RelayProcess> {
  const program = runProgram(
    ["serve"],
    {
      SKYVERN_API_KEY: FIXTURE_KEY,
      HOST: "127.0.0.1",
      PORT: "0",
      RELAY_TOKEN: TOKEN,
      ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
      ...env,
    },
    file,
  );
  let gone: Ended | null = null;
  void program.ended.then((ended) => {
    gone = ended;
  });
  const port = await until("the relay has started", () => {
    if (gone) throw new Error(`the relay ended: ${JSON.stringify(gone)}`);
    return Number(/"port":(\d+)/.exec(program.stdout())?.[1] ?? 0) || null;
  });
  const url = `http://127.0.0.1:${port}`;
  return {
    ...program,
    url,
    port,
    webhook: async (body) => {
      const response = await fetch(`${url}/webhook`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-skyvern-signature": signatureOf(body) },
        body: Buffer.from(body),
      });
      return {
        status: response.status,
        headers: response.headers,
        json: (await response.json()) as Record<string, unknown>,
      };
    },
    read: async <T>(path: string) => {
      const response = await fetch(url + path, { headers: { authorization: `Bearer ${TOKEN}` } });
      return (await response.json()) as T;
    },
  };
}

/** As `kill -9`: resolves when the process is gone. */
export async function kill9({ signal, ended }: Program): Promise<void> {
  signal("SIGKILL");
  await ended;
}
