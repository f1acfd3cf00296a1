/** Runs a command of the program in this process. */
import { runCli } from "../../src/cli/cli.ts";

export interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

/** With nothing in its environment but `env`, no relay.yaml unless named there, and no terminal unless told. */
export async function runCommand(
  args: readonly string[],
  env: Record<string, string | undefined> = {},
  { terminal = false, stopped = new AbortController().signal }: { terminal?: boolean; stopped?: AbortSignal } = {},
): Promise<Result> {
  let stdout = "";
  let stderr = "";
  const code = await runCli(args, {
    env: { RELAY_CONFIG: "", ...env },
    stdout: (text) => void (stdout += text),
    stderr: (text) => void (stderr += text),
    stopped,
    terminal,
  });
  return { code, stdout, stderr };
}
