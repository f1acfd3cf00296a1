/**
 * How Skyvern's API is called (contract §4): the key, the deadline, the tries, and what an answer means when it is not
 * what was asked for. The key is sent only to the origin of the configured base URL, and no reason holds it.
 */
import { readUpTo } from "./artifacts/bytes.ts";
import { isJsonObject, parseJson, type Json } from "../platform/json.ts";
import { onOneLine } from "../platform/hostile-text.ts";
import { BodyTooLong, type HttpResponse, type Outbound } from "../net/http-client.ts";
import { followRedirects, MAX_REDIRECTS } from "../net/redirects.ts";
import { boundOutput } from "./large-output.ts";
import { retry } from "../platform/retry.ts";
import { readRetryAfter } from "../net/retry-after.ts";
import { withDeadline } from "../platform/abortable.ts";
import type { Runtime } from "../platform/runtime.ts";
import type { Secret } from "../platform/secret.ts";

export interface SkyvernKey {
  name: string;
  key: Secret;
  /** The key's organization, when known. */
  organization: string | null;
}

/**
 * Why a call failed. `not_found`: 404 or 410; of a run only a 404 in which Skyvern says that there is no such run, as a
 * proxy may answer 404 too. `blocked`: 400 of a run whose webhook address leads to a host that Skyvern no longer
 * allows; its row in the list, its timeline and its artifacts can be read all the same (contract §9). `forbidden`: 403,
 * Skyvern's answer to a bad key (or 401). `rate_limited`: 429. `unavailable`: no answer in time, or 408 or 5xx.
 * `unexpected`: an answer that no retry would change: another status, a redirect, a body that is not what the call
 * answers.
 */
export interface SkyvernFault {
  kind: "not_found" | "blocked" | "forbidden" | "rate_limited" | "unavailable" | "unexpected";
  /** The HTTP status, null when there was no answer. */
  status: number | null;
  reason: string;
  /** The wait that Skyvern's `Retry-After` asked for. */
  retryAfterMs?: number;
}

export type SkyvernResult<T> = { ok: true; value: T } | { ok: false; fault: SkyvernFault };

/** What all calls of a client share. */
export interface CallContext extends Outbound {
  base: URL;
  keys: readonly SkyvernKey[];
  sleep: Runtime["sleep"];
  now: Runtime["now"];
  random: Runtime["random"];
  /** The time for each try. */
  timeoutMs: number;
}

/** The key of a call, and how often it is tried. */
export interface Choice {
  key: SkyvernKey;
  tries: number;
}

/** One call of the API. */
export interface ApiCall {
  /** The name of the call in reasons. */
  what: string;
  /** The segments after `/v1`, unencoded. */
  path: readonly string[];
  /** Without the leading `?`. */
  query?: string;
  /** JSON to POST; absent: a GET. */
  body?: string;
  signal?: AbortSignal | undefined;
  /** Statuses that are final for this call though retried elsewhere. */
  final?: readonly number[];
  /** A 400 says that a host is blocked. */
  isBlockable?: true;
  /** Judges from the body of a 404 whether the thing is missing; absent: every 404 means that. */
  notFound?(body: string): boolean;
  /** Its answer is a run, whose output may be heavy. */
  isRun?: boolean;
}

const UTF8 = new TextDecoder();
const MAX_JSON_BYTES = 20_000_000;
const FIRST_BACKOFF_MS = 500;
/** A longer `Retry-After` is returned to the caller instead of being waited for. */
const MAX_WAIT_MS = 10_000;

/** Compression is off, because the lists are short. */
const JSON_HEADERS = {
  accept: "application/json",
  "accept-encoding": "identity",
  "user-agent": "skyvern-relay",
} as const;

