/**
 * A sign of life to a service that raises the alarm when it stays away: GET while the relay does its work, POST to the same address
 * with `/fail` behind it, and why in the body, when it does not. As Healthchecks has it: https://healthchecks.io/docs/http_api/
 */
import type { Log } from "../platform/log.ts";
import type { Metrics } from "../telemetry/metrics.ts";
import type { HttpClient } from "../net/http-client.ts";
import type { Secret } from "../platform/secret.ts";
import { outcomeOfError, outcomeOfStatus } from "../sinks/http-outcome.ts";

export interface HeartbeatDeps {
  /** Whoever has it can give signs of life: it is told nobody. */
  url: Secret;
  request: HttpClient;
  /** What keeps the relay from its work, or null. */
  fault(): Promise<string | null>;
  now(): number;
  log: Log;
  metrics: Metrics;
}

const TIMEOUT_MS = 10_000;

/** One sign of life. Resolves whatever comes of it: a change is logged, the rest counted. */
export function createHeartbeat({ url, request, fault, now, log, metrics }: HeartbeatDeps) {
  const who = `the heartbeat (${new URL(url.reveal()).origin})`;
  let wasAccepted = true;
  return async (signal: AbortSignal): Promise<void> => {
    const wrong = await fault();
    if (signal.aborted) return;
    const deadline = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const reason = await (
      wrong === null
        ? request(url.reveal(), { signal: deadline })
        : request(failAddress(url), {
            signal: deadline,
            method: "POST",
            body: wrong,
            headers: { "content-type": "text/plain" },
          })
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
    // Cut off by the end of the relay, which is no failure.
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
