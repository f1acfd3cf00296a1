/** Loads the configuration for a command. */
import { existsSync } from "node:fs";
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

const FILES = [".env", "relay.yaml"];

/** Prints every fault on standard error and returns the exit code. */
export function refuse(shell: Pick<Shell, "stderr">, faults: readonly Fault[]): number {
  const isElsewhere =
    faults.some(({ where }) => where === "SKYVERN_API_KEY") && !FILES.some((file) => existsSync(file));
  const hint = isElsewhere
    ? `This folder (${process.cwd()}) has no ${FILES.join(" and no ")}: run it where the relay starts.\n`
    : "";
  shell.stderr(`skyvern-relay: the configuration is wrong\n${formatFaults(faults)}\n${hint}`);
  return EXIT.usage;
}
