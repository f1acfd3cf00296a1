import { Command, CommanderError } from "commander";
import { addBackfill } from "./commands/backfill.ts";
import { addBackup } from "./commands/backup.ts";
import { addCheck } from "./commands/check.ts";
import { EXIT, load, refuse, type AddCommand, type Cli, type Shell } from "./commands/command.ts";
import { addCopy } from "./commands/copy.ts";
import { addDemo } from "./commands/demo.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addExport } from "./commands/export.ts";
import { addMigrate } from "./commands/migrate.ts";
import { addOpenapi } from "./commands/openapi.ts";
import { addPrune } from "./commands/prune.ts";
import { addRedeliver } from "./commands/redeliver.ts";
import { addSendTest } from "./commands/send-test.ts";
import { addServe } from "./commands/serve.ts";
import { addWhy } from "./commands/why.ts";
import { VERSION } from "./version.ts";

/** Every command, in the order of `--help`. */
const COMMANDS: readonly AddCommand[] = [
  addServe,
  addCheck,
  addDoctor,
  addDemo,
  addRedeliver,
  addBackfill,
  addWhy,
  addSendTest,
  addExport,
  addPrune,
  addBackup,
  addMigrate,
  addCopy,
  addOpenapi,
];

/** Runs `skyvern-relay <arguments>`. Resolves with the exit code: 0 done, 1 it failed, 2 wrong usage or configuration. */
export async function runCli(args: readonly string[], shell: Shell): Promise<number> {
  let code: number = EXIT.done;
  const output = { writeOut: shell.stdout, writeErr: shell.stderr };
  const program = new Command("skyvern-relay")
    .description("Receives Skyvern's webhooks and relays each run's outcome, once.")
    .version(VERSION)
    .exitOverride()
    .configureOutput(output);
  const ends: Cli["ends"] =
    (act) =>
    async (...given) => {
      code = await act(...given);
    };
  const cli: Cli = {
    shell,
    command: (name, description) =>
      program.command(name).description(description).exitOverride().configureOutput(output),
    ends,
    configured: (act) =>
      ends((...given) => {
        const loaded = load(shell);
        return loaded.ok ? act(loaded.config, ...given) : refuse(shell, loaded.faults);
      }),
  };
  for (const add of COMMANDS) add(cli);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
  return code;
}
