/** Webhooks, sent as Skyvern sends them. */
import { createHmac } from "node:crypto";
import http from "node:http";
import https from "node:https";
import type { JsonObject } from "../../platform/json.ts";
import type { WebhookAnswer, WebhookOrder } from "./model.ts";
import type { SkyvernState } from "./state.ts";
import { shownPayload } from "./artifacts.ts";

export function toBody(state: SkyvernState, what: string | JsonObject | Uint8Array): Uint8Array {
  if (what instanceof Uint8Array) return what;
  if (typeof what !== "string") return Buffer.from(JSON.stringify(what));
  const run = state.runs.get(what);
  if (!run) throw new Error(`The stand-in Skyvern has no run ${what}.`);
  return Buffer.from(JSON.stringify(shownPayload(state, run)));
}

/** Every try has the same body, signature and timestamp. */
export async function sendWebhook(
  { now }: SkyvernState,
  body: Uint8Array,
  { url, key, again = () => false, timeoutMs = 30_000 }: WebhookOrder,
): Promise<WebhookAnswer> {
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
  for (;;) {
    const answer = await post(url, headers, body, timeoutMs);
    if (!(await again(answer))) return answer;
  }
}

/** One POST on a new connection. */
function post(
  url: string,
  headers: Record<string, string>,
  body: Uint8Array,
  timeoutMs: number,
): Promise<WebhookAnswer> {
  return new Promise((resolve) => {
    const failed = (error: string) => resolve({ status: null, body: "", error, headers: {} });
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
          headers: response.headers,
        }),
      );
    });
    request.on("error", (error) => failed(signal.aborted ? "timed out" : error.message));
    request.end(body);
  });
}
