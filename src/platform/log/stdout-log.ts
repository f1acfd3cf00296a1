import { write, writeSync } from "node:fs";
import { pino, type DestinationStream } from "pino";
import type { Log } from "../log.ts";
import { formatLogLine } from "./text-log.ts";

/** JSON lines on standard output, or to a given writer. */
export function createLog(level: string, destination: DestinationStream = gathered()): Log {
  const options = {
    level,
    base: null,
    timestamp: () => `,"time":"${new Date().toISOString()}"`,
    messageKey: "event",
    formatters: { level: (label: string) => ({ level: label }) },
  };
  const logger = pino(options, destination);
  return {
    debug: (event, fields) => logger.debug(fields ?? {}, event),
    info: (event, fields) => logger.info(fields ?? {}, event),
    warn: (event, fields) => logger.warn(fields ?? {}, event),
    error: (event, fields) => logger.error(fields ?? {}, event),
  };
}

/** Lines for people on standard output. */
export function createTextLog(level: string, look: { colour: boolean }): Log {
  const out = gathered();
  return createLog(level, { write: (line) => out.write(formatLogLine(line, look)) });
}

/** Characters that wait while standard output takes none. Lines beyond them are dropped and counted. */
const MAX_WAITING = 1_000_000;
const RETRY_MS = 500;

/**
 * The lines of one turn of the event loop are written together, because a write costs several times as much as a line.
 * Whatever becomes of standard output, the relay works: a full disk is tried again, a reader that hangs holds up
 * nothing, and after one that has gone nothing is written.
 */
function gathered(fd = 1): DestinationStream {
  let waiting = "";
  let lost = 0;
  let startedAt = 0;
  let state: "idle" | "planned" | "writing" | "failing" | "gone" = "idle";

  const writeAll = (bytes: Buffer): void => {
    state = "writing";
    startedAt = performance.now();
    write(fd, bytes, (error, written) => {
      if (error === null) return bytes.length > written ? writeAll(bytes.subarray(written)) : writeNext();
      state = error.code === "EPIPE" ? "gone" : "failing";
      if (state === "failing") setTimeout(() => writeAll(bytes), RETRY_MS).unref();
    });
  };
  const writeNext = (): void => {
    if (lost > 0) waiting += `${JSON.stringify({ level: "warn", event: "log.lines_lost", lines: lost })}\n`;
    const text = waiting;
    waiting = "";
    lost = 0;
    if (text === "") state = "idle";
    else writeAll(Buffer.from(text));
  };
  process.once("exit", () => {
    const hangs = state === "writing" && performance.now() - startedAt > RETRY_MS;
    if (hangs || state === "failing" || state === "gone") return;
    try {
      writeSync(fd, waiting);
    } catch {
      // There is no time left for another try.
    }
  });
  return {
    write: (line) => {
      if (state === "gone") return;
      if (waiting.length > MAX_WAITING) lost += 1;
      else waiting += line;
      if (state !== "idle") return;
      state = "planned";
      setImmediate(writeNext);
    },
  };
}
