/** The process shell: arguments and environment in, signals to an abort, exit code out. */
import { runCli } from "./cli/cli.ts";

// The database holds results and the key that signs links: nobody else on the machine needs to read its files.
process.umask(0o077);

const stopping = new AbortController();
// Whoever reads the output has seen enough (`export | head`): no reason to say more, nor to fail.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

process.once("SIGTERM", () => stopping.abort());
process.once("SIGINT", () => stopping.abort());

const code = await runCli(process.argv.slice(2), {
  env: process.env,
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  stopped: stopping.signal,
  onHangup: (listener) => void process.on("SIGHUP", listener),
  terminal: process.stderr.isTTY,
});
// At once: something that hangs must not keep a process alive that has said how it ended.
process.exit(code);
