/**
 * Slack's Web API with results as values: one call, one answer or failure. It does not retry; the outbox has the
 * schedule.
 */
import { LogLevel, WebClient, type Logger } from "@slack/web-api";
import type { Fetch } from "../../platform/runtime.ts";
import type { Secret } from "../../platform/secret.ts";
import { toFailure, type SlackFailure } from "./error-codes.ts";

export type SlackAnswer = { ok: true; data: Record<string, unknown> } | { ok: false; failure: SlackFailure };
/** Calls a method. Ends promptly when the attempt's signal aborts, or after `limitMs`. Never throws. */
export type SlackCall = (method: string, args: Record<string, unknown>, limitMs?: number) => Promise<SlackAnswer>;

/** The longest time for a single call, whatever the attempt's deadline. */
const CALL_TIMEOUT_MS = 30_000;

export interface ApiOptions {
  token: Secret;
  apiUrl: string;
  fetch: Fetch;
}

/**
 * Creates the calls of one attempt, which run one after another. The client takes no signal per call, and is cheap to
 * create (0.05 ms).
 */
export function callerFor({ token, apiUrl, fetch }: ApiOptions, signal: AbortSignal): SlackCall {
  let status: number | null = null;
  let limit: AbortSignal | null = null;
  const client = new WebClient(token.reveal(), {
    slackApiUrl: apiUrl,
    allowAbsoluteUrls: false,
    retryConfig: { retries: 0 },
    rejectRateLimitedCalls: true,
    timeout: CALL_TIMEOUT_MS,
    logger: silent,
    fetch: async (url, init) => {
      const signals = [signal, init?.signal, limit].filter((each) => each instanceof AbortSignal);
      // "manual" returns a redirect as the answer it is; "error" would look like a network fault and be retried for a
      // day.
      const response = await fetch(url, { ...init, redirect: "manual", signal: AbortSignal.any(signals) });
      status = response.status;
      // The client leaves the body of a 429 unread, which would hold the connection.
      if (status === 429) await response.body?.cancel();
      return response;
    },
  });
  return async (method, args, limitMs) => {
    if (signal.aborted) return { ok: false, failure: { kind: "aborted" } };
    status = null;
    limit = limitMs === undefined ? null : AbortSignal.timeout(limitMs);
    try {
      return { ok: true, data: { ...(await client.apiCall(method, args)) } };
    } catch (error) {
      return { ok: false, failure: toFailure(error, status) };
    }
  };
}

const silent: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  setLevel() {},
  getLevel: () => LogLevel.ERROR,
  setName() {},
};
