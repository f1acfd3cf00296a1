/** What an HTTP answer, or the lack of one, means for a delivery. All sinks that use HTTP share these rules. */
import { EgressRefused } from "../net/networks.ts";
import { onOneLine } from "../platform/hostile-text.ts";
import { readRetryAfter } from "../net/retry-after.ts";
import type { Outcome } from "../domain/run.ts";
import { cut } from "./cut.ts";

/**
 * | status | outcome |
 * | --- | --- |
 * | 2xx | delivered, receipt `{status}` |
 * | 429 | retry, throttled, after `Retry-After` when it is given (at most an hour) |
 * | 503 | retry, after `Retry-After` when it is given (at most an hour) |
 * | 408, 425, other 5xx | retry |
 * | 3xx | dead: redirects are not followed |
 * | 410 | dead and gone |
 * | the rest | dead |
 *
 * `who` opens the reason: `HTTP sink "crm" (https://crm.example.com)`. `now` is epoch milliseconds.
 */
export function outcomeOfStatus(status: number, headers: Pick<Headers, "get">, who: string, now: number): Outcome {
  if (status >= 200 && status < 300) return { kind: "delivered", receipt: { status } };
  if (status === 429 || status === 503) {
    const after = readRetryAfter(headers, now);
    return {
      kind: "retry",
      reason: `${who} answered ${status}${after === null ? "" : ` and asked to wait ${Math.ceil(after / 1000)} s`}`,
      ...(after === null ? {} : { retryAfterMs: after }),
      ...(status === 429 ? { throttled: true as const } : {}),
    };
  }
  if (status === 408 || status === 425 || status >= 500) return { kind: "retry", reason: `${who} answered ${status}` };
  if (status >= 300 && status < 400) {
    return {
      kind: "dead",
      reason:
        `${who} answered ${status}, a redirect${destination(headers)}: redirects are not followed, set the final ` +
        "URL",
    };
  }
  if (status === 410) return { kind: "dead", gone: true, reason: `${who} answered 410: it wants no more deliveries` };
  return { kind: "dead", reason: `${who} answered ${status}` };
}

/**
 * The outcome of a failed request. Nothing was sent (refused, no such name, bad certificate): retry. It may have
 * arrived (reset, timeout, abort): retry, `unknown`. The address is not allowed: dead, with what to do. An error is
 * recognized by its class or code, also in its causes.
 */
export function outcomeOfError(error: unknown, who: string): Outcome {
  const chain = listCauses(error);
  const refused = chain.find((item) => item instanceof EgressRefused);
  if (refused) return { kind: "dead", reason: `${who} was not contacted: ${refused.reason}` };
  const failure = chain.find((item) => findCode(item) !== null);
  const code = findCode(failure);
  if (code !== null && wasNotSent(code, failure)) {
    return {
      kind: "retry",
      reason: `${who} could not be reached: ${MEANING[code] ?? "the TLS connection was not accepted"} (${code})`,
    };
  }
  if (chain.some(isTimeout)) return { kind: "retry", unknown: true, reason: `${who} did not answer in time` };
  if (chain.some(isAbort)) return { kind: "retry", unknown: true, reason: `the request to ${who} was cut short` };
  return {
    kind: "retry",
    unknown: true,
    reason: `${who} gave no answer: the connection failed${code === null ? "" : ` (${code})`}`,
  };
}

/**
 * What the other side answered, fit for a reason or a receipt: one line of printable text, at most `max` characters,
 * with all `secrets` masked (answers often quote the request). When a secret appears in another spelling, nothing is
 * quoted.
 */
export function quote(text: string, secrets: readonly string[], max = 200): string {
  const masked = secrets
    .filter((secret) => secret.length >= MIN_SECRET)
    .sort((a, b) => b.length - a.length)
    .reduce((rest, secret) => maskEnd(rest.replaceAll(secret, "[secret]"), secret), text.toWellFormed());
  const plain = spellPlainly(masked);
  const isHidden = secrets.some(
    (secret) => secret.length >= MIN_HIDDEN && spellings(secret).some((one) => plain.includes(one)),
  );
  return isHidden ? "[secret]" : cut(onOneLine(masked), max);
}

