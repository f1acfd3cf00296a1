/** The receiver: takes deliveries and stands in for Skyvern's API. Its clock is the load client's. */
import { readFileSync } from "node:fs";
import { freePort, logIn, start, type Started } from "./process.ts";
import { tools } from "./tools.ts";

export interface Receiver {
  port: number;
  url: string;
  count(): Promise<{ posts: number; ids: number; again: number; gets: number }>;
  /** When each id came first, ns, by its number; 0n: never. */
  times(): Promise<BigUint64Array>;
  cpuMs(): number;
  stop(): Promise<unknown>;
}

/** `status` is what every POST is answered. */
export async function startReceiver(folder: string, status = "200 OK"): Promise<Receiver> {
  const logFile = logIn(folder, `receiver-${await freePort()}`);
  let port = 0;
  const isReady = async () => {
    port = Number(/\{"port":(\d+)\}/.exec(readFileSync(logFile, "utf8"))?.[1] ?? 0);
    return port > 0;
  };
  const argv: [string, ...string[]] = [tools().receiver, "--status", status];
  const started: Started = await start({ argv, cwd: folder, logFile, port: () => port }, isReady);
  const url = `http://127.0.0.1:${port}`;
  return {
    port,
    url,
    count: async () => {
      const response = await fetch(`${url}/bench/count`);
      return (await response.json()) as Awaited<ReturnType<Receiver["count"]>>;
    },
    times: async () => {
      const response = await fetch(`${url}/bench/times`);
      return new BigUint64Array(await response.arrayBuffer());
    },
    cpuMs: started.cpuMs,
    stop: started.stop,
  };
}
