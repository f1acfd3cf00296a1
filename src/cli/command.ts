/** What all commands share: the process they may use, and how they end. */
import type { Command } from "commander";
import type { Runtime } from "../platform/runtime.ts";
import type { Config } from "../config/config.ts";

/** The parts of the process that commands may use. */
export interface Shell {
  env: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
  /** Resolves when all output so far was read; commands with much output wait for it now and then. Default: at once. */
  flushed?(): Promise<void>;
  /** Aborts when the process is asked to stop. */
  stopped: AbortSignal;
  /** Calls back when the process is asked to reload its configuration (SIGHUP). */
  onHangup?(listener: () => void): void;
  /** True when standard error is a terminal, which can show a progress bar. */
  terminal?: boolean;
  /**
   * Asks the person at the terminal; absent without one. Null when the terminal was closed or Ctrl-C was typed. Secrets
   * are not echoed.
   */
  ask?(question: string, options: { isSecret: boolean }): Promise<string | null>;
  /** The terminal on standard output; absent when that is no terminal. */
  screen?: Screen;
}

export interface Screen {
  /** True when output may be coloured. */
  colour: boolean;
  /** The width of the terminal, when it is known. */
  columns(): number;
}

/** 0 done, 1 it failed, 2 wrong usage or configuration. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** What a command that needs the configuration works with. */
export interface CommandDeps {
  config: Config;
  runtime: Runtime;
  shell: Shell;
}

/** Says on standard error why a command ends, and returns its exit code. */
export type Complain = (code: number, message: string) => number;

/** {@link Complain} of the command of this name. */
export const complain =
  (shell: Pick<Shell, "stderr">, name: string): Complain =>
  (code, message) => {
    shell.stderr(`skyvern-relay ${name}: ${message}\n`);
    return code;
  };

/** The tools by which a command adds itself to the program. */
export interface Cli {
  shell: Shell;
  /** Creates a command of this name; the caller adds arguments, options and an action. */
  command(name: string, description: string): Command;
  /** Turns a function that returns the exit code into an action. */
  ends<Given extends unknown[]>(act: (...given: Given) => number | Promise<number>): (...given: Given) => Promise<void>;
  /** The same for a command that needs the configuration; a wrong one is refused with its faults and exit code 2. */
  configured<Given extends unknown[]>(
    act: (deps: CommandDeps, ...given: Given) => number | Promise<number>,
  ): (...given: Given) => Promise<void>;
}

/** The export of each command's file. Only `cli.ts` lists it. */
export type AddCommand = (cli: Cli) => unknown;
