/**
 * The page of one run, in the order in which a person asks: what was to happen and how it ended, what came of it, where
 * it broke, its files and recording; then where it was delivered, and the technical story.
 */
import { html } from "hono/html";
import { newItems } from "../list-parts.ts";
import { isTerminal, RETRYING, TERMINAL_STATUSES, type TerminalStatus } from "../../domain/run.ts";
import { buildContent, duration, goalBeside, type Content } from "../../sinks/content.ts";
import { PAGE_AMOUNT } from "../../sinks/readable-output.ts";
import type { StoredRun } from "../../store/contract/runs.ts";
import {
  badge,
  buttonForm,
  flash,
  externalLink,
  icon,
  runPath,
  statusLook,
  time,
  withTimes,
  type Html,
  type Part,
} from "../markup.ts";
import { plural } from "../../platform/amounts.ts";
import { block, line, webUrl } from "../text.ts";
import { attemptsCard } from "./attempts.ts";
import { blocksCard } from "./blocks.ts";
import { deliveriesCard } from "./deliveries.ts";
import { factsCard } from "./facts.ts";
import { artifactsCard } from "./files.ts";
import { outcomeCards } from "./outcome.ts";
import { recordingCard, picturesCard } from "./pictures.ts";
import { parametersCard, storyCard } from "./story.ts";
import type { RunView } from "./view.ts";

export function runPage(view: RunView): Part {
  const content = buildContent(view.report, "result", PAGE_AMOUNT);
  return [
    view.queued === null
      ? ""
      : flash(
          "again",
          html`Queued again for ${plural(view.queued, "sink")}. <span data-live-hide>Reload to see the result.</span>`,
        ),
    view.refreshed === null
      ? ""
      : flash("done", html`Skyvern was asked again and lists ${plural(view.refreshed, "artifact")}.`),
    newItems("run"),
    head(view, content),
    html`<div class="columns">
      <div class="first">
        ${outcomeCards(view, content)} ${blocksCard(view)} ${attemptsCard(view)} ${picturesCard(view)}
        ${recordingCard(view)} ${artifactsCard(view)}
      </div>
      <div class="side">${deliveriesCard(view)} ${factsCard(view)}</div>
      <div class="rest">${parametersCard(view.report)} ${storyCard(view)}</div>
    </div>`,
  ];
}

function head({ report, stored, session }: RunView, content: Content): Html {
  const app = webUrl(report.app_url);
  const verdict = (report.status === RETRYING ? null : content.failure?.at) ?? content.status.label;
  const goal = goalBeside(report.prompt, content.title);
  return html`<div class="head run-head" id="run-head" data-version="${versionOf(stored)}">
    <p class="crumb"><a href="/">Runs</a> / ${line(report.run_id, 80)}</p>
    <p class="verdict">${badge({ ...statusLook(report.status), label: line(verdict, 200) })}</p>
    <h1 dir="auto">${line(content.title, 140)}</h1>
    ${goal === null ? "" : html`<p class="goal" dir="auto">${line(goal, 300)}</p>`}
    <p class="about soft">${about(report, stored).map((part, index) => [index === 0 ? "" : " · ", part])}</p>
    ${content.notes.map((note) => html`<p class="note">${icon("info")}<span>${withTimes(block(note, 500))}</span></p>`)}
    <div class="row actions">
      ${
        app === null
          ? ""
          : html`<a class="button small" href="${app}" target="_blank" rel="noreferrer noopener nofollow"
              >Open in Skyvern${icon("open")}</a
            >`
      }
      ${buttonForm(
        { action: `${runPath(report.run_id)}/artifacts/refresh`, csrf: session.csrf },
        [icon("file"), "Refresh artifacts"],
        "small",
      )}
    </div>
  </div>`;
}

/** When, how long, how often, and of which workflow. */
function about(
  { status, workflow, duration_ms: took, attempt, url }: RunView["report"],
  { state: { run } }: StoredRun,
): Part[] {
  const site = webUrl(url);
  const id = workflow?.permanent_id ?? null;
  const ended = run.finished_at ?? run.started_at;
  return [
    ...(ended === null ? [] : [time(ended)]),
    ...(took === null ? [] : [`took ${duration(took)}`]),
    // Above it, a completed run says at which attempt.
    ...(attempt === 1 || status === "completed"
      ? []
      : [isTerminal(status) ? `${attempt} attempts` : `attempt ${attempt}`]),
    ...(id === null
      ? []
      : [html`<a href="/?workflow=${encodeURIComponent(id.toWellFormed())}">runs of this workflow</a>`]),
    ...(site === null ? [] : [externalLink(site, line(new URL(site).host, 80))]),
  ];
}

/** The version of the page's parts that are not live. When it changes, the page must be reloaded. */
const versionOf = ({ state: { revision, run }, artifacts, status }: StoredRun): string =>
  `${revision}.${TERMINAL_STATUSES.indexOf(run.status as TerminalStatus)}.${run.attempt}.${status}.${artifacts.length}`;
