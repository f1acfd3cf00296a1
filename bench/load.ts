/** One run of the load client, and what it says. */
import { execFile } from "node:child_process";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { tools } from "./tools.ts";

const run = promisify(execFile);

/** The API key of every relay under measurement. */
export const KEY = "bench-key-of-32-characters-and-so";

export interface Target {
  port: number;
  path: string;
  /** File of {@link writeBodies}. */
  bodies: string;
  /** Whether bodies are signed as Skyvern signs them. */
  signed: boolean;
  /** Text that every right answer holds. */
  expect: string;
  /** Whether a right answer names the run. */
  echo: boolean;
}

export interface LoadOptions {
  seconds: number;
  /** Number of the first body. */
  first: number;
  connections?: number;
  /** Requests a second at fixed times; without it each connection sends as soon as it has its answer. */
  rate?: number;
  /** The one under load may be ended meanwhile: nothing more is sent then. */
  outlive?: boolean;
}

/** Latencies in ms. `right` + `wrong` + `failed` + `unanswered` = `sent`. */
export interface LoadResult {
  sent: number;
  answered: number;
  right: number;
  wrong: number;
  failed: number;
  unanswered: number;
  /** Right answers within the time given, a second. */
  perSecond: number;
  /** Until the last answer. */
  seconds: number;
  p50: number;
  p90: number;
  p99: number;
  p999: number;
  max: number;
  clientCpuMs: number;
  /** The first wrong answer. */
  example: string;
  statuses: Record<string, number>;
  /** For each body two times, ns: sent, and rightly answered (0: never). */
  times: BigUint64Array;
}

export const CONNECTIONS = 64;

export async function load(folder: string, target: Target, options: LoadOptions): Promise<LoadResult> {
  const times = join(folder, `times-${options.first}`);
  const given: Record<string, string | number | undefined> = {
    port: target.port,
    path: target.path,
    bodies: target.bodies,
    expect: target.expect,
    echo: target.echo ? 1 : 0,
    key: target.signed ? KEY : undefined,
    seconds: options.seconds,
    first: options.first,
    connections: options.connections ?? CONNECTIONS,
    rate: options.rate,
    outlive: options.outlive ? 1 : undefined,
    times,
  };
  const args = Object.entries(given).flatMap(([name, value]) => (value === undefined ? [] : [`--${name}`, `${value}`]));
  const { stdout } = await run(tools().load, args);
  const bytes = readFileSync(times);
  rmSync(times);
  const result = JSON.parse(stdout) as Omit<LoadResult, "times">;
  return { ...result, times: new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8) };
}

/** Throws when an answer was wrong or missing. */
export function assertAllRight(who: string, { sent, right, example, statuses, failed }: LoadResult): void {
  if (right === sent) return;
  const said = example === "" ? "" : `; the first wrong one: ${example}`;
  throw new Error(
    `${who}: ${sent - right} of ${sent} answers were not right (${JSON.stringify(statuses)}, ${failed} broke off)${said}`,
  );
}
