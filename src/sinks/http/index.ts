/**
 * HTTP sinks receive the report as a signed POST in the Standard Webhooks format
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 */
import { randomBytes } from "node:crypto";
import { createSecretKey, type KeyObject } from "node:crypto";
import type { HttpClient, HttpResponse } from "../../net/http-client.ts";
import type { Outcome } from "../../domain/run.ts";
import { outcomeOfError, outcomeOfStatus, quote } from "../http-outcome.ts";
import { defineSink, type Job } from "../sink.ts";
import { HttpConfig, type HttpSettings } from "./config.ts";
import { diagnose } from "./diagnose.ts";
import { renderAlertBody, renderBody, sign } from "./message.ts";

/** The most bytes of an answer that may be shown. */
const QUOTED_BYTES = 1024;

export default defineSink({
  kind: "http",
  config: HttpConfig,
  receipt: "HTTP status",
  // Attempts that end together are recorded together, so more parallel attempts cost less each.
  concurrency: 16,
  shortcut: {
    variables: {
      SINK_URL: { key: "url", isSecret: true },
      SINK_SECRET: {
        key: "secret",
        isSecret: true,
        make: () => `whsec_${randomBytes(32).toString("base64")}`,
        without: {
          what: "the signature of what SINK_URL is sent",
          turn_on: "SINK_SECRET=whsec_… (openssl rand -base64 32)",
        },
      },
    },
    example: "SINK_URL=https://…",
    ways: [{ needs: ["SINK_URL"], takes: ["SINK_SECRET"] }],
  },
  addresses: ({ url }) => ({ url: url.reveal() }),
  create: (name, config, { request, now }) => {
    const target = createTarget(name, config);
    return {
      name,
      kind: "http",
      // Receivers drop a second message with the same webhook-id.
      dropsRepeats: true,
      ...(config.updates ? { updates: true as const } : {}),
      ...(config.attempts ? { attempts: true as const } : {}),
      deliver: (job, signal) => deliver(target, job, signal, { request, now }),
    };
  },
  diagnose,
});

interface HttpTarget {
  who: string;
  url: URL;
  headers: Record<string, string>;
  signingKeys: KeyObject[];
  /** Masked when an answer quotes them. */
  secrets: string[];
}

async function deliver(
  target: HttpTarget,
  job: Job,
  signal: AbortSignal,
  { request, now }: { request: HttpClient; now: () => number },
): Promise<Outcome> {
  const { who, url } = target;
  if (signal.aborted) return { kind: "retry", reason: `${who} was not contacted: the attempt ended before` };
  const id = job.attemptEventId ?? job.deliveryId;
  const body = Buffer.from(job.alert ? renderAlertBody(job.alert, job.report.received_at ?? "") : renderBody(job));
  const timestamp = Math.floor(now() / 1000);
  const signature = sign({ id, timestamp, body }, target.signingKeys);
  let answer: HttpResponse;
  try {
    answer = await request(url, {
      method: "POST",
      signal,
      body,
      headers: {
        ...target.headers,
        "content-type": "application/json",
        "webhook-id": id,
        "webhook-timestamp": String(timestamp),
        ...(job.traceparent === undefined ? {} : { traceparent: job.traceparent }),
        ...(signature === null ? {} : { "webhook-signature": signature }),
      },
    });
  } catch (error) {
    return outcomeOfError(error, who);
  }
  // A body that breaks off or never ends changes nothing, because the status has arrived.
  const outcome = outcomeOfStatus(answer.status, answer.headers, who, now());
  if (outcome.kind === "delivered") return outcome;
  const said = quote(answer.body.toString("utf8", 0, QUOTED_BYTES), target.secrets);
  return said === "" ? outcome : { ...outcome, reason: `${outcome.reason}. It said: ${said}` };
}

function createTarget(name: string, config: HttpSettings): HttpTarget {
  const url = new URL(config.url.reveal());
  const { username, password } = url;
  url.username = "";
  url.password = "";
  const headers: Record<string, string> = { accept: "*/*", "user-agent": "skyvern-relay" };
  if (username !== "" || password !== "") headers["authorization"] = basicAuthorization(username, password);
  for (const [key, value] of Object.entries(config.headers)) headers[key.toLowerCase()] = value.reveal();
  return {
    who: `HTTP sink "${name}" (${url.origin})`,
    url,
    headers,
    signingKeys: config.secret.map((secret) => createSecretKey(secret.reveal().slice("whsec_".length), "base64")),
    secrets: [
      ...config.secret.flatMap((secret) => [secret.reveal(), secret.reveal().slice("whsec_".length)]),
      ...Object.values(config.headers).flatMap((value) => [
        value.reveal(),
        ...value
          .reveal()
          .split(/\s+/)
          .filter((part) => part.length >= LONG),
      ]),
      ...secretsOfUrl(new URL(config.url.reveal())),
    ],
  };
}

const basicAuthorization = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString("base64")}`;

/** Everything beyond a URL's origin that may be secret, as written and as decoded. */
function secretsOfUrl(url: URL): string[] {
  const { username, password, search, pathname } = url;
  const values = search.split("&").map((pair) => pair.slice(pair.indexOf("=") + 1));
  const path = [pathname.slice(1), ...pathname.split("/")].filter((part) => part.length >= LONG);
  return [
    password,
    basicAuthorization(username, password).slice("Basic ".length),
    search.slice(1),
    ...values,
    ...path,
  ].flatMap((part) => [part, decoded(part)]);
}

/** The segments of a header value or path that are as long as tokens are; shorter ones are words. */
const LONG = 12;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
