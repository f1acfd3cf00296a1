/**
 * The guarded fetch: the one way out for requests whose address somebody else may have chosen. It reaches the public
 * internet, the networks the operator allowed and the origins the operator named as infrastructure, and nothing else.
 *
 * A name is resolved once, every address it has is checked, and the connection goes to those checked addresses only, so
 * a name that answers differently a moment later (DNS rebinding) gains nothing. TLS and the Host header keep the name.
 */
import { lookup as dnsLookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import type * as Undici from "undici";
import { cidrOrThrow, EgressRefused, refusal, refusedRange, type Cidr } from "./networks.ts";
import type { Fetch } from "./runtime.ts";

export interface ResolvedAddress {
  address: string;
  family: number;
}

export interface EgressOptions {
  /** Networks reachable besides the public internet, as CIDRs: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`. */
  allow: readonly string[];
  /** URLs whose origins the operator named as infrastructure: reachable wherever they resolve to. */
  trusted?: readonly string[];
  /** Longest wait for an answer's headers, and between two pieces of its body, in milliseconds. Default 30,000. */
  timeoutMs?: number;
  /** All addresses of a name. Default: the system's resolver. */
  lookup?: (hostname: string) => Promise<ResolvedAddress[]>;
}

export interface Egress {
  /**
   * `fetch` that never follows a redirect (a 3xx comes back as it is) and rejects with {@link EgressRefused} when the
   * address is not one the relay may reach.
   */
  fetch: Fetch;
  /** Connects as {@link Egress.fetch} would, with TLS for https, asks nothing and hangs up. Rejects as it does. */
  reach(url: string | URL, signal?: AbortSignal): Promise<void>;
  /** Ends every connection at once. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_TIMEOUT_MS = 30_000;
/** What one address gets before the next one of the same name is tried beside it. */
const ADDRESS_ATTEMPT_MS = 1_000;

export function createEgress(options: EgressOptions): Egress {
  const policy: Policy = {
    allow: options.allow.map(cidrOrThrow),
    trusted: new Set((options.trusted ?? []).map((url) => new URL(url).origin)),
    lookup: options.lookup ?? ((hostname) => dnsLookup(hostname, { all: true })),
  };
  const timeout = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const connecting = (target: Undici.buildConnector.Options, callback: Undici.buildConnector.Callback) =>
    void connect(policy, target, callback);
  const begin = async () => {
    const undici = await import("undici");
    return { undici, agent: new undici.Agent({ connect: connecting, headersTimeout: timeout, bodyTimeout: timeout }) };
  };
  // Loaded for the first request: it is nothing that taking webhooks has a use for.
  let begun: ReturnType<typeof begin> | null = null;
  return {
    fetch: async (url, init) => {
      const { protocol } = new URL(url);
      if (protocol !== "http:" && protocol !== "https:") {
        throw new EgressRefused(`the relay fetches http and https addresses only, not ${protocol}`);
      }
      const { undici, agent } = await (begun ??= begin());
      const simple = simpleRequest(url, init);
      const answer = simple && (await ask(undici, agent, simple));
      if (answer) return answer;
      // undici's own types stand beside Node's; the objects are the same.
      const request = { ...init, redirect: "manual", dispatcher: agent } as Parameters<typeof Undici.fetch>[1];
      try {
        return await undici.fetch(url, request);
      } catch (error) {
        throw error instanceof Error && error.cause instanceof EgressRefused ? error.cause : error;
      }
    },
    reach: (url, signal) => reach(policy, new URL(url), signal),
    close: async () => (await begun)?.agent.destroy(),
  };
}

interface SimpleRequest {
  url: URL;
  method: "GET" | "POST";
  headers: Record<string, string>;
  body: string | null;
  signal: AbortSignal | null;
}

/**
 * What is sent most: a text by POST, or a GET for JSON as it is, not compressed; no redirect followed. Null: the request is another.
 */
function simpleRequest(target: string | URL, init: RequestInit = {}): SimpleRequest | null {
  const { method = "GET", body = null, headers: given = {}, redirect, signal, ...more } = init;
  const isPlain = Object.getPrototypeOf(given) === Object.prototype && Object.keys(more).length === 0;
  if (!isPlain || redirect !== "manual") return null;
  const headers = given as Record<string, string>;
  const isPost = method === "POST" && typeof body === "string";
  const isGet =
    method === "GET" &&
    body === null &&
    headers["accept"] === "application/json" &&
    headers["accept-encoding"] === "identity";
  const url = new URL(target);
  if ((!isPost && !isGet) || url.username !== "" || url.password !== "") return null;
  return { url, method: isPost ? "POST" : "GET", headers, body: isPost ? body : null, signal: signal ?? null };
}

/**
 * The objects that `fetch` makes on its way cost ten times what the request does. Null: it was a GET whose answer came compressed all the
 * same, which is for `fetch` to undo.
 */
async function ask(
  undici: typeof Undici,
  agent: Undici.Agent,
  { url, method, headers, body, signal }: SimpleRequest,
): Promise<Response | null> {
  // Not Node's own of these names: they would bring along all of it once more.
  const { Headers, Response } = undici as unknown as typeof globalThis;
  const asked = agent.request({
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
    method,
    headers,
    body,
    signal,
  });
  const answer = await (signal ? beforeAbort(asked, signal) : asked);
  if (method === "GET" && (answer.headers["content-encoding"] ?? "identity") !== "identity") {
    await answer.body.dump();
    return null;
  }
  const given = new Headers();
  for (const [name, value] of Object.entries(answer.headers))
    for (const one of Array.isArray(value) ? value : [value ?? ""]) given.append(name, one);
  const init = { status: answer.statusCode, headers: given };
  if (NO_BODY.has(answer.statusCode)) {
    await answer.body.dump();
    return new Response(null, init);
  }
  // A short list is wanted as a whole; what answers a POST may be of no interest beyond its status.
  if (method === "GET" && Number(given.get("content-length") ?? Infinity) <= SHORT_BYTES)
    return new Response(await answer.body.bytes(), init);
  const pieces = answer.body[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      const { done, value } = (await pieces.next()) as IteratorResult<Uint8Array>;
      if (done === true) controller.close();
      else controller.enqueue(value);
    },
    cancel: () => {
      // What is not read is not waited for.
      answer.body.on("error", () => {}).destroy();
    },
  });
  return new Response(stream, init);
}

