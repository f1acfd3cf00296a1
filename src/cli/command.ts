/** What every command has in common: the process it may use, and how it ends. */
import type { Command } from "commander";
import type { Config } from "../config/config.ts";

/** What the commands may use of the process. */
export interface Shell {
  env: Readonly<Record<string, string | undefined>>;
  stdout(text: string): void;
  stderr(text: string): void;
  /** Resolves when everything written so far was taken: what writes much waits for it now and then. Default: at once. */
  flushed?(): Promise<void>;
  /** Aborts when the process was told to stop. */
  stopped: AbortSignal;
  /** Calls back whenever the process is told to read its configuration again (SIGHUP). */
  onHangup?(listener: () => void): void;
  /** Whether standard error is a terminal, where a progress bar has its place. */
  terminal?: boolean;
  /**
   * Asks the person at the terminal; left out where there is none. Null when the terminal was closed or Ctrl-C was typed. What is secret is not
   * shown while it is typed.
   */
  ask?(question: string, options: { isSecret: boolean }): Promise<string | null>;
  /** The terminal that standard output is; left out where it is none. */
  screen?: Screen;
}

export interface Screen {
  /** Whether it is to be written in colours. */
  colour: boolean;
  /** Characters on a line, when that was asked. */
  columns(): number;
}

/** 0 done, 1 it failed, 2 wrong usage or configuration. */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const;

/** What a command adds itself to the program with. */
export interface Cli {
  shell: Shell;
  /** A new command of this name, to be given arguments, options and an action. */
  command(name: string, description: string): Command;
  /** Makes an action of what gives the program's exit code. */
  ends<Given extends unknown[]>(act: (...given: Given) => number | Promise<number>): (...given: Given) => Promise<void>;
  /** The same for what needs the configuration; a wrong one is refused with its faults, exit code 2. */
  configured<Given extends unknown[]>(
    act: (config: Config, ...given: Given) => number | Promise<number>,
  ): (...given: Given) => Promise<void>;
}

/** What each file of a command exports: it is listed in `cli.ts`, and nothing else there knows it. */
export type AddCommand = (cli: Cli) => unknown;
