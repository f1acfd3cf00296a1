/** Questions at a terminal. */
import { createInterface } from "node:readline";
import { Writable } from "node:stream";

/** One line of standard input; null when it is closed. Ctrl-C stops the program. What is secret is not echoed. */
export function askAtTerminal(
  question: string,
  { isSecret }: { isSecret: boolean },
  stopping: AbortController,
): Promise<string | null> {
  process.stderr.write(question);
  const nowhere = new Writable({ write: (_bytes, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: isSecret ? nowhere : process.stderr, terminal: true });
  // The prompt stands there already: readline would write its own over it.
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
