import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { listenOnLoopback, readBody } from "./loopback.ts";

export interface SinkRequest {
  method: string;
  /** Path and query. */
  path: string;
  headers: Record<string, string>;
  body: string;
  /** True when the signature is right, and always without a secret. */
  verified: boolean;
}

export interface HttpSinkStandIn {
  url: string;
  requests: SinkRequest[];
  close(): Promise<void>;
}

/**
 * A Standard Webhooks receiver on loopback. It checks the signature over the received bytes and answers 401 when that
 * is wrong, else 200. `intercept` is called with each genuine request; true: it was answered, or never will be.
 */
export async function startHttpSink({
  secret,
  intercept = () => false,
}: {
  secret?: string;
  intercept?: (response: ServerResponse) => boolean;
} = {}): Promise<HttpSinkStandIn> {
  const requests: SinkRequest[] = [];
  const { origin, close } = await listenOnLoopback((request, response) => {
    readBody(request).then(
      (body) => {
        const seen = toSinkRequest(request, body, secret);
        requests.push(seen);
        if (!seen.verified) response.writeHead(401).end("wrong signature");
        else if (!intercept(response)) response.end();
      },
      () => response.destroy(),
    );
  });
  return { url: `${origin}/hooks/skyvern`, requests, close };
}

function toSinkRequest(request: IncomingMessage, body: Buffer, secret: string | undefined): SinkRequest {
  const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
  return {
    method: request.method ?? "",
    path: request.url ?? "",
    headers,
    body: body.toString("utf8"),
    verified: secret === undefined || isSigned(headers, body, secret),
  };
}

function isSigned(headers: Record<string, string>, body: Buffer, secret: string): boolean {
  const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
  const mac = createHmac("sha256", key);
  mac.update(`${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`).update(body);
  const expected = mac.digest();
  return (headers["webhook-signature"] ?? "").split(" ").some((signature) => {
    const given = Buffer.from(signature.replace(/^v1,/, ""), "base64");
    return given.length === expected.length && timingSafeEqual(given, expected);
  });
}
