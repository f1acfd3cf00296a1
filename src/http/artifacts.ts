import type { Context, Hono } from "hono";
import { html } from "hono/html";
import type { ArtifactKey, Run } from "../domain/run.ts";
import { safeName } from "../sinks/attachments.ts";
import { noPicture, safeAnswer } from "../skyvern/artifacts/answer.ts";
import { isPicture, type Media, type Owner } from "../skyvern/artifacts/media.ts";
import type { Log } from "../platform/log.ts";
import type { RunStore } from "../store/contract/runs.ts";
import { parseBearer, type TokenGate } from "./auth.ts";
import type { SignedLinks } from "./links.ts";
import { problem } from "./problem.ts";
import { passOn } from "./stream.ts";

export interface ArtifactsDeps {
  store: Pick<RunStore, "run">;
  media: Pick<Media, "link" | "open">;
  links: SignedLinks;
  gate: TokenGate;
  /** True when a `Cookie` header holds a session of the web page. */
  isSession(cookies: string | undefined): Promise<boolean>;
  log: Log;
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
      return refuse(c, deps.links.run(runId));
    }
    const stored = await deps.store.run(runId);
    if (stored === null)
      return placeholder(c, key, { reason: "The relay has removed this run.", runUrl: deps.links.run(runId) }, 404);
    return open(c, deps, { run: stored.state.run, artifacts: stored.artifacts }, key);
  });
}

async function mayOpen(c: Context, deps: ArtifactsDeps, runId: string, key: ArtifactKey): Promise<boolean> {
  const { links, gate, isSession } = deps;
  if (links.check(runId, key, { exp: c.req.query("exp"), sig: c.req.query("sig") })) return true;
  const token = parseBearer(c.req.header("authorization"));
  return token === null ? isSession(c.req.header("cookie")) : gate.admit(c, token).isRight;
}

/** A browser gets a page; a program a problem. */
function refuse(c: Context, runUrl: string): Response | Promise<Response> {
  const reason = "This link is not complete, was changed, or has expired.";
  if (!(c.req.header("accept") ?? "").includes("text/html")) return problem(c, 403, reason);
  return explain(c, { title: "This link does not open", reason, runUrl }, 403);
}

async function open(
  c: Context,
  { media, links, log }: ArtifactsDeps,
  owner: Owner,
  key: ArtifactKey,
): Promise<Response> {
  const { signal } = c.req.raw;
  const url = await media.link(owner, key, signal);
  // The target of the redirect expires, so browsers must ask again on the next click.
  c.header("cache-control", "no-store");
  if (url !== null) return c.redirect(url, 302);
  const opened = await media.open(owner, key, { range: c.req.header("range") ?? null, signal });
  if (opened.kind === "unsatisfiable") return c.body(null, 416);
  if (opened.kind === "content") {
    const answer = await safeAnswer(opened.content, fileName(owner.run, key));
    return passOn(c, answer, { log, run_id: owner.run.run_id, artifact: key });
  }
  if (isPicture(owner, key)) return noPicture();
  const why = { reason: opened.reason, runUrl: links.run(owner.run.run_id) };
  return placeholder(c, key, why, opened.temporary ? 503 : 404);
}

/** A page may have chosen the name, so it is cleaned: no direction characters, no path, no length beyond a header. */
const fileName = (run: Run, key: ArtifactKey): string =>
  safeName(run.files.find((file) => file.key === key)?.name ?? key);

interface Explanation {
  reason: string;
  /** The address of the run's page. */
  runUrl: string;
}

/** A placeholder: a picture where one was requested, else a page. */
function placeholder(c: Context, key: ArtifactKey, why: Explanation, status: 404 | 503): Response | Promise<Response> {
  if (key.startsWith("screenshot") || (c.req.header("accept") ?? "").startsWith("image/")) return noPicture();
  return explain(
    c,
    { title: status === 503 ? "This is not available right now" : "This is not available", ...why },
    status,
  );
}

/** Answers with a page that says why a link shows nothing, and where its run is. Its reader may have no account. */
function explain(c: Context, { title, reason, runUrl }: Explanation & { title: string }, status: 403 | 404 | 503) {
  c.header("cache-control", "no-store");
  c.header("content-security-policy", "default-src 'none'; sandbox");
  return c.html(
    html`<!doctype html>
      <html lang="en">
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        <h1>${title}</h1>
        <p>${reason}${status === 503 ? " Try again in a few minutes." : ""}</p>
        <p><a href="${runUrl}">The page of its run</a></p>
      </html>`,
    status,
  );
}
