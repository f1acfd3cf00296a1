/** Webhooks, sent as Skyvern sends them. */
import { createHmac } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { JsonObject } from "../../platform/json.ts";
import type { WebhookResult } from "./model.ts";
import type { SkyvernState } from "./state.ts";
import { shownPayload } from "./artifacts.ts";

const MAX_RETRY_AFTER_MS = 30_000;

const RETRIED = new Set([403, 408, 425, 429]);

export function toBody(state: SkyvernState, what: string | JsonObject | Uint8Array): Uint8Array {
  if (what instanceof Uint8Array) return what;
  if (typeof what !== "string") return Buffer.from(JSON.stringify(what));
  const run = state.runs.get(what);
  if (!run) throw new Error(`The stand-in Skyvern has no run ${what}.`);
  return Buffer.from(JSON.stringify(shownPayload(state, run)));
}

export async function sendWebhook(
  state: SkyvernState,
  body: Uint8Array,
  url: string,
  key: string,
): Promise<WebhookResult> {
  const { now, random, sleep } = runtimeOf(state);
  const headers = {
    Accept: "*/*",
    "Accept-Encoding": "gzip, deflate",
    Connection: "keep-alive",
    "User-Agent": "python-httpx/0.28.1",
    "x-skyvern-timestamp": String(Math.floor(now() / 1000)),
    "x-skyvern-signature": createHmac("sha256", key).update(body).digest("hex"),
    "Content-Type": "application/json",
    "Content-Length": String(body.byteLength),
  };
  const attempts: WebhookResult["attempts"] = [];
  for (let attempt = 1; ; attempt++) {
    const came = await post(url, headers, body, state.webhookTimeoutMs);
    attempts.push({ status: came.status, body: came.body, error: came.error });
    if (came.status !== null && came.status >= 200 && came.status < 300) {
      return { delivered: true, attempts, failureReason: null };
    }
    const again = came.status === null || RETRIED.has(came.status) || came.status >= 500;
    if (!again || attempt === 3) {
      const reason = `Webhook failed with status code ${came.status}, error message: ${came.body}`;
      return { delivered: false, attempts, failureReason: came.status === null ? came.error : reason };
    }
    const backoff = state.backoffMs * (2 ** (attempt - 1) + random());
    await sleep(came.retryAfterMs === null ? backoff : Math.min(came.retryAfterMs, MAX_RETRY_AFTER_MS));
  }
}

const runtimeOf = ({ runtime }: SkyvernState) => ({
  now: () => runtime.now(),
  random: () => runtime.random(),
  sleep: (ms: number) => runtime.sleep(ms),
});

interface Came {
  status: number | null;
  body: string;
  error: string | null;
  retryAfterMs: number | null;
}

/** One POST on a new connection. */
function post(url: string, headers: Record<string, string>, body: Uint8Array, timeoutMs: number): Promise<Came> {
  return new Promise((resolve) => {
    const failed = (error: string) => resolve({ status: null, body: "", error, retryAfterMs: null });
    const send = url.startsWith("https:") ? https.request : http.request;
    const signal = AbortSignal.timeout(timeoutMs);
    const request = send(url, { method: "POST", headers, agent: false, signal }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", (error) => failed(error.message));
      response.on("end", () =>
        resolve({
          status: response.statusCode ?? 0,
          body: Buffer.concat(chunks).toString("utf8"),
          error: null,
          retryAfterMs: parseRetryAfter(response.headers["retry-after"], response.headers.date),
        }),
      );
    });
    request.on("error", (error) => failed(signal.aborted ? "timed out" : error.message));
    request.end(body);
  });
}

/** Seconds, or an HTTP date against the receiver's own `Date`. */
function parseRetryAfter(value: string | undefined, date: string | undefined): number | null {
  if (value === undefined) return null;
  if (/^\d+$/.test(value)) return Number(value) * 1000;
  const ms = Date.parse(value) - Date.parse(date ?? "");
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
