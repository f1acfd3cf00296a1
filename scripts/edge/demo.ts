/** `scripts/demo --edge`: the demo with its relay inside workerd, as on Cloudflare Workers. */
import { parseArgs } from "node:util";
import { runDemo } from "../../src/demo/demo.ts";
import { bundleEdge } from "./bundle.ts";
import { startWorkerd, type Workerd } from "./workerd.ts";

const {
  edge: _itself,
  once,
  port,
} = parseArgs({
  options: {
    edge: { type: "boolean" },
    once: { type: "boolean", default: false },
    port: { type: "string" },
  },
}).values;
const stopping = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stopping.abort());

process.exitCode = await runDemo({
  once,
  port: Number(port ?? (once ? 0 : 8080)),
  shell: { stdout: (text) => void process.stdout.write(text), stopped: stopping.signal },
  openRelay: async (given, folder, port) => {
    const worker = await bundleEdge();
    const env = { ...given, PUBLIC_URL: `http://localhost:${port}`, LOG_LEVEL: "error" };
    let running: Workerd | null = null;
    return {
      start: async () => (running = await startWorkerd({ folder, worker, env, port })),
      stop: async () => running?.kill(),
    };
  },
});
