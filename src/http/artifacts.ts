import type { Context, Hono } from "hono";
import { html } from "hono/html";
import type { ArtifactKey, Run } from "../run.ts";
import { mintUrl } from "../skyvern/enrich.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { Store, StoredRun } from "../store/store.ts";
import { bearerOf } from "./auth.ts";
import type { SignedLinks } from "./links.ts";
import { mediaTypeOf } from "./media-type.ts";
import { problem } from "./problem.ts";

export interface ArtifactsParts {
  store: Pick<Store, "run">;
  client: SkyvernClient;
  links: SignedLinks;
  /** Whether a bearer token is one of the relay's. */
  isToken(token: string): boolean;
  now(): number;
}

/**
 * `GET /artifacts/{run_id}/{artifact_id}`: opens what a link in a message points at. Redirects to a URL minted at this
 * moment, or streams what has no public URL, or shows a plain placeholder. Asks for a signed link or a bearer token.
 */
export function mountArtifacts(app: Hono, parts: ArtifactsParts): void {
  app.get("/artifacts/:run_id/:artifact_id", async (c) => {
    const { run_id: runId, artifact_id: key } = c.req.param();
    const token = bearerOf(c.req.header("authorization"));
    const signed = parts.links.check(runId, key, { exp: c.req.query("exp"), sig: c.req.query("sig") });
    if (!signed && (token === null || !parts.isToken(token))) {
      return problem(c, 403, "This link is not complete, was changed, or has expired.");
    }
    const stored = await parts.store.run(runId);
    if (stored === null) return placeholder(c, key, "The relay does not know this run any more.", 404);
    return open(c, parts, stored, key);
  });
}

async function open(
  c: Context,
  { client, now }: ArtifactsParts,
  stored: StoredRun,
  key: ArtifactKey,
): Promise<Response> {
  const { run } = stored.state;
  const signal = c.req.raw.signal;
  const minted = await mintUrl({ run, key, client, now, signal });
  // The redirect must be asked for again on the next click: its target dies.
  c.header("cache-control", "no-store");
  if (minted.kind === "redirect") return c.redirect(minted.url, 302);
  const missing = (reason: string, status: 404 | 503) =>
    isPicture(stored, key) ? picture(c) : placeholder(c, key, reason, status);
  if (minted.kind === "gone") return missing(minted.reason, minted.temporary ? 503 : 404);
  const range = c.req.header("range");
  const chosen = client.with({ organization: run.organization_id });
  const content = await chosen.openContent(minted.artifactId, { signal, ...(range === undefined ? {} : { range }) });
  if (content.ok) return stream(content.value, nameOf(run, key));
  const { fault } = content;
  // Nothing of it is in the range asked for.
  if (fault.status === 416) return c.body(null, 416);
  return missing(fault.reason, fault.kind === "not_found" ? 404 : 503);
}

const isPicture = ({ state, artifacts }: StoredRun, key: ArtifactKey): boolean =>
  state.run.screenshots.includes(key) ||
  artifacts.some(({ artifact_id, type }) => artifact_id === key && type.startsWith("screenshot"));

const nameOf = (run: Run, key: ArtifactKey): string => run.files.find((file) => file.key === key)?.name ?? key;

const PASSED = ["content-length", "content-range", "accept-ranges", "etag", "last-modified"];

/** Media are shown, everything else is downloaded under its own name. */
async function stream(content: Response, name: string): Promise<Response> {
  const said = content.headers.get("content-type") ?? "";
  const { type, body } = content.body ? await mediaTypeOf(said, content.body) : { type: null, body: null };
  const headers = new Headers({
    "content-type": type ?? "application/octet-stream",
    "content-disposition": type === null ? `attachment; filename*=UTF-8''${rfc8187(name)}` : "inline",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cache-control": "private, max-age=300",
  });
  for (const passed of PASSED) {
    const value = content.headers.get(passed);
    if (value !== null) headers.set(passed, value);
  }
  return new Response(body, { status: content.status, headers });
}

/** RFC 8187: what `encodeURIComponent` leaves as it is but the RFC does not. */
const rfc8187 = (name: string): string =>
  encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

/** Something to look at instead: a picture where one was asked for, else a page. */
function placeholder(c: Context, key: ArtifactKey, reason: string, status: 404 | 503): Response | Promise<Response> {
  if (key.startsWith("screenshot") || (c.req.header("accept") ?? "").startsWith("image/")) return picture(c);
  c.header("cache-control", "no-store");
  c.header("content-security-policy", INERT);
  return c.html(
    html`<!doctype html><title>Not available</title>
      <p>This artifact is not available: ${reason}</p>`,
    status,
  );
}

/** With 200, or what embeds it would show its own broken picture. */
function picture(c: Context): Response {
  c.header("cache-control", "no-store");
  c.header("content-security-policy", INERT);
  c.header("content-type", "image/svg+xml");
  return c.body(PICTURE);
}

const INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox";

const PICTURE = `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="120"><rect width="640" height="120" fill="#eee"/><text x="320" y="66" font-family="sans-serif" font-size="18" fill="#555" text-anchor="middle">This picture is not available any more</text></svg>`;