/** undici heeds a signal only once it is connected, and then it sends nothing: a name that nobody resolves is waited for no longer than that. */
function beforeAbort<T>(asked: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal.reason as Error);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    asked.then(resolve, reject).finally(() => signal.removeEventListener("abort", stop));
  });
}

const SHORT_BYTES = 64 * 1024;

/** Statuses whose answers have none. */
const NO_BODY = new Set([204, 205, 304]);

interface Policy {
  allow: readonly Cidr[];
  trusted: ReadonlySet<string>;
  lookup: (hostname: string) => Promise<ResolvedAddress[]>;
}

async function connect(
  policy: Policy,
  target: Undici.buildConnector.Options,
  callback: Undici.buildConnector.Callback,
) {
  try {
    const addresses = await reachable(policy, target);
    const { buildConnector } = await import("undici");
    buildConnector({
      timeout: CONNECT_TIMEOUT_MS,
      allowH2: false,
      rejectUnauthorized: true,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: ADDRESS_ATTEMPT_MS,
      lookup: pinnedTo(addresses),
    })(target, callback);
  } catch (error) {
    callback(error instanceof Error ? error : new Error("connecting failed", { cause: error }), null);
  }
}

function reach(policy: Policy, { protocol, hostname, host, port }: URL, signal?: AbortSignal): Promise<void> {
  const bare = hostname.replace(/^\[|\]$/g, "");
  const target = { protocol, hostname: bare, host, port: port === "" ? (protocol === "https:" ? "443" : "80") : port };
  return new Promise((resolve, reject) => {
    const stop = () => reject(signal?.reason as Error);
    if (signal?.aborted) return stop();
    signal?.addEventListener("abort", stop, { once: true });
    void connect(policy, { ...target, ...(isIP(bare) === 0 ? { servername: bare } : {}) }, (error, socket) => {
      signal?.removeEventListener("abort", stop);
      socket?.destroy();
      if (error) reject(error);
      else resolve();
    });
  });
}

/** The target's addresses when every one of them may be reached; one that may not refuses them all. */
async function reachable(policy: Policy, { hostname, protocol, host }: Undici.buildConnector.Options) {
  const family = isIP(hostname);
  const addresses = family === 0 ? await policy.lookup(hostname) : [{ address: hostname, family }];
  if (addresses.length === 0) throw Object.assign(new Error(`${hostname} has no address`), { code: "ENOTFOUND" });
  if (policy.trusted.has(new URL(`${protocol}//${host ?? hostname}`).origin)) return addresses;
  for (const { address } of addresses) {
    const range = refusedRange(address, policy.allow);
    if (range !== null) throw new EgressRefused(refusal(hostname, address, range));
  }
  return addresses;
}

/** Answers the socket's own lookup with addresses already checked, whatever name it asks for. */
const pinnedTo =
  (addresses: readonly ResolvedAddress[]): LookupFunction =>
  (_hostname, options, callback) => {
    const [first] = addresses;
    if (options.all) callback(null, [...addresses]);
    else callback(null, first?.address ?? "", first?.family);
  };
