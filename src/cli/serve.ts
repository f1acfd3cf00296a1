/** `skyvern-relay serve`: the relay itself, from its configuration to its end. */
import { createRelay } from "../app/relay.ts";
import { keepReloading, readConfig } from "../app/watch-config.ts";
import { systemRuntime } from "../platform/runtime.ts";
import { createLog } from "../platform/stdout-log.ts";
import { EXIT, type AddCommand, type Shell } from "./command.ts";
import { refuse } from "./configuration.ts";

export const addServe: AddCommand = ({ command, ends, shell }) =>
  command(
    "serve",
    "run the relay until SIGTERM or SIGINT (what is done without a command); SIGHUP, or a changed file, has it read its configuration again",
  ).action(ends(() => serve(shell)));

async function serve(shell: Shell): Promise<number> {
  // Until it runs, there is nothing to read again, and no reason to end.
  shell.onHangup?.(() => {});
  const read = readConfig(shell);
  const { loaded } = read;
  if (!loaded.ok) return refuse(shell, loaded.faults);
  const { config, warnings, off } = loaded;
  const log = createLog(config.logLevel);
  for (const warning of warnings) log.warn("config.warning", { warning });
  for (const one of off) log.info("config.off", { ...one });
  const runtime = systemRuntime();
  try {
    const relay = await createRelay(config, runtime, log);
    await relay.start();
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
  } catch (error) {
    // What keeps a relay from starting is for its operator: the database in use, a port taken.
    shell.stderr(`skyvern-relay: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.failed;
  }
}

const untilAborted = (signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
