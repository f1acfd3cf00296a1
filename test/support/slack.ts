/** A stand-in for Slack that fails when a test orders it. */
import type { ServerResponse } from "node:http";
import * as plain from "../../src/stand-ins/slack.ts";

/** What happens to one call. Without `…AfterSuccess`, the call has no effect. */
export interface SlackFault {
  /** Applies only to this method; `webhook` is the incoming webhook. Default: any. */
  method?: string;
  /** HTTP status; 200 when only `error` is given. */
  status?: number;
  /** `{"ok":false,"error":…}` (the webhook: the bare word). */
  error?: string;
  /** The `Retry-After` header, in seconds. Alone it means 429. */
  retryAfter?: number;
  /** The raw body; status 200 unless given. */
  body?: string;
  /** A redirect to this address. */
  location?: string;
  /** Does the work, then never answers. */
  hangAfterSuccess?: boolean;
  /** Does the work, then resets the connection. */
  resetAfterSuccess?: boolean;
  /** Neither does the work nor answers. */
  hang?: boolean;
  /** Closes the connection without doing the work. */
  drop?: boolean;
}

export interface SlackOptions extends Omit<plain.SlackOptions, "intercept"> {
  /**
   * Messages a channel takes per second before 429; none: no limit. {@link
   * https://docs.slack.dev/apis/web-api/rate-limits}
   */
  messagesPerSecond?: number;
  /** The burst that may come at once. Default 1. */
  burst?: number;
  /** A fault for this call when none was ordered, for random faults. */
  faultOf?: (call: plain.SlackStandInCall) => SlackFault | undefined;
}

export interface SlackStandIn extends plain.SlackStandIn {
  /** Ordered faults: each call takes the first that matches it. */
  faults: SlackFault[];
}

export async function startSlack({
  faultOf,
  messagesPerSecond,
  burst = 1,
  ...options
}: SlackOptions = {}): Promise<SlackStandIn> {
  const faults: SlackFault[] = [];
  const waitFor = messagesPerSecond === undefined ? () => 0 : createPace(1000 / messagesPerSecond, burst, options.now);
  const standIn = await plain.startSlack({
    ...options,
    intercept: (call, { request, response, isWebhook, act }) => {
      const fault = faultFor(call, faults) ?? faultOf?.(call);
      if (fault === undefined) {
        const isMessage = isWebhook || call.method === "chat.postMessage";
        const retryAfter = isMessage ? waitFor(String(call.args["channel"])) : 0;
        if (retryAfter > 0) fail(response, { retryAfter }, isWebhook);
        return retryAfter > 0;
      }
      if (fault.drop) request.socket.destroy();
      else if (fault.hangAfterSuccess) act();
      else if (fault.resetAfterSuccess) {
        act();
        request.socket.resetAndDestroy();
      } else if (!fault.hang) fail(response, fault, isWebhook);
      return true;
    },
  });
  return { ...standIn, faults };
}

/** Seconds until a channel takes another message; 0: now, and it counts. */
function createPace(eachMs: number, burst: number, now = Date.now): (channel: string) => number {
  /** When each channel's allowance was last full, in epoch milliseconds of messages to come. */
  const paidUntil = new Map<string, number>();
  return (channel) => {
    const paid = Math.max(paidUntil.get(channel) ?? 0, now());
    const wait = paid - (now() + eachMs * (burst - 1));
    if (wait > 0) return Math.max(1, Math.ceil(wait / 1000));
    paidUntil.set(channel, paid + eachMs);
    return 0;
  };
}

function faultFor(call: plain.SlackStandInCall, faults: SlackFault[]): SlackFault | undefined {
  const i = faults.findIndex(({ method }) => method === undefined || method === call.method);
  return i < 0 ? undefined : faults.splice(i, 1)[0];
}

function fail(response: ServerResponse, fault: SlackFault, isWebhook: boolean): void {
  const { error, retryAfter, location } = fault;
  const status =
    fault.status ?? (location ? 302 : error || fault.body !== undefined || retryAfter === undefined ? 200 : 429);
  const headers = {
    ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    ...(location && { location }),
    "content-type":
      fault.body === undefined && !isWebhook ? "application/json; charset=utf-8" : "text/plain; charset=utf-8",
  };
  const word = error ?? (status === 429 ? "ratelimited" : "internal_error");
  const body = fault.body ?? (location ? "" : isWebhook ? word : JSON.stringify({ ok: false, error: word }));
  response.writeHead(status, headers).end(body);
}
