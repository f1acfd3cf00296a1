/** `skyvern-relay serve`: the relay itself. */
import { createApp } from "../app.ts";
import { createLog } from "../log.ts";
import { systemRuntime } from "../runtime.ts";
import { EXIT, load, refuse, type AddCommand, type Shell } from "./command.ts";

export const addServe: AddCommand = ({ command, ends, shell }) =>
  command("serve", "run the relay until SIGTERM or SIGINT").action(ends(() => serve(shell)));

async function serve(shell: Shell): Promise<number> {
  const loaded = load(shell);
  if (!loaded.ok) return refuse(shell, loaded.faults);
  const { config, warnings } = loaded;
  const log = createLog(config.logLevel);
  for (const warning of warnings) log.warn("config.warning", { warning });
  try {
    const app = await createApp(config, systemRuntime(), log);
    await app.start();
    const failure = await Promise.race([untilAborted(shell.stopped).then(() => null), app.failed]);
    if (failure !== null) {
      // What has stalled may never stop: the process ends as it is, and nothing that was answered is lost by that.
      log.error("relay.failed", { reason: failure });
      shell.stderr(`skyvern-relay: ${failure}\n`);
      return EXIT.failed;
    }
    await app.stop();
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
