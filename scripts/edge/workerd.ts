/** workerd, the runtime of Cloudflare Workers, on this machine: one Worker with its object, its storage in a folder. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

export const COMPATIBILITY_DATE = "2026-11-01";

export interface WorkerdOptions {
  /** For its configuration, the Worker and the storage, which outlives it. */
  folder: string;
  /** The Worker's text: one ES module. */
  worker: string;
  env: Readonly<Record<string, string>>;
  /** The port on 127.0.0.1. Default: any free one. */
  port?: number;
}

export interface Workerd {
  url: string;
  port: number;
  pid: number;
  /** Everything on its console so far. */
  output(): string;
  /** Ends it at once, as `kill -9` does. Resolves when it is gone. */
  kill(): Promise<void>;
}

/** Resolves when it listens; rejects with what it said when it does not come to that. */
export async function startWorkerd({ folder, worker, env, port = 0 }: WorkerdOptions): Promise<Workerd> {
  mkdirSync(join(folder, "storage"), { recursive: true });
  writeFileSync(join(folder, "worker.js"), worker);
  writeFileSync(join(folder, "config.capnp"), renderConfig(env, port));
  const { default: binary } = createRequire(import.meta.url)("workerd") as { default: string };
  const child = spawn(binary, ["serve", "config.capnp", "--control-fd=3"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream?.on("data", (chunk: Buffer) => void (output += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const listening = new Promise<number>((resolve) => {
    let said = "";
    child.stdio[3]?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      const found = /"event":"listen".*?"port":(\d+)/.exec(said)?.[1];
      if (found) resolve(Number(found));
    });
  });
  const bound = await Promise.race([listening, ended.then(() => null)]);
  if (bound === null) throw new Error(`workerd ended: ${output}`);
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    pid: child.pid ?? -1,
    output: () => output,
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Its network reaches this machine too, where the stand-ins are; what the relay may reach is the relay's to say. */
const renderConfig = (env: Readonly<Record<string, string>>, port: number): string => `
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "relay", worker = .relay),
    (name = "storage", disk = (path = "storage", writable = true)),
    (name = "internet", network = (allow = ["public", "private"], tlsOptions = (trustBrowserCas = true))),
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "relay")],
);
const relay :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "${COMPATIBILITY_DATE}",
  durableObjectNamespaces = [(className = "Relay", uniqueKey = "relay", enableSql = true)],
  durableObjectStorage = (localDisk = "storage"),
  bindings = [
    (name = "RELAY", durableObjectNamespace = "Relay"),
${Object.entries(env)
  .map(([name, text]) => `    (name = ${JSON.stringify(name)}, text = ${JSON.stringify(text)}),`)
  .join("\n")}
  ],
);
`;
