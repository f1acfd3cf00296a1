/** Node programs under measurement: with their event loop watched. */
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { KEY, type Target } from "../load.ts";
import { freePort, listens, logIn, start, type Command } from "../process.ts";
import { ROW_COUNT, rowsFileIn, writesOf, keptIn } from "../sqlite.ts";
import type { Place, Running, Subject } from "../subject.ts";

const WATCH = join(import.meta.dirname, "..", "servers", "loop-delay.mjs");
const LONGEST_ANSWER_MS = 10_000;

export interface NodeProgram extends Omit<Command, "logFile" | "port"> {
  target: Target;
  isReady?: () => Promise<boolean>;
  /** Its SQLite file, when what it writes there shall be counted. */
  counted?: string | undefined;
}

/** Resolves when it listens on the target's port. */
export async function startNode(
  { folder }: Place,
  { target, isReady, counted, ...command }: NodeProgram,
): Promise<Running> {
  const loopFile = join(folder, "loop");
  const imports = counted === undefined ? [WATCH] : [WATCH, ROW_COUNT];
  const env = {
    ...command.env,
    NODE_OPTIONS: imports.map((path) => `--import ${path}`).join(" "),
    BENCH_LOOP_FILE: loopFile,
    ...(counted === undefined ? {} : { BENCH_ROWS_FILE: rowsFileIn(folder) }),
  };
  const started = await start(
    { ...command, env, logFile: logIn(folder, "output"), port: () => target.port },
    isReady ?? (() => listens(target.port)),
  );
  const loopDelay = async () => {
    const path = `${loopFile}.${started.pid}`;
    rmSync(path, { force: true });
    started.signal("SIGUSR2");
    for (const giveUpAt = Date.now() + LONGEST_ANSWER_MS; !existsSync(path); await pause(5)) {
      if (Date.now() > giveUpAt) throw new Error("the event loop did not say how late it is");
    }
    return JSON.parse(readFileSync(path, "utf8")) as { p50: number; p99: number; max: number };
  };
  if (counted === undefined) return { ...started, target, loopDelay };
  return { ...started, target, loopDelay, written: () => writesOf(counted, folder), kept: () => keptIn(counted) };
}

/** The small servers of `servers/`. */
export const ownServer = (name: string, answer: { expect: string; echo: boolean; signed: boolean }): Subject => ({
  name,
  delivers: false,
  start: async (place) => {
    const port = await freePort();
    const program = join(import.meta.dirname, "..", "servers", `${name}.ts`);
    const target = { port, path: "/webhook", bodies: place.bodies("skyvern"), ...answer };
    const env = { PORT: `${port}`, BENCH_KEY: KEY };
    return startNode(place, { argv: [process.execPath, program], cwd: place.folder, env, target });
  },
});

export const bareNode = ownServer("bare-node", { expect: '{"read":', echo: false, signed: true });
export const bareHono = ownServer("bare-hono", { expect: '{"read":', echo: false, signed: true });
export const stateless = ownServer("stateless", { expect: '"run_id"', echo: true, signed: true });
