/**
 * The guarded way out, the only one for requests whose address somebody else may have chosen. It reaches the public
 * internet, the networks the operator allowed and the origins the operator named as infrastructure, and nothing else.
 *
 * A name is resolved once, every address it has is checked, and the connection goes to those checked addresses only, so
 * a name that answers differently a moment later (DNS rebinding) gains nothing. TLS and the Host header keep the name.
 */
import { lookup as dnsLookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import { brotliDecompressSync, inflateSync, unzipSync, zstdDecompressSync } from "node:zlib";
import { Agent, buildConnector, fetch, type Dispatcher } from "undici";
import { bareHost, cidrOrThrow, EgressRefused, isInsideName, refusal, refusedRange, type Cidr } from "./networks.ts";
import { isProxied, openTunnel, type ProxySettings } from "./proxy.ts";
import { abortable } from "../platform/abortable.ts";
import {
  BodyTooLong,
  MAX_ANSWER_BYTES,
  type HttpClient,
  type HttpResponse,
  type Outbound,
  type Permit,
} from "./http-client.ts";

export interface ResolvedAddress {
  address: string;
  family: number;
}

export interface EgressOptions {
  /** Networks reachable besides the public internet, as CIDRs: `10.0.0.0/8`, `fd00::/8`, `127.0.0.1`. */
  allow: readonly string[];
  /** URLs whose origins the operator named as infrastructure: reachable wherever they resolve to. */
  trusted?: readonly string[];
  /** Through which https addresses are reached, as far as it does not except them. Default: none. */
  proxy?: ProxySettings | null;
  /** Longest wait for an answer's headers, and between two pieces of its body, in milliseconds. Default 30,000. */
  timeoutMs?: number;
  /** All addresses of a name. Default: the system's resolver. */
  lookup?: (hostname: string) => Promise<ResolvedAddress[]>;
}

/**
 * `fetch` and `request` never follow a redirect (a 3xx comes back as it is), and reject with {@link EgressRefused} when
 * the address is not one the relay may reach.
 */
export interface Egress extends Outbound {
  /**
   * Resolves the name and asks nothing: rejects where {@link Egress.fetch} would not go, or when the name has no
   * address.
   */
  permit: Permit;
  /** Connects as {@link Egress.fetch} would, with TLS for https, asks nothing and hangs up. Rejects as it does. */
  reach(url: string | URL, signal?: AbortSignal): Promise<void>;
  /** Ends every connection at once. */
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;
const DEFAULT_TIMEOUT_MS = 30_000;
/** How long one address is tried before the next one of the same name is tried beside it. */
const ADDRESS_ATTEMPT_MS = 1_000;

export function createEgress(options: EgressOptions): Egress {
  const policy: Policy = {
    allow: options.allow.map(cidrOrThrow),
    trusted: new Set((options.trusted ?? []).map((url) => new URL(url).origin)),
    proxy: options.proxy ?? null,
    lookup: options.lookup ?? ((hostname) => dnsLookup(hostname, { all: true })),
  };
  const timeout = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const connecting = (target: buildConnector.Options, callback: buildConnector.Callback) =>
    void connect(policy, target, callback);
  const agent = new Agent({ connect: connecting, headersTimeout: timeout, bodyTimeout: timeout });
  return {
    fetch: async (url, init) => {
      refuseOthers(new URL(url));
      // undici's own types stand beside Node's; the objects are the same.
      const request = { ...init, redirect: "manual", dispatcher: agent } as Parameters<typeof fetch>[1];
      try {
        return await fetch(url, request);
      } catch (error) {
        throw error instanceof Error && error.cause instanceof EgressRefused ? error.cause : error;
      }
    },
    request: requestThrough(agent),
    permit: async (url, signal) => {
      const { protocol, hostname, host } = new URL(url);
      refuseOthers({ protocol });
      await abortable(reachable(policy, { protocol, hostname: bareHost(hostname), host }), signal);
    },
    reach: (url, signal) => reach(policy, new URL(url), signal),
    close: () => agent.destroy(),
  };
}

/**
 * Takes undici's lowest call: `Agent.request` makes a stream of each body, which costs half as much as the request
 * itself.
 */
const requestThrough =
  (agent: Agent): HttpClient =>
  (target, { method = "GET", headers = {}, body = null, signal, maxBytes = MAX_ANSWER_BYTES }) =>
    new Promise((resolve, reject) => {
      const url = typeof target === "string" ? new URL(target) : target;
      refuseOthers(url);
      signal.throwIfAborted();
      const { origin, pathname, search } = url;
      let call: Dispatcher.DispatchController | null = null;
      let answer: { status: number; firstOf: (name: string) => string | null } | null = null;
      let isOver = false;
      const chunks: Buffer[] = [];
      let size = 0;

      const end = (missing: HttpResponse["missing"]): void => {
        if (isOver) return;
        isOver = true;
        signal.removeEventListener("abort", onAbort);
        if (answer === null) return reject(missing?.why as Error);
        const { status, firstOf } = answer;
        const read = { body: Buffer.concat(chunks).subarray(0, maxBytes), missing };
        resolve({ status, headers: { get: firstOf }, ...unpack(read, firstOf("content-encoding"), maxBytes) });
      };
      const giveUp = (why: unknown): void => {
        end({ why });
        call?.abort(why as Error);
      };
      const onAbort = (): void => giveUp(signal.reason);
      signal.addEventListener("abort", onAbort);
      agent.dispatch(
        { origin, path: pathname + search, method, headers, body },
        {
          // A name may take long to resolve: the call may be over before it begins.
          onRequestStart: (begun) => {
            call = begun;
            if (isOver) begun.abort(signal.reason as Error);
          },
          onResponseStart: (_call, status, answered) => {
            // 103 and its like come before the answer.
            if (status < 200) return;
            answer = { status, firstOf: (name) => [answered[name] ?? null].flat()[0] ?? null };
            if (Number(answer.firstOf("content-length") ?? 0) > maxBytes) giveUp(new BodyTooLong());
          },
          onResponseData: (_call, chunk) => {
            chunks.push(chunk);
            size += chunk.length;
            if (size > maxBytes) giveUp(new BodyTooLong());
          },
          onResponseEnd: () => end(null),
          onResponseError: (_call, why) => end({ why }),
        },
      );
    });

/** A compressed body that nobody asked for is decompressed if it is complete and stays within the bounds. */
function unpack(
  { body, missing }: Pick<HttpResponse, "body" | "missing">,
  encoding: string | null,
  maxBytes: number,
): Pick<HttpResponse, "body" | "missing"> {
  const unpacking = encoding === null ? undefined : UNPACK.get(encoding);
  if (!unpacking || missing !== null) return { body, missing };
  try {
    return { body: unpacking(body, { maxOutputLength: maxBytes }), missing };
  } catch (error) {
    const isLong = (error as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
    return { body: Buffer.alloc(0), missing: { why: isLong ? new BodyTooLong() : error } };
  }
}

const UNPACK = new Map<string, (body: Buffer, limit: { maxOutputLength: number }) => Buffer>([
  ["gzip", unzipSync],
  ["x-gzip", unzipSync],
  ["deflate", inflateSync],
  ["br", brotliDecompressSync],
  ["zstd", zstdDecompressSync],
]);

function refuseOthers({ protocol }: Pick<URL, "protocol">): void {
  if (protocol !== "http:" && protocol !== "https:") {
    throw new EgressRefused(`the relay fetches http and https addresses only, not ${protocol}`);
  }
}

interface Policy {
  proxy: ProxySettings | null;
  allow: readonly Cidr[];
  trusted: ReadonlySet<string>;
  lookup: (hostname: string) => Promise<ResolvedAddress[]>;
}

async function connect(policy: Policy, target: buildConnector.Options, callback: buildConnector.Callback) {
  try {
    const { proxy } = policy;
    if (proxy !== null && target.protocol === "https:" && isProxied(proxy, target.hostname, target.port || "443")) {
      await permitProxied(policy, target);
      const httpSocket = await openTunnel(proxy, target.hostname, Number(target.port || 443));
      return buildConnector({ timeout: CONNECT_TIMEOUT_MS, allowH2: false, rejectUnauthorized: true })(
        { ...target, httpSocket },
        callback,
      );
    }
    const addresses = await reachable(policy, target);
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
  const bare = bareHost(hostname);
  const target = { protocol, hostname: bare, host, port: port === "" ? (protocol === "https:" ? "443" : "80") : port };
  const connected = Promise.withResolvers<void>();
  void connect(policy, { ...target, ...(isIP(bare) === 0 ? { servername: bare } : {}) }, (error, socket) => {
    socket?.destroy();
    if (error) connected.reject(error);
    else connected.resolve();
  });
  return abortable(connected.promise, signal);
}

/** The target's addresses when all of them may be reached; one that may not refuses the target. */
async function reachable(
  policy: Policy,
  { hostname, protocol, host }: Pick<buildConnector.Options, "hostname" | "protocol" | "host">,
) {
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

/**
 * The guard for what goes through a proxy, which resolves names itself. A name that is known here is checked as ever.
 * One that is not, as in a network whose names only the proxy resolves, must at least be a name of the public internet.
 */
async function permitProxied(policy: Policy, target: buildConnector.Options): Promise<void> {
  try {
    await reachable(policy, target);
  } catch (error) {
    if (error instanceof EgressRefused || isInsideName(target.hostname)) throw error;
  }
}

/** Answers the socket's own lookup with the checked addresses, whatever name it asks for. */
const pinnedTo =
  (addresses: readonly ResolvedAddress[]): LookupFunction =>
  (_hostname, options, callback) => {
    const [first] = addresses;
    if (options.all) callback(null, [...addresses]);
    else callback(null, first?.address ?? "", first?.family);
  };
