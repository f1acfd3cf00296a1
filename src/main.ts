/** The process shell: arguments and environment in, signals to an abort, exit code out. */
import { closeSync, openSync, writeSync } from "node:fs";
import { parseEnv } from "node:util";
import { runCli } from "./cli/cli.ts";
import { askAtTerminal } from "./cli/ask.ts";
import { readTrustedFile } from "./app/trusted-file.ts";

// The database holds results and the key that signs links, so no other user of the machine may read its files.
process.umask(0o077);

const stopping = new AbortController();
/** Two signals within this time are one request. */
const SAME_REQUEST_MS = 500;
let askedAt = 0;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    // npm passes Ctrl-C on to a process that got it from the terminal already.
    if (stopping.signal.aborted && performance.now() - askedAt < SAME_REQUEST_MS) return;
    if (stopping.signal.aborted) return endAtOnce(signal);
    askedAt = performance.now();
    stopping.abort();
  });
}

/** True once the terminal is closed at which the process was started. `kill -HUP` leaves it there. */
function isTerminalGone(): boolean {
  try {
    closeSync(openSync("/dev/tty", "r"));
    return false;
  } catch {
    return true;
  }
}

function endAtOnce(signal: "SIGTERM" | "SIGINT"): void {
  const said = `skyvern-relay: a second ${signal} came: it ends at once. The next start takes up what was under way.\n`;
  try {
    writeSync(2, said);
  } catch {
    // Nobody reads it.
  }
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The reader has closed the pipe (`export | head`), which is neither worth a message nor a failure.
  if (error.code === "EPIPE") process.exit(0);
  process.stderr.write(`skyvern-relay: the output could not be written: ${error.message}\n`, () => process.exit(1));
});
// Nothing can be reported any more.
process.stderr.on("error", () => {});

/** How long a reader that stalls may hold up a process that was asked to stop. */
const STOP_GRACE_MS = 1_000;
const stopGrace = new Promise<void>((resolve) => {
  stopping.signal.addEventListener("abort", () => void setTimeout(resolve, STOP_GRACE_MS), { once: true });
});
/** Resolves when everything written so far was taken. A pipe holds 64 kB: the rest waits in this process. */
const flushed = async (): Promise<void> => {
  const writes = [process.stdout, process.stderr].map(
    (stream) =>
      new Promise<void>((resolve) => {
        // Nothing waits: a write of nothing would fail where a disk is full, also if this process wrote nothing.
        if (stream.writableLength === 0) setImmediate(resolve);
        else stream.write("", () => resolve());
      }),
  );
  await Promise.race([Promise.all(writes), stopGrace]);
};

// Settings beside where the program starts; what the environment says already stays.
try {
  for (const [name, value] of Object.entries(parseEnv(readTrustedFile(".env")))) process.env[name] ??= value;
} catch (error) {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== "ENOENT") process.stderr.write(`skyvern-relay: .env was not read: ${message}\n`);
}

const code = await runCli(process.argv.slice(2), {
  env: process.env,
  stdout: (text) => void process.stdout.write(text),
  stderr: (text) => void process.stderr.write(text),
  flushed,
  stopped: stopping.signal,
  onHangup: (listener) =>
    void process.on("SIGHUP", () => (process.stdout.isTTY && isTerminalGone() ? stopping.abort() : listener())),
  terminal: process.stderr.isTTY,
  ...(process.stdin.isTTY && process.stderr.isTTY
    ? { ask: (question, how) => askAtTerminal(question, how, stopping) }
    : {}),
  ...(process.stdout.isTTY
    ? { screen: { colour: process.stdout.hasColors(), columns: () => process.stdout.columns } }
    : {}),
});
await flushed();
// At once: something that hangs must not keep a process alive that has said how it ended.
process.exit(code);
