/** Checks where a form came from, and where a login may lead. Pure. */

export interface FormHeaders {
  /** `Sec-Fetch-Site`; browsers send it over https and to localhost only. */
  fetchSite: string | undefined;
  origin: string | undefined;
  host: string | undefined;
}

/**
 * True when a page of the relay sent the form. Every browser says so in one header or the other; a client that sends
 * neither is no browser, and can use the history API. A proxy may end TLS, so only the host of the origin is compared.
 */
export function isOwnOrigin({ fetchSite, origin, host }: FormHeaders, publicUrl: string): boolean {
  if (fetchSite !== undefined) return fetchSite === "same-origin";
  if (origin === undefined || !URL.canParse(origin)) return false;
  const from = new URL(origin);
  return from.origin === new URL(publicUrl).origin || (host !== undefined && from.host === host.toLowerCase());
}

const PAGES = /^\/(?:$|[?]|(?:runs|sinks|deliveries|unrecognized)(?:[/?]|$))/;
const NOWHERE = "http://relay.invalid";

/**
 * The address that a login or a form may lead to: one of the relay's own pages, else `/`. Never another host, whatever
 * was requested.
 */
export function ownPage(wanted: string | null | undefined): string {
  if (!wanted?.startsWith("/") || wanted.length > 2_000 || !URL.canParse(wanted, NOWHERE)) return "/";
  const { origin, pathname, search } = new URL(wanted, NOWHERE);
  const path = `${pathname}${search}`;
  // `/.//host` becomes `//host` when it is parsed, so the parsed address is checked.
  return origin === NOWHERE && PAGES.test(path) ? path : "/";
}
