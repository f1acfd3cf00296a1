import { pino, type DestinationStream } from "pino";
import type { Log } from "./log.ts";
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

/**
 * The lines of one turn of the event loop are written together, because a write costs several times as much as a line.
 */
function gathered(): DestinationStream {
  let lines = "";
  const flush = (): void => {
    out.write(lines);
    lines = "";
  };
  // Registered before pino's own handler, which flushes when the process exits.
  process.once("exit", () => {
    if (lines !== "") flush();
  });
  const out = pino.destination({ fd: 1, sync: false });
  return {
    write: (line) => {
      if (lines === "") setImmediate(flush);
      lines += line;
    },
  };
}
