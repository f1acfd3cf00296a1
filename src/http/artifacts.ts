import type { Context, Hono } from "hono";
import { html } from "hono/html";
import type { ArtifactKey, Run } from "../run.ts";
import { mintUrl } from "../skyvern/enrich.ts";
import type { SkyvernClient } from "../skyvern/client.ts";
import type { Store } from "../store/store.ts";
import { bearerOf } from "./auth.ts";
import type { SignedLinks } from "./links.ts";
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
    return open(c, parts, stored.state.run, key);
  });
}

async function open(c: Context, { client, now }: ArtifactsParts, run: Run, key: ArtifactKey): Promise<Response> {
  const signal = c.req.raw.signal;
  const minted = await mintUrl({ run, key, client, now, signal });
  // The redirect must be asked for again on the next click: its target dies.
  if (minted.kind === "redirect") return c.redirect(minted.url, 302);
  if (minted.kind === "gone") return placeholder(c, key, minted.reason, minted.temporary ? 503 : 404);
  const range = c.req.header("range");
  const chosen = client.with({ organization: run.organization_id });
  const content = await chosen.openContent(minted.artifactId, { signal, ...(range === undefined ? {} : { range }) });
  if (!content.ok) return placeholder(c, key, content.fault.reason, content.fault.kind === "not_found" ? 404 : 503);
  return stream(content.value);
}

/** Only media a browser shows without running anything may be shown; everything else is downloaded. */
const SHOWN = /^(image\/(png|jpeg|webp|gif)|video\/(webm|mp4))$/;
const PASSED = ["content-length", "content-range", "accept-ranges", "etag", "last-modified"];

function stream(content: Response): Response {
  const type = (content.headers.get("content-type") ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  const shown = SHOWN.test(type);
  const headers = new Headers({
    "content-type": shown ? type : "application/octet-stream",
    "content-disposition": shown ? "inline" : "attachment",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cache-control": "private, max-age=300",
  });
  for (const name of PASSED) {
    const value = content.headers.get(name);
    if (value !== null) headers.set(name, value);
  }
  return new Response(content.body, { status: content.status, headers });
}

/** Something to look at instead: a picture where a picture was asked for (with 200, so that it is shown), else a page. */
function placeholder(c: Context, key: ArtifactKey, reason: string, status: 404 | 503): Response | Promise<Response> {
  c.header("cache-control", "no-store");
  c.header("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'; sandbox");
  if (key.startsWith("screenshot") || (c.req.header("accept") ?? "").startsWith("image/")) {
    c.header("content-type", "image/svg+xml");
    return c.body(PICTURE);
  }
  return c.html(
    html`<!doctype html><title>Not available</title>
      <p>This artifact is not available: ${reason}</p>`,
    status,
  );
}

const PICTURE = `<svg xmlns="http://www.w3.org/2000/svg" width="640" height="120"><rect width="640" height="120" fill="#eee"/><text x="320" y="66" font-family="sans-serif" font-size="18" fill="#555" text-anchor="middle">This picture is not available any more</text></svg>`;
