/**
 * HTTP sinks receive the report as a signed POST in the Standard Webhooks format
 * (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
 */
import { createSecretKey, type KeyObject } from "node:crypto";
import type { Outcome } from "../../run.ts";
import { outcomeOfError, outcomeOfStatus, quote } from "../outcome.ts";
import { defineSink, type Job, type SinkDeps } from "../sink.ts";
import { HttpConfig, type HttpSettings } from "./config.ts";
import { diagnose } from "./diagnose.ts";
import { alertBodyOf, bodyOf, signatureOf } from "./message.ts";

/** Of an answer, this much is read; the rest is thrown away. */
const MAX_ANSWER_BYTES = 1024;

export default defineSink({
  kind: "http",
  config: HttpConfig,
  create: (name, config, deps) => {
    const target = targetOf(name, config);
    return {
      name,
      kind: "http",
      ...(config.updates ? { updates: true as const } : {}),
      deliver: (job, signal) => deliver(target, job, signal, deps),
    };
  },
  diagnose,
});

interface Target {
  who: string;
  url: URL;
  headers: Record<string, string>;
  signingKeys: KeyObject[];
  /** What must not be shown when an answer quotes it. */
  secrets: string[];
}

async function deliver(target: Target, job: Job, signal: AbortSignal, deps: SinkDeps): Promise<Outcome> {
  const { who, url } = target;
  if (signal.aborted) return { kind: "retry", reason: `${who} was not contacted: the attempt ended before` };
  const body = job.alert ? alertBodyOf(job.alert, job.report.received_at ?? "") : bodyOf(job.report);
  const timestamp = Math.floor(deps.now() / 1000);
  const signature = signatureOf({ id: job.deliveryId, timestamp, body }, target.signingKeys);
  let response: Response;
  try {
    response = await deps.fetch(url, {
      method: "POST",
      redirect: "manual",
      signal,
      body,
      headers: {
        ...target.headers,
        "content-type": "application/json",
        "webhook-id": job.deliveryId,
        "webhook-timestamp": String(timestamp),
        ...(job.traceparent === undefined ? {} : { traceparent: job.traceparent }),
        ...(signature === null ? {} : { "webhook-signature": signature }),
      },
    });
  } catch (error) {
    return outcomeOfError(error, who);
  }
  const answer = quote(await beginningOf(response), target.secrets);
  const outcome = outcomeOfStatus(response.status, response.headers, who, deps.now());
  if (outcome.kind === "delivered" || answer === "") return outcome;
  return { ...outcome, reason: `${outcome.reason}. It said: ${answer}` };
}

/** The first bytes of an answer as text. A body that breaks off or never ends changes nothing: the status has come. */
async function beginningOf(response: Response): Promise<string> {
  if (response.body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk);
      size += chunk.byteLength;
      if (size >= MAX_ANSWER_BYTES) break;
    }
  } catch {
    // What was read until then is what there is to show.
  }
  return Buffer.concat(chunks).subarray(0, MAX_ANSWER_BYTES).toString("utf8");
}

function targetOf(name: string, config: HttpSettings): Target {
  const url = new URL(config.url.reveal());
  const { username, password } = url;
  url.username = "";
  url.password = "";
  const headers: Record<string, string> = { accept: "*/*", "user-agent": "skyvern-relay" };
  if (username !== "" || password !== "") headers["authorization"] = basic(username, password);
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

const basic = (username: string, password: string): string =>
  `Basic ${Buffer.from(`${decoded(username)}:${decoded(password)}`).toString("base64")}`;

/** Everything of a URL beyond its origin that may be a secret, as written and as decoded. */
function secretsOfUrl(url: URL): string[] {
  const { username, password, search, pathname } = url;
  const values = search.split("&").map((pair) => pair.slice(pair.indexOf("=") + 1));
  const path = [pathname.slice(1), ...pathname.split("/")].filter((part) => part.length >= LONG);
  return [password, basic(username, password).slice("Basic ".length), search.slice(1), ...values, ...path].flatMap(
    (part) => [part, decoded(part)],
  );
}

/** The parts of a header value or path that are as long as tokens are; shorter ones are words. */
const LONG = 12;

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
