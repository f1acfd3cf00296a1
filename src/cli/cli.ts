import { Command, CommanderError } from "commander";
import { systemRuntime } from "../platform/runtime.ts";
import { EXIT, type AddCommand, type Cli, type Shell } from "./command.ts";
import { load, refuse } from "./configuration.ts";
import { VERSION } from "../platform/version.ts";

/**
 * Every command, in the order of `--help`. Only the called one is loaded, because each needs another part of the
 * program.
 */
export const COMMANDS: Record<string, () => Promise<AddCommand>> = {
  serve: async () => (await import("./serve.ts")).addServe,
  init: async () => (await import("./init/init.ts")).addInit,
  check: async () => (await import("./check.ts")).addCheck,
  register: async () => (await import("./register/register.ts")).addRegister,
  doctor: async () => (await import("./doctor/doctor.ts")).addDoctor,
  demo: async () => (await import("./demo.ts")).addDemo,
  tail: async () => (await import("./tail.ts")).addTail,
  runs: async () => (await import("./runs.ts")).addRuns,
  open: async () => (await import("./open.ts")).addOpen,
  redeliver: async () => (await import("./redeliver.ts")).addRedeliver,
  backfill: async () => (await import("./backfill.ts")).addBackfill,
  why: async () => (await import("./why.ts")).addWhy,
  "send-test": async () => (await import("./send-test.ts")).addSendTest,
  export: async () => (await import("./export.ts")).addExport,
  prune: async () => (await import("./prune.ts")).addPrune,
  backup: async () => (await import("./backup.ts")).addBackup,
  migrate: async () => (await import("./migrate.ts")).addMigrate,
  copy: async () => (await import("./copy.ts")).addCopy,
  openapi: async () => (await import("./openapi.ts")).addOpenapi,
};

/** The command that runs when none is named. */
const DEFAULT_COMMAND = "serve";

/**
 * Runs `skyvern-relay <arguments>`. Resolves with the exit code: 0 done, 1 it failed, 2 wrong usage or configuration.
 */
export async function runCli(given: readonly string[], shell: Shell): Promise<number> {
  const args = given.length === 0 ? [DEFAULT_COMMAND] : given;
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
      program
        .command(name)
        .description(description)
        .exitOverride()
        .configureOutput(output)
        .hook("preAction", (_program, command) => refuseEmpty(command)),
    ends,
    configured: (act) =>
      ends(async (...given) => {
        const loaded = load(shell);
        if (!loaded.ok) return refuse(shell, loaded.faults);
        return act({ config: loaded.config, runtime: systemRuntime(), shell }, ...given);
      }),
  };
  const called = Object.entries(COMMANDS).filter(([name]) => name === args[0]);
  const needed = called.length > 0 ? called : Object.entries(COMMANDS);
  for (const add of await Promise.all(needed.map(([, load]) => load()))) add(cli);
  try {
    await program.parseAsync(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  }
  return code;
}

/** An empty value is a variable of the caller's script that was not set, and would mean something else. */
function refuseEmpty(command: Command): void {
  const isEmpty = (value: unknown): boolean =>
    [value].flat().some((text) => typeof text === "string" && text.trim() === "");
  const option = command.options.find((one) => isEmpty(command.getOptionValue(one.attributeName())));
  if (option) command.error(`error: the value of option '${option.flags}' is empty`);
  if (isEmpty(command.args)) command.error("error: an argument is empty");
}
