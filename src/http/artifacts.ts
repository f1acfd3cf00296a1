import type { Context, Hono } from "hono";
import { html } from "hono/html";
import type { ArtifactKey, Run } from "../domain/run.ts";
import { safeName } from "../sinks/attachments.ts";
import { noPicture, safeAnswer } from "../skyvern/artifacts/answer.ts";
import { isPicture, type Media, type Owner } from "../skyvern/artifacts/media.ts";
import type { RunStore } from "../store/contract/runs.ts";
import { parseBearer, type TokenGate } from "./auth.ts";
import type { SignedLinks } from "./links.ts";
import { problem } from "./problem.ts";

export interface ArtifactsDeps {
  store: Pick<RunStore, "run">;
  media: Pick<Media, "link" | "open">;
  links: SignedLinks;
  gate: TokenGate;
  /** True when a `Cookie` header holds a session of the web page. */
  isSession(cookies: string | undefined): Promise<boolean>;
}

/**
 * `GET /artifacts/{run_id}/{artifact_id}`: opens what a link in a message points to. It redirects to a URL that works
 * at this moment, streams what has no URL or would be displayed wrongly, serves the relay's own copy, or shows a plain
 * placeholder. It requires a signed link, a bearer token or a session of the web page.
 */
export function mountArtifacts(app: Hono, deps: ArtifactsDeps): void {
  app.get("/artifacts/:run_id/:artifact_id", async (c) => {
    const { run_id: runId, artifact_id: key } = c.req.param();
    if (!(await mayOpen(c, deps, runId, key))) {
      return problem(c, 403, "This link is not complete, was changed, or has expired.");
    }
    const stored = await deps.store.run(runId);
    if (stored === null) return placeholder(c, key, "The relay no longer knows this run.", 404);
    return open(c, deps, { run: stored.state.run, artifacts: stored.artifacts }, key);
  });
}

async function mayOpen(c: Context, deps: ArtifactsDeps, runId: string, key: ArtifactKey): Promise<boolean> {
  const { links, gate, isSession } = deps;
  if (links.check(runId, key, { exp: c.req.query("exp"), sig: c.req.query("sig") })) return true;
  const token = parseBearer(c.req.header("authorization"));
  return token === null ? isSession(c.req.header("cookie")) : gate.admit(c, token).isRight;
}

async function open(c: Context, { media }: ArtifactsDeps, owner: Owner, key: ArtifactKey): Promise<Response> {
  const { signal } = c.req.raw;
  const url = await media.link(owner, key, signal);
  // The target of the redirect expires, so browsers must ask again on the next click.
  c.header("cache-control", "no-store");
  if (url !== null) return c.redirect(url, 302);
  const opened = await media.open(owner, key, { range: c.req.header("range") ?? null, signal });
  if (opened.kind === "unsatisfiable") return c.body(null, 416);
  if (opened.kind === "content")
    return withoutBodyOfHead(c, await safeAnswer(opened.content, fileName(owner.run, key)));
  if (isPicture(owner, key)) return noPicture();
  return placeholder(c, key, opened.reason, opened.temporary ? 503 : 404);
}

/** A HEAD request reads no stream, and an unread stream would hold its connection. */
async function withoutBodyOfHead(c: Context, answer: Response): Promise<Response> {
  if (c.req.raw.method !== "HEAD") return answer;
  await answer.body?.cancel();
  return new Response(null, { status: answer.status, headers: answer.headers });
}

/** A page may have chosen the name, so it is cleaned: no direction characters, no path, no length beyond a header. */
const fileName = (run: Run, key: ArtifactKey): string =>
  safeName(run.files.find((file) => file.key === key)?.name ?? key);

/** A placeholder: a picture where one was requested, else a page. */
function placeholder(c: Context, key: ArtifactKey, reason: string, status: 404 | 503): Response | Promise<Response> {
  if (key.startsWith("screenshot") || (c.req.header("accept") ?? "").startsWith("image/")) return noPicture();
  c.header("cache-control", "no-store");
  c.header("content-security-policy", "default-src 'none'; sandbox");
  return c.html(
    html`<!doctype html><title>Not available</title>
      <p>This artifact is not available: ${reason}</p>`,
    status,
  );
}
