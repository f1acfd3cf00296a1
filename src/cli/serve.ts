/** `skyvern-relay serve`: the relay itself, from its configuration to its end. */
import { untilAborted } from "../platform/abortable.ts";
import { createRelay } from "../app/relay.ts";
import type { Config } from "../config/config.ts";
import { keepReloading, readConfig, type ReadConfig } from "../app/watch-config.ts";
import { systemRuntime } from "../platform/runtime.ts";
import { writeRemedy } from "./write-remedy.ts";
import { createLog, createTextLog } from "../platform/log/stdout-log.ts";
import { EXIT, type AddCommand, type Shell } from "./command.ts";
import { refuse } from "./configuration.ts";
import { greeting } from "./greeting.ts";
import { makeTokenFile } from "./token-file.ts";

export const addServe: AddCommand = ({ command, ends, shell }) =>
  command(
    "serve",
    "run the relay until SIGTERM or SIGINT, or its terminal is closed (the default command); SIGHUP or a changed file " +
      "reloads the configuration",
  ).action(ends(() => serve(shell)));

async function serve(shell: Shell): Promise<number> {
  // Until it runs, there is nothing to read again, and no reason to end.
  shell.onHangup?.(() => {});
  let read = readConfig(shell);
  if (!read.loaded.ok) return refuse(shell, read.loaded.faults);
  const { config } = read.loaded;
  try {
    const { tokens, tokenFile } = config;
    if (tokens.length === 0 && tokenFile !== null) {
      makeTokenFile(tokenFile);
      read = readConfig(shell);
    }
    return await run(shell, read);
  } catch (error) {
    shell.stderr(`skyvern-relay: ${explain(error, config)}\n`);
    return EXIT.failed;
  }
}

/** Rejects with what keeps it from starting. */
async function run(shell: Shell, read: ReadConfig): Promise<number> {
  const { loaded } = read;
  if (!loaded.ok) return refuse(shell, loaded.faults);
  const { config, warnings, off } = loaded;
  const isText = (config.logFormat ?? (shell.screen ? "text" : "json")) === "text";
  const log = isText
    ? createTextLog(config.logLevel, { colour: shell.screen?.colour ?? false })
    : createLog(config.logLevel);
  const screen = isText ? shell.screen : undefined;
  if (!screen) {
    for (const warning of warnings) log.warn("config.warning", { warning });
    for (const one of off) log.info("config.off", { ...one });
  }
  const runtime = systemRuntime();
  const relay = await createRelay(config, runtime, log);
  const { port } = await relay.start();
  if (screen) {
    const url = config.publicUrl.replace(/:0$/, `:${port}`);
    shell.stdout(greeting({ config, off, warnings, url, loginLink: relay.app.loginLink() }));
  }
  const reloading = keepReloading({ relay, shell, runtime, log, read });
  const failure = await Promise.race([untilAborted(shell.stopped).then(() => null), relay.failed]);
  if (failure !== null) {
    // What has stalled may never stop: the process ends as it is, and nothing that was answered is lost by that.
    log.error("relay.failed", { reason: failure });
    shell.stderr(`skyvern-relay: ${failure}\n`);
    return EXIT.failed;
  }
  await relay.stop();
  await reloading;
  return EXIT.done;
}

/** What keeps a relay from starting is for its operator. */
function explain(error: unknown, { port, metricsPort, host }: Config): string {
  if (!(error instanceof Error)) return String(error);
  const { code, port: wanted, syscall } = error as NodeJS.ErrnoException & { port?: number };
  const variable = wanted === metricsPort && wanted !== port ? "METRICS_PORT" : "PORT";
  if (code === "EADDRINUSE")
    return `port ${wanted} is taken: stop what listens there, or set ${variable} to another one`;
  if (code === "EACCES" && wanted !== undefined)
    return `port ${wanted} may not be used by this user: set ${variable} to another one`;
  if (code === "EADDRNOTAVAIL" || syscall === "getaddrinfo")
    return `HOST ${host} is no address of this machine: set it to one, or to 0.0.0.0 for all`;
  if (error.message.startsWith("SQLITE_FULL")) return "the disk of the database is full: make room on it";
  const remedy = writeRemedy(error);
  return remedy === null || error.message.includes(remedy) ? error.message : `${error.message}: ${remedy}`;
}
