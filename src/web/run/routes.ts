/** `/runs/{run_id}`: one run, its media, and its actions. */
import type { Context } from "hono";
import { html } from "hono/html";
import type { Links } from "../../domain/report.ts";
import { nameRun, toReport } from "../../domain/report.ts";
import { redeliver } from "../../store/outbox/redeliver.ts";
import type { StoredRun } from "../../store/contract/runs.ts";
import { loadStory, loadUnknownRun } from "../../history/load-story.ts";
import { describeUnrecognized, whyUnknown, type UnknownRun } from "../../history/unknown-run.ts";
import { safeAnswer } from "../../skyvern/artifacts/answer.ts";
import type { Media, Owner } from "../../skyvern/artifacts/media.ts";
import type { ArtifactKey } from "../../domain/run.ts";
import { passOn } from "../../http/stream.ts";
import { listCircuits } from "../../history/sink-health.ts";
import { field, go, readFlash, withFlash, type WebEnv, type PageContext } from "../page-context.ts";
import { HEADERS, notice } from "../layout.ts";
import { runPath, withTimes, type Part } from "../markup.ts";
import { ownPage } from "../login/origin.ts";
import { runPage } from "./page.ts";
import { block, line } from "../text.ts";

export function mountRun(page: PageContext): void {
  const { web, reading, acting } = page;
  web.get("/runs/:run_id", ...reading, (c) => showRun(page, c, c.req.param("run_id")));
  web.get("/runs/:run_id/output.json", ...reading, (c) => sendOutput(page, c, c.req.param("run_id")));
  web.get("/runs/:run_id/media/:key", ...reading, (c) => sendMedia(page, c, c.req.param()));
  web.post("/runs/:run_id/redeliver", ...acting, (c) => redeliverRun(page, c, c.req.param("run_id")));
  web.post("/runs/:run_id/artifacts/refresh", ...acting, (c) => refreshArtifacts(page, c, c.req.param("run_id")));
}

type WebRequest = Context<WebEnv>;

async function showRun(page: PageContext, c: WebRequest, runId: string) {
  const { store, sinks, links, publicUrl } = page.deps;
  // Read first: a change in between is then reported once too often rather than never.
  const event = store.lastChange();
  const [story, circuits] = await Promise.all([loadStory(store, runId), listCircuits(page.deps)]);
  if (story === null) return noRun(page, c, runId);
  const { stored } = story;
  const here = linksHere(links, publicUrl);
  const { state } = stored;
  const body = runPage({
    ...story,
    report: toReport({ run: state.run, revision: state.revision, known: stored }, here),
    deliveries: story.deliveries.toReversed(),
    sinks,
    circuits,
    session: c.get("session"),
    queued: readFlash(c, "queued"),
    refreshed: readFlash(c, "refreshed"),
    event,
    link: (key) => here.artifact(runId, key),
  });
  return page.show(c, { title: line(nameRun(state.run), 80), part: "runs" }, body);
}

async function sendOutput(page: PageContext, c: WebRequest, runId: string) {
  const stored = await page.deps.store.run(runId);
  if (stored === null) return noRun(page, c, runId);
  return c.body(JSON.stringify(stored.state.run.output), 200, {
    ...HEADERS,
    "content-type": "application/json",
    "content-disposition": "attachment",
  });
}

async function sendMedia(page: PageContext, c: WebRequest, { run_id: runId, key }: { run_id: string; key: string }) {
  const { store, media, log } = page.deps;
  const stored = await store.run(runId);
  if (stored === null || !belongsTo(stored, key))
    return page.notFound(c, {
      title: "This picture is not here",
      why: ["The run has no such screenshot or recording."],
      next: { href: runPath(runId), label: "Back to the run" },
    });
  const range = c.req.header("range") ?? null;
  const owner = { run: stored.state.run, artifacts: stored.artifacts };
  const answer = await answerMedia(media, { owner, key, range, signal: c.req.raw.signal });
  return passOn(c, answer, { log, run_id: runId, artifact: key });
}

