/** Asks questions at a terminal. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

/** Reads one line of standard input; null when it is closed. Ctrl-C stops the program. Secrets are not echoed. */
export function askAtTerminal(
  question: string,
  { isSecret }: { isSecret: boolean },
  stopping: AbortController,
): Promise<string | null> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_bytes, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: isSecret ? nowhere : process.stderr, terminal: true });
  // The prompt is on screen already, and readline would write its own over it.
  lines.setPrompt(isSecret ? "" : question);
  if (!isSecret) lines.prompt();
  return new Promise((resolve) => {
    let answer: string | null = null;
    lines.once("line", (text) => {
      answer = text;
      lines.close();
    });
    lines.once("SIGINT", () => {
      stopping.abort();
      lines.close();
    });
    lines.once("close", () => {
      if (isSecret) process.stderr.write("\n");
      resolve(answer);
    });
  });
}
