/** A stand-in for Skyvern that fails when a test orders it. */
import { systemRuntime, type Runtime } from "../../src/platform/runtime.ts";
import * as plain from "../../src/stand-ins/skyvern.ts";
import { detail, EMPTY_404, json } from "../../src/stand-ins/skyvern/answer.ts";

/** What the next matching request gets instead of an answer. Matching entries are consumed in order. */
export interface StandInFault {
  /** Tested against `/v1/runs/wr_1/artifacts`; absent: every path. */
  on?: RegExp;
  /** Default: 1. */
  times?: number;
  status?: number;
  headers?: Record<string, string>;
  /** Default: Skyvern's own body for the status. */
  body?: string;
  /** `hang`: no answer. `reset`: the connection breaks. `half`: it breaks after the first half of the answer's body. */
  instead?: "hang" | "reset" | "half";
}

export interface StandInSkyvernOptions extends plain.StandInSkyvernOptions {
  random?: Runtime["random"];
  sleep?: Runtime["sleep"];
  /** The wait between webhook attempts: 1000 in Skyvern, doubled before the third. */
  backoffMs?: number;
  /** The timeout of one webhook attempt: 30 000 in Skyvern. */
  webhookTimeoutMs?: number;
}

export interface WebhookResult {
  delivered: boolean;
  /** In order; `status` is null when no answer came, `error` says why then. */
  attempts: Pick<plain.WebhookAnswer, "status" | "body" | "error">[];
  /** What Skyvern would store as the run's `webhook_failure_reason`. */
  failureReason: string | null;
}

export interface StandInSkyvern extends Omit<plain.StandInSkyvern, "sendWebhook"> {
  readonly faults: StandInFault[];
  /**
   * POSTs like Skyvern: a run by its id, an object, or the exact bytes. It makes up to 3 attempts with one body,
   * signature and timestamp; 403, 408, 425, 429, 5xx and network errors are retried, redirects are not followed.
   */
  sendWebhook(
    what: Parameters<plain.StandInSkyvern["sendWebhook"]>[0],
    url: string,
    key: string,
  ): Promise<WebhookResult>;
}

export async function startSkyvern(options: StandInSkyvernOptions): Promise<StandInSkyvern> {
  const faults: StandInFault[] = [];
  const standIn = await plain.startSkyvern({
    ...options,
    intercept: ({ path }, { response, answer }) => {
      const fault = takeFault(faults, path);
      if (fault === undefined) return false;
      if (fault.instead === "hang") return true;
      if (fault.instead === "reset") {
        response.socket?.destroy();
        return true;
      }
      const isHalf = fault.instead === "half";
      const { status, headers, body } = isHalf ? answer() : answerOfFault(fault);
      const length = Buffer.byteLength(body);
      response.writeHead(status, { ...headers, "content-length": length });
      if (isHalf) response.write(body.slice(0, length / 2), () => response.socket?.destroy());
      else response.end(body);
      return true;
    },
  });
  return { ...standIn, faults, sendWebhook: (what, url, key) => sendAgain(standIn, what, { url, key }, options) };
}

const MAX_RETRY_AFTER_MS = 30_000;
const RETRIED = new Set([403, 408, 425, 429]);

async function sendAgain(
  { sendWebhook }: plain.StandInSkyvern,
  what: Parameters<plain.StandInSkyvern["sendWebhook"]>[0],
  to: { url: string; key: string },
  { backoffMs = 1000, webhookTimeoutMs, ...runtime }: StandInSkyvernOptions,
): Promise<WebhookResult> {
  const { random, sleep } = { ...systemRuntime(), ...runtime };
  const attempts: WebhookResult["attempts"] = [];
  const again = async ({ status, body, error, headers }: plain.WebhookAnswer): Promise<boolean> => {
    attempts.push({ status, body, error });
    const isRetried = status === null || RETRIED.has(status) || status >= 500;
    if (!isRetried || attempts.length === 3) return false;
    const backoff = backoffMs * (2 ** (attempts.length - 1) + random());
    const retryAfterMs = parseRetryAfter(headers["retry-after"], headers.date);
    await sleep(retryAfterMs === null ? backoff : Math.min(retryAfterMs, MAX_RETRY_AFTER_MS));
    return true;
  };
  const timeout = webhookTimeoutMs === undefined ? {} : { timeoutMs: webhookTimeoutMs };
  const { status, body, error } = await sendWebhook(what, { ...to, ...timeout, again });
  if (status !== null && status >= 200 && status < 300) return { delivered: true, attempts, failureReason: null };
  const reason = `Webhook failed with status code ${status}, error message: ${body}`;
  return { delivered: false, attempts, failureReason: status === null ? error : reason };
}

/** Seconds, or an HTTP date against the receiver's own `Date`. */
function parseRetryAfter(value: string | undefined, date: string | undefined): number | null {
  if (value === undefined) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const ms = Date.parse(value) - Date.parse(date ?? "");
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}

function takeFault(faults: StandInFault[], path: string): StandInFault | undefined {
  const index = faults.findIndex(({ on }) => on === undefined || on.test(path));
  const fault = faults[index];
  if (!fault) return undefined;
  const left = (fault.times ?? 1) - 1;
  if (left > 0) faults[index] = { ...fault, times: left };
  else faults.splice(index, 1);
  return fault;
}

function answerOfFault({ status = 500, headers, body }: StandInFault): plain.StandInAnswer {
  const own: Record<number, plain.StandInAnswer> = {
    403: detail(403, "Invalid credentials"),
    404: EMPTY_404,
    429: detail(429, "Rate limit exceeded: 100 per 1 minute"),
    500: json(500, { error: "Unexpected error: OperationalError" }),
    503: detail(503, "Service Unavailable"),
  };
  const answer = own[status] ?? detail(status, "A fault on order");
  return { status, headers: { ...answer.headers, ...headers }, body: body ?? answer.body };
}