/** `read` returns undefined for a body of another form. */
export function callJson<T>(
  context: CallContext,
  choice: Choice,
  call: ApiCall,
  read: (json: Json) => T | undefined,
): Promise<SkyvernResult<T>> {
  return withRetries(context, choice, call, async (url) => {
    try {
      const headers = { "x-api-key": choice.key.key.reveal(), ...JSON_HEADERS };
      const post = call.body === undefined ? {} : ({ method: "POST", body: call.body } as const);
      if (call.body !== undefined) Object.assign(headers, { "content-type": "application/json" });
      const answer = await withDeadline(context.timeoutMs, call.signal, (signal) =>
        context.request(url, { headers, ...post, signal, maxBytes: MAX_JSON_BYTES }),
      );
      const { status, missing } = answer;
      if (missing?.why instanceof BodyTooLong) return unexpected(call, status, `more than ${MAX_JSON_BYTES / 1e6} MB`);
      if (missing) throw missing.why;
      const body = UTF8.decode(answer.body);
      if (status !== 200) return { ok: false, fault: toFault(context, choice, call, answer, body) };
      const value = read(parseJson(call.isRun === true ? (boundOutput(body) ?? body) : body));
      return value === undefined ? unexpected(call, status, "JSON of another shape") : { ok: true as const, value };
    } catch (error) {
      if (error instanceof SyntaxError) return unexpected(call, 200, "a body that is not JSON");
      if (error instanceof RangeError) return unexpected(call, 200, "JSON nested too deeply");
      return { ok: false, fault: noAnswer(context, choice, call, error) };
    }
  });
}

/**
 * Content may be redirected to a storage host. Redirects are followed without the key, to http(s) only, each hop by the
 * guarded fetch.
 */
export function openStream(
  context: CallContext,
  choice: Choice,
  call: ApiCall,
  range?: string,
): Promise<SkyvernResult<Response>> {
  return withRetries(context, choice, call, async (start) => {
    // The other side must not redirect back with the key to an address of its choice.
    let isOurs = true;
    try {
      return await withDeadline(context.timeoutMs, undefined, async (late) => {
        const response = await followRedirects(start, (url) => {
          isOurs &&= url.origin === context.base.origin;
          const headers = new Headers({ accept: "*/*", "accept-encoding": "identity" });
          if (range !== undefined) headers.set("range", range);
          if (isOurs) headers.set("x-api-key", choice.key.key.reveal());
          const signal = call.signal ? AbortSignal.any([call.signal, late]) : late;
          return context.fetch(url, { redirect: "manual", signal, headers });
        });
        if (response === null) return unexpected(call, null, `more than ${MAX_REDIRECTS} redirects`);
        // Content may go on streaming when the deadline is over; the caller's own signal applies to it.
        if (response.status === 200 || response.status === 206) return { ok: true as const, value: response };
        return {
          ok: false,
          fault: toFault(
            context,
            choice,
            call,
            response,
            UTF8.decode((await readUpTo(response, MAX_JSON_BYTES)) ?? undefined),
          ),
        };
      });
    } catch (error) {
      return { ok: false, fault: noAnswer(context, choice, call, error) };
    }
  });
}

/** Makes at most `choice.tries` tries for what may pass: no answer, 408, 429, 5xx. */
async function withRetries<T>(
  context: CallContext,
  choice: Choice,
  call: ApiCall,
  attempt: (url: URL) => Promise<SkyvernResult<T>>,
): Promise<SkyvernResult<T>> {
  const url = buildUrl(context.base, call);
  if (url === null)
    return toFailure("not_found", null, `Skyvern was not asked for the ${call.what}: that is not an id`);
  if (call.signal?.aborted)
    return toFailure("unavailable", null, `Skyvern was not asked for the ${call.what}: aborted`);
  return retry({
    act: () => attempt(url),
    waitMs: (result, tried) => {
      if (result.ok || tried >= choice.tries || !mayPass(result.fault)) return null;
      if (result.fault.status !== null && call.final?.includes(result.fault.status)) return null;
      const backoffMs = FIRST_BACKOFF_MS * 2 ** (tried - 1) * (1 + context.random());
      const waitMs = Math.max(backoffMs, result.fault.retryAfterMs ?? 0);
      return waitMs > MAX_WAIT_MS ? null : waitMs;
    },
    sleep: context.sleep,
    signal: call.signal,
  });
}