async function redeliverRun({ deps, show }: PageContext, c: WebRequest, runId: string) {
  const { store, sinks, runtime, log } = deps;
  const sink = await field(c, "sink");
  // For a run that no route matched, "Send to all" means every configured sink.
  const deliveries = sink === "" ? await store.deliveries({ runId }, { limit: 1 }) : [];
  const all = deliveries.length > 0 ? null : sinks.map(({ name }) => name);
  const done = await redeliver({ store, sinks, runtime }, runId, sink === "" ? all : [sink]);
  if (!done.ok) {
    const frame = { title: "Not sent", part: "runs" } as const;
    return show(c, frame, notice("Nothing was sent", line(done.reason, 300)), done.status);
  }
  deps.nudge();
  log.info("run.redelivered", {
    run_id: runId,
    deliveries: done.deliveries.map(({ id }) => id),
    session: c.get("session").id,
  });
  const to = await field(c, "to");
  return go(c, withFlash(to === "" ? runPath(runId) : ownPage(to), { queued: String(done.deliveries.length) }));
}

async function refreshArtifacts(page: PageContext, c: WebRequest, runId: string) {
  const { store, log, refresh } = page.deps;
  const before = await store.run(runId);
  if (before === null) return noRun(page, c, runId);
  const { reason } = await refresh(before.state.run, c.req.raw.signal);
  log.info("run.artifacts_refreshed", { run_id: runId, reason, session: c.get("session").id });
  if (reason === null) {
    const known = (await store.run(runId))?.artifacts.length ?? 0;
    return go(c, withFlash(runPath(runId), { refreshed: String(known) }));
  }
  const back = [`${block(reason, 600)} The known artifacts stay.`];
  const frame = { title: "Not refreshed", part: "runs" } as const;
  return page.show(c, frame, notice("Skyvern's list could not be read", back, backTo(runPath(runId))), 502);
}

async function noRun({ deps, notFound }: PageContext, c: WebRequest, runId: string) {
  const { store, webhookUrl, listEveryMs } = deps;
  const relay = { webhookUrl: webhookUrl(), listEveryMs };
  return notFound(c, {
    title: "The relay does not know this run",
    why: unknownRun(runId, await loadUnknownRun(store, runId, relay)),
    next: { href: "/", label: "All runs" },
  });
}

const backTo = (path: string) => html`<p><a class="button" href="${path}">Back to the run</a></p>`;

/**
 * Links lead to the relay under the address at which it is read, because the session and the policy's `self` apply
 * there.
 */
const linksHere = (links: Links, publicUrl: string): Links => {
  const local = (url: string) => (url.startsWith(`${publicUrl}/`) ? url.slice(publicUrl.length) : url);
  return { run: (runId) => local(links.run(runId)), artifact: (runId, key) => local(links.artifact(runId, key)) };
};

const belongsTo = ({ state: { run }, artifacts, timeline }: StoredRun, key: string): boolean =>
  key === run.recording ||
  run.screenshots.includes(key) ||
  artifacts.some(({ artifact_id }) => artifact_id === key) ||
  timeline?.blocks.some(({ screenshot }) => screenshot === key) === true;

interface MediaRequest {
  owner: Owner;
  key: ArtifactKey;
  range: string | null;
  signal: AbortSignal;
}

/**
 * Answers with the bytes in a form that runs nothing. What cannot be read, or is neither picture nor recording, is
 * answered with nothing: the page has words in its place, and a browser complains of nothing.
 */
async function answerMedia(media: Pick<Media, "open">, { owner, key, range, signal }: MediaRequest): Promise<Response> {
  const opened = await media.open(owner, key, { range, signal });
  if (opened.kind === "unsatisfiable") return new Response(null, { status: 416 });
  if (opened.kind === "gone") return missing();
  const answer = await safeAnswer(opened.content, key);
  if (answer.headers.get("content-disposition") === "inline") return answer;
  await answer.body?.cancel();
  return missing();
}

/** Not cached: a storage that does not answer now may do so later. */
const missing = (): Response => new Response(null, { status: 204, headers: { "cache-control": "no-store" } });

/** Why the relay may not know a run, and what to do, for whoever followed a link; a paragraph each. */
function unknownRun(runId: string, known: UnknownRun): Part[] {
  const unread = describeUnrecognized(known);
  return [
    html`<code>${line(runId, 100)}</code>`,
    ...whyUnknown(known).map(withCode),
    ...(unread === null ? [] : [html`${unread} <a href="/unrecognized">Show what was received</a>`]),
  ];
}

/** Every second part stands between backticks. */
const withCode = (text: string): Part[] =>
  text.split("`").map((part, n) => (n % 2 === 0 ? withTimes(part) : html`<code>${part}</code>`));
