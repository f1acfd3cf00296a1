const STATUSES = new Set([301, 302, 303, 307, 308]);

export const MAX_REDIRECTS = 3;

/**
 * The first answer that is no redirect to an http or https address, or null after {@link MAX_REDIRECTS}. `get` is
 * called for each address in turn and decides what it sends along, because a redirect may lead anywhere.
 */
export async function followRedirects(start: URL, get: (url: URL) => Promise<Response>): Promise<Response | null> {
  let url = start;
  for (let followed = 0; followed <= MAX_REDIRECTS; followed += 1) {
    const response = await get(url);
    const location = STATUSES.has(response.status) ? response.headers.get("location") : null;
    const next = location === null ? null : URL.parse(location, url.href);
    if (next?.protocol !== "https:" && next?.protocol !== "http:") return response;
    await response.body?.cancel();
    url = next;
  }
  return null;
}
