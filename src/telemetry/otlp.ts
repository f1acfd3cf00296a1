/**
 * Sends spans to a collector, by OTLP over HTTP as JSON: https://opentelemetry.io/docs/specs/otlp/#otlphttp
 *
 * The queue is bounded, and spans that the collector does not accept are dropped and counted: traces never hold up a
 * delivery.
 */
import type { Log } from "../platform/log.ts";
import type { HttpClient } from "../net/http-client.ts";
import type { Attribute, Span } from "./trace.ts";
import { VERSION } from "../platform/version.ts";

export interface OtlpDeps {
  /** The URL for POST, ending in /v1/traces. */
  url: string;
  headers: Record<string, string>;
  service: string;
  request: HttpClient;
  /** Counts dropped spans. */
  dropped(count: number): void;
  log: Log;
}

/** The same as OpenTelemetry's own batches. */
const MAX_WAITING = 2_048;
const MAX_BATCH = 512;
const TIMEOUT_MS = 10_000;

export function createOtlp({ url, headers, service, request, dropped, log }: OtlpDeps) {
  let waiting: Span[] = [];
  let wasAccepted = true;
  const post = async (spans: Span[], timeoutMs: number): Promise<string | null> => {
    try {
      const { status } = await request(url, {
        method: "POST",
        headers: { ...headers, "content-type": "application/json" },
        body: JSON.stringify(toOtlpRequest(service, spans)),
        signal: AbortSignal.timeout(timeoutMs),
      });
      return status >= 200 && status < 300 ? null : `the collector answered ${status}`;
    } catch (error) {
      return `the collector could not be reached (${error instanceof Error ? error.name : "unknown error"})`;
    }
  };
  return {
    take: (span: Span): void => {
      if (waiting.length < MAX_WAITING) waiting.push(span);
      else dropped(1);
    },
    /** Sends the queue. To be called every few seconds and at the end. After a failed batch the rest is not tried. */
    flush: async (timeoutMs = TIMEOUT_MS): Promise<void> => {
      const all = waiting;
      waiting = [];
      for (let i = 0; i < all.length; i += MAX_BATCH) {
        const spans = all.slice(i, i + MAX_BATCH);
        const reason = await post(spans, timeoutMs);
        if (reason !== null) dropped(all.length - i);
        if (reason !== null && wasAccepted) log.warn("traces.rejected", { reason, spans: all.length - i });
        if (reason === null && !wasAccepted) log.info("traces.accepted");
        wasAccepted = reason === null;
        if (reason !== null) return;
      }
    },
  };
}

const KINDS = { internal: 1, server: 2, client: 3 };
const STATUS_ERROR = 2;

const toOtlpRequest = (service: string, spans: readonly Span[]) => ({
  resourceSpans: [
    {
      resource: { attributes: toOtlpAttributes({ "service.name": service, "service.version": VERSION }) },
      scopeSpans: [{ scope: { name: "skyvern-relay", version: VERSION }, spans: spans.map(toOtlpSpan) }],
    },
  ],
});

const toOtlpSpan = (span: Span) => ({
  traceId: span.traceId,
  spanId: span.spanId,
  ...(span.parentSpanId === null ? {} : { parentSpanId: span.parentSpanId }),
  name: span.name,
  kind: KINDS[span.kind],
  startTimeUnixNano: nanoseconds(span.startedAt),
  endTimeUnixNano: nanoseconds(span.finishedAt),
  attributes: toOtlpAttributes(span.attributes),
  ...(span.link === null ? {} : { links: [{ traceId: span.traceId, spanId: span.link, attributes: [] }] }),
  status: span.error === null ? {} : { code: STATUS_ERROR, message: span.error },
});

/** 64-bit integers are text in OTLP's JSON. */
const nanoseconds = (ms: number): string => String(BigInt(Math.round(ms * 1_000)) * 1_000n);

const toOtlpAttributes = (attributes: Record<string, Attribute>) =>
  Object.entries(attributes).flatMap(([key, value]) => (value === null ? [] : [{ key, value: toOtlpValue(value) }]));

function toOtlpValue(value: NonNullable<Attribute>): Record<string, string | number | boolean> {
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "string") return { stringValue: value };
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
}
