/** Where a form came from, and where a login may lead to. Pure. */

export interface FormHeaders {
  /** `Sec-Fetch-Site`; browsers send it over https and to localhost only. */
  fetchSite: string | undefined;
  origin: string | undefined;
  host: string | undefined;
}

/**
 * Whether a form was sent by a page of the relay. Every browser says so in one header or the other; who says neither is
 * no browser, and has the history API. A proxy may end TLS, so of the origin only the host is compared.
 */
export function isOwnOrigin({ fetchSite, origin, host }: FormHeaders, publicUrl: string): boolean {
  if (fetchSite !== undefined) return fetchSite === "same-origin";
  if (origin === undefined || !URL.canParse(origin)) return false;
  const from = new URL(origin);
  return from.origin === new URL(publicUrl).origin || (host !== undefined && from.host === host.toLowerCase());
}

const PAGES = /^\/(?:$|[?]|(?:runs|sinks|deliveries|unrecognized)(?:[/?]|$))/;
const NOWHERE = "http://relay.invalid";

/** The address a login or a form may lead to: one of the relay's own pages, else `/`. Never another host, whatever was asked for. */
export function ownPage(wanted: string | null | undefined): string {
  if (!wanted?.startsWith("/") || wanted.length > 2_000 || !URL.canParse(wanted, NOWHERE)) return "/";
  const { origin, pathname, search } = new URL(wanted, NOWHERE);
  const path = `${pathname}${search}`;
  // `/.//host` becomes `//host` once it is parsed, so it is the parsed address that is looked at.
  return origin === NOWHERE && PAGES.test(path) ? path : "/";
}
