/** Reloads the configuration of a running relay on a signal or when a file has changed. */
import { createHash } from "node:crypto";
import { loadConfig, type Config, type Loaded } from "../config/config.ts";
import { errorCode } from "../config/environment.ts";
import type { Log } from "../platform/log.ts";
import { readTrustedFile } from "./trusted-file.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Relay } from "./relay.ts";

/** What it uses of the process. */
export interface Surroundings {
  env: Readonly<Record<string, string | undefined>>;
  /** Aborts when the process is asked to stop. */
  stopped: AbortSignal;
  /** Calls back when the process is asked to reload its configuration (SIGHUP). */
  onHangup?(listener: () => void): void;
}

/** A configuration and the files it was read from: relay.yaml, or its absence, and those that hold secrets. */
export interface ReadConfig {
  loaded: Loaded;
  files: string[];
  /** The contents of the files. */
  print: string;
}

export function readConfig({ env }: Pick<Surroundings, "env">): ReadConfig {
  // The contents as they were read count, because the files may have changed since.
  const texts = new Map<string, string>();
  const readFile = (path: string): string => {
    try {
      const text = readTrustedFile(path);
      texts.set(path, text);
      return text;
    } catch (error) {
      texts.set(path, describeAbsence(error));
      throw error;
    }
  };
  const loaded = loadConfig({ env, readFile, cwd: process.cwd(), keepsFiles: true });
  return { loaded, files: [...texts.keys()], print: fingerprint(texts) };
}

/**
 * Compares contents, so any way of changing a file is noticed: overwriting, replacing, or, as Kubernetes does, pointing
 * a folder's link elsewhere.
 */
function fingerprint(texts: ReadonlyMap<string, string>): string {
  const hash = createHash("sha256");
  for (const [path, text] of texts) hash.update(`${path}\0${text}\0`);
  return hash.digest("hex");
}

const printNow = (files: readonly string[]): string =>
  fingerprint(new Map(files.map((path) => [path, readText(path)])));

function readText(path: string): string {
  try {
    return readTrustedFile(path);
  } catch (error) {
    return describeAbsence(error);
  }
}

const describeAbsence = (error: unknown): string => `(${errorCode(error)})`;

export interface WatchConfigDeps {
  relay: Pick<Relay, "reload" | "app">;
  shell: Surroundings;
  runtime: Pick<Runtime, "sleep">;
  log: Log;
  /** The configuration at the start. */
  read: ReadConfig;
  /** The time between two checks of the files. */
  everyMs?: number;
}

const LOOK_MS = 3_000;

/** Runs until the process is asked to stop. A change counts once it is seen twice, because somebody may be writing. */
export async function keepReloading(deps: WatchConfigDeps): Promise<void> {
  const { shell, runtime, everyMs = LOOK_MS } = deps;
  let { read } = deps;
  let seen = read.print;
  const reloading: Promise<void>[] = [];
  const again = (why: "signal" | "file"): void => {
    read = readConfig(shell);
    seen = read.print;
    const { loaded } = read;
    // Not one after the other: what the one before still waits for must not keep this one from coming into force.
    reloading.push(takeUp(loaded, why, deps));
  };
  shell.onHangup?.(() => again("signal"));
  while (!shell.stopped.aborted) {
    await runtime.sleep(everyMs, shell.stopped);
    const now = printNow(read.files);
    if (now !== read.print && now === seen) again("file");
    else seen = now;
  }
  await Promise.all(reloading);
}

async function takeUp(loaded: Loaded, why: string, { relay, log, shell }: WatchConfigDeps): Promise<void> {
  if (shell.stopped.aborted) return;
  const faults = loaded.ok ? goneFile(loaded.config, relay.app.config) : loaded.faults;
  if (!loaded.ok || faults.length > 0) {
    log.error("config.refused", { why, faults, hint: "the previous configuration stays in force" });
    return;
  }
  for (const warning of loaded.warnings) log.warn("config.warning", { warning });
  try {
    const { changed, fixed } = await relay.reload(loaded.config);
    if (fixed.length > 0) log.warn("config.needs_restart", { why, settings: fixed.map(nameOf) });
    if (changed.length > 0) log.info("config.reloaded", { why, changed: changed.map(nameOf) });
    else {
      const hint = "the environment and .env are read at the start only: what changed there needs a restart";
      log.info("config.unchanged", why === "signal" ? { why, hint } : { why });
    }
  } catch (error) {
    log.error("config.refused", { why, error: String(error), hint: "the previous configuration stays in force" });
  }
}

/** Without its file a relay would deliver nothing. More likely the file is being moved than meant to be gone. */
const goneFile = (next: Config, running: Config) =>
  next.file === null && running.file !== null ? [{ where: running.file, message: "is gone" }] : [];

const VARIABLES: Record<string, string> = {
  database: "DATABASE_URL",
  host: "HOST",
  port: "PORT",
  metricsPort: "METRICS_PORT",
  publicUrl: "PUBLIC_URL",
  logLevel: "LOG_LEVEL",
  logFormat: "LOG_FORMAT",
  tokens: "RELAY_TOKEN",
};
const nameOf = (part: string): string =>
  VARIABLES[part] ?? part.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
