/** `skyvern-relay open <run_id>`: opens the run's page in the browser. */
import { spawn } from "node:child_process";
import { line } from "../web/text.ts";
import { complain, EXIT, type AddCommand, type CommandDeps } from "./command.ts";
import { withDatabase } from "./database.ts";

interface OpenOptions {
  print?: boolean;
}

export const addOpen: AddCommand = ({ command, configured }) =>
  command("open", "open a run's page in the browser, and print its address")
    .argument("<run_id>", "the run")
    .option("--print", "only print the address (the default without a terminal)")
    .action(configured((deps, runId: string, options: OpenOptions) => openCommand(runId, options, deps)));

/** Resolves with the exit code: 1 when the relay does not know the run. */
const openCommand = (runId: string, { print }: OpenOptions, deps: CommandDeps): Promise<number> =>
  withDatabase({ name: "open", ...deps }, async (store) => {
    const { config, shell } = deps;
    if ((await store.run(runId)) === null) {
      const message = `the relay does not know the run ${line(runId)}: skyvern-relay why says more`;
      return complain(shell, "open")(EXIT.failed, message);
    }
    const address = `${config.publicUrl}/runs/${encodeURIComponent(runId)}`;
    shell.stdout(`${address}\n`);
    if (print !== true && shell.screen) await showInBrowser(address);
    return EXIT.done;
  });

/** The program by which the system opens an address. No shell reads the address. */
const OPENERS: Partial<Record<NodeJS.Platform, [string, ...string[]]>> = {
  darwin: ["open"],
  win32: ["rundll32", "url.dll,FileProtocolHandler"],
};

/** Resolves when the program has started or cannot; the printed address remains in any case. */
function showInBrowser(address: string): Promise<void> {
  const [program, ...args] = OPENERS[process.platform] ?? ["xdg-open"];
  return new Promise((resolve) => {
    const child = spawn(program, [...args, address], { detached: true, stdio: "ignore" });
    child.once("error", () => resolve());
    child.once("spawn", () => {
      child.unref();
      resolve();
    });
  });
}
