/**
 * Writes one JSON line for each event on standard output. Event names are past tense, and fields hold every id of the
 * event: `log.info("webhook.received", { run_id, verdict })`. Never pass a body, a URL with a query, or a header.
 */
export interface Log {
  debug(event: string, fields?: Record<string, unknown>): void;
  info(event: string, fields?: Record<string, unknown>): void;
  warn(event: string, fields?: Record<string, unknown>): void;
  error(event: string, fields?: Record<string, unknown>): void;
}

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;

export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };
