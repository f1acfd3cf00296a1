/**
 * Pages under a path of `PUBLIC_URL`, behind a proxy that strips it. The pages and their links are written as if the
 * relay had the host to itself; what goes out to a browser is put under the path in one place, here.
 */
import type { MiddlewareHandler } from "hono";

/** `/relay` of `https://example.com/relay`; empty without a path. */
export const basePathOf = (publicUrl: string): string => new URL(publicUrl).pathname.replace(/\/+$/, "");

/**
 * Attributes that hold an address. Text of a run cannot pass for one: the quote before the address is escaped in it.
 */
const ADDRESSES = /(?<=\s(?:href|src|poster|action|formaction|hx-[a-z-]+|data-live|data-copy-file)=")\/(?!\/)/g;
const HEADERS = ["location", "hx-redirect"];

/**
 * Puts the addresses of the relay's own pages in an answer under `base`: those in its HTML, and where it redirects to.
 */
export function underBasePath(base: string): MiddlewareHandler {
  return async (c, next) => {
    await next();
    for (const name of HEADERS) {
      const address = c.res.headers.get(name);
      if (address !== null && /^\/(?!\/)/.test(address)) c.res.headers.set(name, base + address);
    }
    if (!(c.res.headers.get("content-type") ?? "").startsWith("text/html")) return;
    const { status, headers } = c.res;
    const page = (await c.res.text()).replace(ADDRESSES, `${base}/`);
    c.res = undefined;
    c.res = new Response(page, { status, headers });
  };
}
