/** A progress line on standard error, overwritten in place; silent when that is no terminal. */
import type { Shell } from "./command.ts";

export interface ProgressLine {
  show(text: string): void;
  /** Clears the line before other output. */
  clear(): void;
}

export function progressLine({ terminal, stderr }: Pick<Shell, "terminal" | "stderr">): ProgressLine {
  if (terminal !== true) return { show: () => {}, clear: () => {} };
  return {
    show: (text) => stderr(`\r${text}\u001B[K`),
    clear: () => stderr("\r\u001B[K"),
  };
}

const WIDTH = 30;

/** `[######------------------------]`; full when there is nothing to do. */
export function bar(done: number, of: number): string {
  const filled = of <= 0 ? WIDTH : Math.round(Math.min(1, Math.max(0, done / of)) * WIDTH);
  return `[${"#".repeat(filled)}${"-".repeat(WIDTH - filled)}]`;
}
