/**
 * The guarded fetch: the one way out for requests whose address somebody else may have chosen. It reaches the public
 * internet, the networks the operator allowed and the origins the operator named as infrastructure, and nothing else.
 *
 * A name is resolved once, every address it has is checked, and the connection goes to those checked addresses only, so
 * a name that answers differently a moment later (DNS rebinding) gains nothing. TLS and the Host header keep the name.
 */
import { lookup as dnsLookup } from "node:dns/promises";
import { isIP, type LookupFunction } from "node:net";
import type { buildConnector, fetch as undiciFetch } from "undici";
import type { Ask } from "./ask.ts";
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
  /** The shorter way, by the same rules, for an answer that is wanted as a whole. */
  ask: Ask;
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
  const connecting = (target: buildConnector.Options, callback: buildConnector.Callback) =>
    void connect(policy, target, callback);
  const begin = async () => {
    const [undici, { askThrough }] = await Promise.all([import("undici"), import("./dispatch.ts")]);
    const agent = new undici.Agent({ connect: connecting, headersTimeout: timeout, bodyTimeout: timeout });
    return { undici, agent, ask: askThrough(agent) };
  };
  // Loaded for the first request: it is nothing that taking webhooks has a use for. Again, should no file be free to open just then.
  let beginning: ReturnType<typeof begin> | null = null;
  const begun = () =>
    (beginning ??= begin().catch((error: unknown) => {
      beginning = null;
      throw error;
    }));
  return {
    fetch: async (url, init) => {
      refuseOthers(new URL(url));
      const { undici, agent } = await begun();
      // undici's own types stand beside Node's; the objects are the same.
      const request = { ...init, redirect: "manual", dispatcher: agent } as Parameters<typeof undiciFetch>[1];
      try {
        return await undici.fetch(url, request);
      } catch (error) {
        throw error instanceof Error && error.cause instanceof EgressRefused ? error.cause : error;
      }
    },
    ask: async (url, question) => {
      refuseOthers(url);
      const { ask } = await begun();
      return ask(url, question);
    },
    reach: (url, signal) => reach(policy, new URL(url), signal),
    close: async () => (await beginning?.catch(() => null))?.agent.destroy(),
  };
}

function refuseOthers({ protocol }: URL): void {
  if (protocol !== "http:" && protocol !== "https:") {
    throw new EgressRefused(`the relay fetches http and https addresses only, not ${protocol}`);
  }
}

interface Policy {
  allow: readonly Cidr[];
  trusted: ReadonlySet<string>;
  lookup: (hostname: string) => Promise<ResolvedAddress[]>;
}

async function connect(policy: Policy, target: buildConnector.Options, callback: buildConnector.Callback) {
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
async function reachable(policy: Policy, { hostname, protocol, host }: buildConnector.Options) {
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
