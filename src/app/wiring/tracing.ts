/** Wires the export of traces. */
import type { Config } from "../../config/config.ts";
import { createOtlp } from "../../telemetry/otlp.ts";
import type { AppHost } from "../host.ts";

export type Otlp = ReturnType<typeof createOtlp>;

/** Null when no traces are collected. */
export function createTracing({ tracing }: Config, { operatorRequest, metrics, log }: AppHost): Otlp | null {
  if (tracing === null) return null;
  const headers = Object.entries(tracing.headers).map(([name, value]) => [name, value.reveal()]);
  return createOtlp({
    ...tracing,
    headers: Object.fromEntries(headers) as Record<string, string>,
    request: operatorRequest,
    dropped: (count) => metrics.spansDropped.inc(count),
    log,
  });
}
