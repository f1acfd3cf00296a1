/**
 * The proxy of `HTTPS_PROXY`: connections to https addresses go through a tunnel (`CONNECT`, RFC 9110, section 9.3.6),
 * in which TLS is spoken with the target itself. `NO_PROXY` names hosts that are reached directly.
 */
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { bareHost, cidrOrThrow, contains, parseCidr } from "./networks.ts";

export interface ProxySettings {
  /** `http://user:password@host:port`, or `https://…`. */
  url: string;
  /** Hosts, domains with all below them, `host:port`, networks, or `*`. */
  except: readonly string[];
}

/** Whether a host is reached through the proxy. */
export function isProxied({ except }: ProxySettings, hostname: string, port: string): boolean {
  const host = bareHost(hostname).toLowerCase();
  return !except.some((item) => {
    const text = item.toLowerCase();
    if (text === "*") return true;
    if (parseCidr(text) !== null) return isIP(host) !== 0 && contains(cidrOrThrow(text), host);
    const [, name = "", at] = /^(?:\*?\.)?(.*?)(?::(\d+))?$/.exec(text) ?? [];
    return name !== "" && (at === undefined || at === port) && (host === name || host.endsWith(`.${name}`));
  });
}

const TIMEOUT_MS = 10_000;
/** An answer to CONNECT is a status line and a few headers. */
const MAX_HEAD = 16_384;

/** A connection to `host:port` through the proxy. Rejects with what the proxy answered. */
export function openTunnel({ url }: ProxySettings, host: string, port: number): Promise<Socket> {
  const proxy = new URL(url);
  const hostname = bareHost(proxy.hostname);
  const to = { host: hostname, port: Number(proxy.port || (proxy.protocol === "https:" ? 443 : 80)) };
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const socket =
    proxy.protocol === "https:"
      ? connectTls({ ...to, ...(isIP(hostname) === 0 ? { servername: hostname } : {}) })
      : connectPlain(to);
  const fail = (reason: string, cause?: unknown): void => {
    socket.destroy();
    reject(Object.assign(new Error(`the proxy ${proxy.host} ${reason}`, { cause }), { code: "EPROXY" }));
  };
  const onError = (error: Error): void => fail(`could not be reached (${error.message})`, error);
  const onEnd = (): void => fail("hung up before it answered");
  let head = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0) return head.length > MAX_HEAD ? fail("gave no HTTP answer") : undefined;
    const [, status] = /^HTTP\/1\.[01] (\d{3})/.exec(head.toString("latin1", 0, end)) ?? [];
    if (status?.startsWith("2") !== true) {
      return fail(
        status === "407" || status === "401"
          ? "wants user and password: put them into HTTPS_PROXY"
          : `answered ${status ?? "no HTTP"}`,
      );
    }
    socket.setTimeout(0);
    socket.off("data", onData).off("error", onError).off("end", onEnd).off("timeout", onTimeout);
    socket.pause();
    if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
    resolve(socket);
  };
  const onTimeout = (): void => fail("did not answer in time");
  socket.setTimeout(TIMEOUT_MS);
  socket.on("timeout", onTimeout).on("error", onError).on("end", onEnd).on("data", onData);
  const name = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
  const user = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  const login = user === ":" ? "" : `Proxy-Authorization: Basic ${Buffer.from(user).toString("base64")}\r\n`;
  socket.write(`CONNECT ${name} HTTP/1.1\r\nHost: ${name}\r\n${login}\r\n`);
  return promise;
}