/** Whether the same call may be answered a little later. */
export const mayPass = ({ kind }: SkyvernFault): boolean => kind === "unavailable" || kind === "rate_limited";

/** Null for segments that are no ids: a URL parser would resolve `..`, also when it is percent-encoded. */
function buildUrl(base: URL, { path, query }: ApiCall): URL | null {
  if (path.some((segment) => /^\.{0,2}$/.test(segment) || !segment.isWellFormed())) return null;
  const under = `${base.pathname.replace(/\/+$/, "")}/v1/${path.map(encodeURIComponent).join("/")}`;
  return new URL(`${base.origin}${under}${query ? `?${query}` : ""}`);
}

const toFailure = (kind: SkyvernFault["kind"], status: number | null, reason: string): SkyvernResult<never> => ({
  ok: false,
  fault: { kind, status, reason },
});

const unexpected = (call: ApiCall, status: number | null, came: string): SkyvernResult<never> =>
  toFailure("unexpected", status, `Skyvern answered the ${call.what} with ${came}`);

function toFault(context: CallContext, choice: Choice, call: ApiCall, response: Answered, body: string): SkyvernFault {
  const { status } = response;
  const detail = scrub(readDetail(body), choice);
  const retryAfterMs = readRetryAfter(response.headers, context.now());
  const isOther = status === 404 && call.notFound?.(body) === false;
  return {
    kind: isOther ? "unexpected" : status === 400 && call.isBlockable === true ? "blocked" : faultKind(status),
    status,
    reason: `Skyvern answered the ${call.what} with ${status}${detail === "" ? "" : `: ${detail}`}`,
    ...(retryAfterMs === null ? {} : { retryAfterMs }),
  };
}

type Answered = Pick<HttpResponse, "status" | "headers">;

function faultKind(status: number): SkyvernFault["kind"] {
  if (status === 404 || status === 410) return "not_found";
  if (status === 403 || status === 401) return "forbidden";
  if (status === 429) return "rate_limited";
  return status === 408 || status >= 500 ? "unavailable" : "unexpected";
}

function noAnswer(context: CallContext, choice: Choice, call: ApiCall, error: unknown): SkyvernFault {
  const why = call.signal?.aborted
    ? "aborted"
    : error instanceof DOMException && error.name === "TimeoutError"
      ? `nothing within ${context.timeoutMs} ms`
      : scrub(describeCause(error), choice);
  return { kind: "unavailable", status: null, reason: `Skyvern did not answer the ${call.what}: ${why}` };
}

/** The code or message of the innermost error, because fetch wraps what happened. */
function describeCause(error: unknown): string {
  if (!(error instanceof Error)) return "network error";
  if (error.cause instanceof Error) return describeCause(error.cause);
  return "code" in error && typeof error.code === "string" ? error.code : error.message;
}

/**
 * Skyvern's own message: `{"detail": text}`, `{"error": text}`, or the first of the fields that it refuses. Nothing is
 * taken from any other body, which may be a proxy's page.
 */
function readDetail(body: string): string {
  try {
    const json = parseJson(body);
    const words = isJsonObject(json) ? (json["detail"] ?? json["error"]) : null;
    const refused = Array.isArray(words) ? words[0] : undefined;
    if (isJsonObject(refused) && typeof refused["msg"] === "string") {
      const place = Array.isArray(refused["loc"]) ? refused["loc"].filter((part) => typeof part !== "object") : [];
      return `${place.join(".")}: ${refused["msg"]}`;
    }
    return typeof words === "string" ? words : "";
  } catch {
    return "";
  }
}

/** Skyvern says `Task run not found ID`; for a workflow run's id it may send no body at all (contract §4). */
export function saysNoRun(id: string, body: string): boolean {
  if (body === "") return id.startsWith("wr_");
  const detail = readDetail(body);
  return detail.includes(id) || /\brun not found\b/i.test(detail);
}

/** One short line, with the key removed in case the other side echoed it. */
const scrub = (words: string, { key }: Choice): string =>
  onOneLine(words.replaceAll(key.key.reveal(), "[secret]")).slice(0, 200).toWellFormed();
