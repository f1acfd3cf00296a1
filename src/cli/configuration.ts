/** Loads the configuration for a command. */
import { formatFaults, loadConfig, type Fault } from "../config/config.ts";
import { readTrustedFile } from "../app/trusted-file.ts";
import { EXIT, type Shell } from "./command.ts";

/** Reads the configuration from the process's environment and working folder. */
export const load = (shell: Pick<Shell, "env">) =>
  loadConfig({
    env: shell.env,
    readFile: readTrustedFile,
    cwd: process.cwd(),
    keepsFiles: true,
  });

/** Prints every fault on standard error and returns the exit code. */
export function refuse(shell: Pick<Shell, "stderr">, faults: readonly Fault[]): number {
  shell.stderr(`skyvern-relay: the configuration is wrong\n${formatFaults(faults)}\n`);
  return EXIT.usage;
}
