/** The running program on SQLite in a folder of its own, for the measurements of this folder. */
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const TOKEN = "a-token-of-the-measurement";
const KEY = "a-key-of-the-measurement";
const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url));

export interface MeasuredRelay {
  port: number;
  pid: number;
  agent: Agent;
  end(): Promise<void>;
}

/**
 * `yaml`: relay.yaml. `skyvern`: nobody is there unless told, so what Skyvern is asked gets no answer. Nothing of its
 * environment is used.
 */
export async function aRelay(yaml = "", skyvern = "http://127.0.0.1:9"): Promise<MeasuredRelay> {
  const folder = mkdtempSync(join(tmpdir(), "skyvern-relay-guards-"));
  writeFileSync(join(folder, "relay.yaml"), yaml || "redact: { keys: [iban] }\n");
  const env = {
    SKYVERN_API_KEY: KEY,
    SKYVERN_BASE_URL: skyvern,
    RELAY_TOKEN: TOKEN,
    ALLOW_PRIVATE_NETWORKS: "127.0.0.0/8",
    HOST: "127.0.0.1",
    // As in the image.
    MALLOC_ARENA_MAX: "2",
    PORT: "0",
    LOG_FORMAT: "json",
    LOG_LEVEL: "info",
  };
  const child = spawn(process.execPath, [MAIN, "serve"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.on("data", (chunk: Buffer) => {
      if (output.length < 10_000) output += chunk.toString();
      const found = /"port":(\d+)/.exec(output)?.[1];
      if (found !== undefined) resolve(Number(found));
    });
    child.once("exit", () => reject(new Error(`the relay ended: ${output}`)));
  });
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  return {
    port,
    pid: child.pid ?? 0,
    agent,
    end: async () => {
      agent.destroy();
      child.kill("SIGKILL");
      await new Promise((resolve) => child.once("close", resolve));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The status of the answer to a webhook, signed unless a signature is given; 0 when the connection broke. */
export const send = (
  relay: MeasuredRelay,
  body: Buffer,
  { signature, channel }: { signature?: string | undefined; channel?: string } = {},
): Promise<number> =>
  ask(relay, "POST", channel === undefined ? "/webhook" : `/webhook/${channel}`, {
    body,
    headers: { "x-skyvern-signature": signature ?? createHmac("sha256", KEY).update(body).digest("hex") },
  });

export function ask(
  { port, agent }: MeasuredRelay,
  method: string,
  path: string,
  { body, headers = {} }: { body?: Buffer; headers?: Record<string, string> } = {},
): Promise<number> {
  return new Promise((resolve) => {
    const length = body ? { "content-length": String(body.length) } : {};
    const asked = request({ host: "127.0.0.1", port, method, path, agent, headers: { ...headers, ...length } });
    asked.on("response", (answer) => {
      answer
        .resume()
        .on("end", () => resolve(answer.statusCode ?? 0))
        .on("error", () => resolve(0));
    });
    asked.on("error", () => resolve(0));
    asked.end(body);
  });
}