/** Shorter secrets may appear in other words by chance, once spaces and case are removed. */
const MIN_HIDDEN = 8;

/** The forms in which a secret may come back: as it is, and in base64, whose last characters depend on what follows. */
const spellings = (secret: string): string[] =>
  [secret, Buffer.from(secret).toString("base64").replace(/.?=*$/, "")].map(spellPlainly);

/** The text without percent escapes, JSON escapes, HTML entities, line breaks and case. */
function spellPlainly(text: string): string {
  let plain = text;
  for (let round = 0; round < 4; round += 1) {
    plain = plain
      .replace(/%([0-9a-f]{2})|\\u00([0-9a-f]{2})|&#x([0-9a-f]{2});/gi, (_all, a?: string, b?: string, c?: string) =>
        String.fromCharCode(Number.parseInt(a ?? b ?? c ?? "", 16)),
      )
      .replace(/&#(\d{2,3});/g, (_all, code: string) => String.fromCharCode(Number(code)))
      .replace(/&amp;/gi, "&");
  }
  plain = plain
    .replace(/&lt;/gi, "<")
    .replace(/&gt;/gi, ">")
    .replace(/&quot;/gi, '"');
  return plain.replace(/[\s\\]/g, "").toLowerCase();
}

/** Shorter secrets (an empty password) would mask ordinary letters. */
const MIN_SECRET = 4;

/** Masks the beginning of a secret at the end of a text that was cut in the middle of it. */
function maskEnd(text: string, secret: string): string {
  for (let length = Math.min(secret.length - 1, text.length); length >= MIN_SECRET; length--) {
    if (text.endsWith(secret.slice(0, length))) return `${text.slice(0, -length)}[secret]`;
  }
  return text;
}

/** The origin a redirect points to. Its path or query may hold a secret. */
function destination(headers: Pick<Headers, "get">): string {
  const location = headers.get("location");
  if (location === null) return "";
  return URL.canParse(location) ? ` to ${new URL(location).origin}` : " to another path on the same host";
}

/** The error, its causes and the members of aggregates, outermost first. */
function listCauses(error: unknown): Error[] {
  const found: Error[] = [];
  const todo: unknown[] = [error];
  while (todo.length > 0 && found.length < 20) {
    const item = todo.shift();
    if (!(item instanceof Error) || found.includes(item)) continue;
    found.push(item);
    todo.push(item.cause, ...(item instanceof AggregateError ? (item.errors as unknown[]) : []));
  }
  return found;
}

function findCode(error: Error | undefined): string | null {
  const code: unknown = error && "code" in error ? error.code : null;
  return typeof code === "string" && /^[A-Z0-9_]{1,60}$/.test(code) ? code : null;
}

const MEANING: Record<string, string> = {
  ECONNREFUSED: "the connection was refused",
  ENOTFOUND: "its name has no address",
  EAI_AGAIN: "its name could not be resolved right now",
  EAI_FAIL: "its name could not be resolved",
  EAI_NODATA: "its name has no address",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ETIMEDOUT: "connecting took too long",
  UND_ERR_CONNECT_TIMEOUT: "connecting took too long",
};

/** OpenSSL's and Node's codes for a failed certificate or handshake: nothing of the request was sent. */
const TLS_CODE =
  /^(ERR_TLS_|ERR_SSL_|CERT_|CRL_|SELF_SIGNED_|DEPTH_ZERO_|UNABLE_TO_|INVALID_CA$|INVALID_PURPOSE$|HOSTNAME_MISMATCH$|PATH_LENGTH_EXCEEDED$|EPROTO$)/;

function wasNotSent(code: string, error: Error | undefined): boolean {
  // The system also reports a timeout when a connection breaks after the request was sent.
  if (code === "ETIMEDOUT") return error !== undefined && "syscall" in error && error.syscall === "connect";
  return code in MEANING || TLS_CODE.test(code);
}

const isTimeout = (error: Error): boolean =>
  error.name === "TimeoutError" ||
  ["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"].includes(findCode(error) ?? "");

const isAbort = (error: Error): boolean => error.name === "AbortError";
