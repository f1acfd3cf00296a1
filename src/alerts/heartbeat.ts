/**
 * A heartbeat to a service that raises the alarm when it stops: GET while the relay works; otherwise POST to the same
 * address with `/fail` appended and the reason as the body. The protocol is Healthchecks':
 * https://healthchecks.io/docs/http_api/
 */
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { HttpClient } from "../net/http-client.ts";
import type { Secret } from "../platform/secret.ts";
import { outcomeOfError, outcomeOfStatus } from "../sinks/http-outcome.ts";
import { withDeadline } from "../platform/abortable.ts";

export interface HeartbeatDeps {
  /** Secret, because anyone who has the address can send heartbeats. */
  url: Secret;
  request: HttpClient;
  /** What keeps the relay from working, or null. */
  fault(): Promise<string | null>;
  now(): number;
  log: Log;
  metrics: Metrics;
}

const TIMEOUT_MS = 10_000;

/** Sends one heartbeat. Always resolves: a change of result is logged, every result is counted. */
export function createHeartbeat({ url, request, fault, now, log, metrics }: HeartbeatDeps) {
  const who = `the heartbeat (${new URL(url.reveal()).origin})`;
  let wasAccepted = true;
  return async (signal: AbortSignal): Promise<void> => {
    const wrong = await fault();
    if (signal.aborted) return;
    const reason = await withDeadline(TIMEOUT_MS, signal, (inTime) =>
      wrong === null
        ? request(url.reveal(), { signal: inTime })
        : request(failAddress(url), {
            signal: inTime,
            method: "POST",
            body: wrong,
            headers: { "content-type": "text/plain" },
          }),
    ).then(
      (answer) => {
        const outcome = outcomeOfStatus(answer.status, answer.headers, who, now());
        return outcome.kind === "delivered" ? null : outcome.reason;
      },
      (error: unknown) => {
        const outcome = outcomeOfError(error, who);
        return outcome.kind === "delivered" ? null : outcome.reason;
      },
    );
    // The relay's stop cut the request off, which is no failure.
    if (signal.aborted) return;
    metrics.heartbeats.inc({ result: reason !== null ? "rejected" : wrong === null ? "alive" : "fail" });
    if (reason !== null && wasAccepted) log.warn("heartbeat.rejected", { reason });
    if (reason === null && !wasAccepted) log.info("heartbeat.accepted");
    if (wrong !== null) log.warn("heartbeat.failure_sent", { reason: wrong });
    wasAccepted = reason === null;
  };
}

function failAddress(url: Secret): URL {
  const address = new URL(url.reveal());
  address.pathname = `${address.pathname.replace(/\/+$/, "")}/fail`;
  return address;
}
