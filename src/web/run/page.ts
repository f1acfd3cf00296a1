/** The page of one run: the outcome first, then its output, its deliveries, and everything that happened. */
import { html } from "hono/html";
import { isJsonObject } from "../../platform/json.ts";
import { typeName } from "../../domain/block.ts";
import { decisiveScreenshots, type Report } from "../../domain/report.ts";
import {
  isFinal,
  isTerminal,
  TERMINAL_STATUSES,
  type ArtifactKey,
  type Delivery,
  type TerminalStatus,
} from "../../domain/run.ts";
import { buildContent, duration, type Content } from "../../sinks/content.ts";
import { omittedWords, PAGE_AMOUNT } from "../../sinks/readable-output.ts";
import type { Attempt } from "../../store/contract/deliveries.ts";
import type { Receipt } from "../../store/contract/receipts.ts";
import type { StoredRun } from "../../store/contract/runs.ts";
import {
  externalLink,
  badge,
  buttonForm,
  follow,
  icon,
  runPath,
  STATES,
  statusLook,
  time,
  withTimes,
  type Html,
  type Part,
  type IconName,
  type Tone,
} from "../markup.ts";
import { fact, jsonActions, jsonHtml, longText, proofHtml, sectionHtml, treeHtml } from "../output.ts";
import type { Session } from "../login/session.ts";
import { explain } from "../../history/why.ts";
import { parseRouting, buildTimeline, type Entry } from "../../history/story.ts";
import { block, count, jsonText, line, many, webUrl } from "../text.ts";
import { newestOfEach, stateTime } from "../delivery-badges.ts";
import { maskedHtml } from "./masked.ts";

export interface RunView {
  stored: StoredRun;
  /** Links lead to the relay under the address at which it is being read. */
  report: Report;
  receipts: readonly Receipt[];
  /** Newest first. */
  deliveries: readonly Delivery[];
  attempts: readonly Attempt[];
  sinks: readonly { name: string; kind: string }[];
  session: Session;
  /** How many deliveries were queued, or artifacts found, when a button was just pressed. */
  queued: number | null;
  refreshed: number | null;
  /** The id of the last change that the page shows. */
  event: string;
  link(key: ArtifactKey): string;
}

const MAX_SHOTS = 48;
const MAX_FILES = 200;
const MAX_ENTRIES = 500;

export function runPage(view: RunView): Part {
  const content = buildContent(view.report, "result", PAGE_AMOUNT);
  return [
    view.queued === null
      ? ""
      : html`<p class="flash" role="status">
          ${icon("again")}Queued again for ${many(view.queued, "sink")}.
          <span data-live-hide>Reload to see the result.</span>
        </p>`,
    view.refreshed === null
      ? ""
      : html`<p class="flash" role="status">
          ${icon("done")}Skyvern was asked again and lists ${many(view.refreshed, "artifact")}.
        </p>`,
    html`<p class="new-items" role="status">
      <button class="button primary" type="button" data-new-items="run" hidden></button>
    </p>`,
    head(view, content),
    html`<div class="columns">
      <div class="first">
        ${outcome(view, content)} ${attemptsCard(content)} ${output(view, content)} ${blocksCard(view)}
      </div>
      <div class="side">${deliveriesCard(view)} ${facts(view)}</div>
      <div class="rest">${media(view)} ${files(view, content)} ${timeline(view)} ${parameters(view.report)}</div>
    </div>`,
  ];
}

function head({ report, stored, session, sinks, deliveries }: RunView, content: Content): Html {
  const app = webUrl(report.app_url);
  const action = `${runPath(report.run_id)}/redeliver`;
  const canSend = isFinal(stored.state.run) && sinks.length > 0;
  return html`<div class="head run-head" id="run-head" data-version="${versionOf(stored)}">
    <p class="crumb"><a href="/">Runs</a> / ${line(report.run_id, 80)}</p>
    <p>${badge({ ...statusLook(report.status), label: content.status.label })}</p>
    <h1 dir="auto">${line(content.title, 140)}</h1>
    ${content.notes.map((note) => html`<p class="note">${icon("info")}<span>${block(note, 500)}</span></p>`)}
    <div class="row actions">
      ${
        app === null
          ? ""
          : html`<a class="button" href="${app}" target="_blank" rel="noreferrer noopener nofollow"
              >Open in Skyvern${icon("open")}</a
            >`
      }
      ${
        canSend
          ? buttonForm({ action, csrf: session.csrf }, [
              icon("again"),
              deliveries.length === 0 ? "Send to all sinks" : "Redeliver to all",
            ])
          : ""
      }
      ${buttonForm({ action: `${runPath(report.run_id)}/artifacts/refresh`, csrf: session.csrf }, [
        icon("file"),
        "Refresh artifacts",
      ])}
    </div>
  </div>`;
}

/** The version of the page's parts that are not live. When it changes, the page must be reloaded. */
const versionOf = ({ state: { revision, run }, artifacts, status }: StoredRun): string =>
  `${revision}.${TERMINAL_STATUSES.indexOf(run.status as TerminalStatus)}.${run.attempt}.${status}.${artifacts.length}`;

function outcome(view: RunView, content: Content): Part {
  const { report } = view;
  const { failure } = content;
  const summary =
    report.summary === null || report.summary === "" ? "" : card("summary", "Summary", longText(report.summary));
  const failed =
    failure === null
      ? ""
      : html`<section class="card bad-card" aria-labelledby="failure">
          <h2 id="failure">${failure.at === null ? "Why it did not complete" : line(failure.at, 200)}</h2>
          ${failure.reason === null || failure.reason === "" ? "" : longText(failure.reason)}
          ${labels("Error codes", failure.codes)} ${labels("Categories", failure.categories)}
          ${
            failure.errors.length === 0
              ? ""
              : html`<details>
                  <summary>
                    ${many(failure.errors.length, "error")} as Skyvern reports
                    ${failure.errors.length === 1 ? "it" : "them"}
                  </summary>
                  ${failure.errors.slice(0, 20).map(errorHtml)}
                </details>`
          }
        </section>`;
  return [failed, summary, decisive(view)];
}

const attemptsCard = ({ attempts }: Content): Part =>
  attempts === null ? "" : card("attempts", "Attempts", sectionHtml({ ...attempts, title: null }));

const labels = (title: string, values: readonly string[]): Part =>
  values.length === 0
    ? ""
    : html`<p class="labels">
        <span class="soft">${title}</span>
        ${values.slice(0, 30).map((value) => html`<code>${line(value, 128)}</code> `)}
      </p>`;

function errorHtml(error: RunView["report"]["output"]): Html {
  if (!isJsonObject(error)) return treeHtml(error);
  return html`<dl class="facts">
    ${Object.entries(error).map(([name, value]) =>
      fact(line(name, 60), typeof value === "string" ? block(value, 2_000) : treeHtml(value)),
    )}
  </dl>`;
}

/** The run's blocks in the order in which they began; those of a loop stand in from it. */
function blocksCard({ report }: RunView): Part {
  const { blocks, blocks_omitted: omitted } = report;
  if (blocks.length === 0) return "";
  const hasAttempts = blocks.some(({ attempt }) => attempt > 1);
  const rows = blocks.map(
    ({ label, type, status, attempt, depth, duration_ms: took, reason, codes, screenshot_url: picture }) =>
      html`<li class="${`block depth-${Math.min(depth, 4)}`}">
        <span class="row">
          ${badge(statusLook(status ?? "unknown"))}
          <strong dir="auto">${line(label ?? "", 100) || line(typeName(type), 60)}</strong>
          <span class="soft">${line(typeName(type), 60)}</span>
          ${hasAttempts ? html`<span class="soft">attempt ${attempt}</span>` : ""}
          ${took === null ? "" : html`<span class="soft">${duration(took)}</span>`}
          ${picture === null ? "" : html`<a href="${picture}" target="_blank" rel="noreferrer noopener">Picture</a>`}
        </span>
        ${reason === null ? "" : html`<span class="sub why" dir="auto">${block(reason, 600)}</span>`}
        ${labels("Error codes", codes)}
      </li>`,
  );
  const before = omitted === 0 ? "" : html`<p class="soft">${many(omitted, "earlier block")} not shown.</p>`;
  return card("blocks", "Blocks", [
    before,
    html`<ol class="blocks">
      ${rows}
    </ol>`,
  ]);
}

function output({ report }: RunView, content: Content): Part {
  if (report.output === null) {
    return card("output", "Output", html`<p class="soft">The run has no output.</p>`);
  }
  const more = omittedWords([content.omittedBlocks, "block"]);
  const json = jsonText(report.output);
  const download = `${runPath(report.run_id)}/output.json`;
  const parts = [
    content.output.map(sectionHtml),
    more === null ? "" : html`<p class="soft">${more} in the tree below.</p>`,
    content.output.length === 0 ? html`<p class="soft">The output is empty.</p>` : "",
    html`<details>
        <summary>Everything, as a tree</summary>
        ${treeHtml(report.output)}
      </details>
      <details>
        <summary>JSON</summary>
        ${jsonHtml(json, "output-json")}
      </details>`,
  ];
  return card("output", "Output", parts, { aside: jsonActions(json, "output-json", download) });
}

/** The decisive picture, large: for a failed run, the moment of the failure. */
function decisive({ stored, link }: RunView): Part {
  const { run } = stored.state;
  const [key] = decisiveScreenshots(run, stored);
  if (key === undefined) return "";
  const path = `${runPath(run.run_id)}/media/${encodeURIComponent(key)}`;
  return html`<figure class="decisive">
    <a href="${link(key)}" target="_blank" rel="noreferrer noopener"
      ><img src="${path}" alt="Screenshot at the end of the run" width="960" height="540"
    /></a>
    ${captionOf(stored, key)}
  </figure>`;
}

/** Which block made a picture, and when, as far as that is known. */
function captionOf({ artifacts }: StoredRun, key: ArtifactKey): Part {
  const made = artifacts.find(({ artifact_id }) => artifact_id === key);
  const name = line(made?.block ?? "", 80);
  const at = made?.created_at ?? null;
  if (name === "" && at === null) return "";
  return html`<span class="soft caption" dir="auto"
    >${name}${name !== "" && at !== null ? ", " : ""}${at === null ? "" : time(at)}</span
  >`;
}

/** Pictures and film come through the relay, so the page loads nothing from third parties. */
function media({ stored, report, link }: RunView): Part {
  const { run } = stored.state;
  const listed = stored.artifacts
    .filter(({ type }) => type.startsWith("screenshot_"))
    .map((artifact) => artifact.artifact_id);
  const shots = [...new Set([...run.screenshots, ...listed])];
  const path = (key: ArtifactKey) => `${runPath(run.run_id)}/media/${encodeURIComponent(key)}`;
  const attemptOf = new Map(report.artifacts.map(({ artifact_id, attempt }) => [artifact_id, attempt]));
  const picture = (key: ArtifactKey): Html => {
    const index = shots.indexOf(key);
    return html`<li>
      <a href="${link(key)}" target="_blank" rel="noreferrer noopener"
        ><img
          src="${path(key)}"
          alt="Screenshot ${index + 1} of ${shots.length}"
          loading="lazy"
          width="320"
          height="180"
      /></a>
      ${captionOf(stored, key)}
    </li>`;
  };
  // The payload names only the last attempt's.
  const byAttempt = Map.groupBy(shots.slice(0, MAX_SHOTS), (key) => attemptOf.get(key) ?? run.attempt);
  const galleries = [...byAttempt]
    .toSorted(([a], [b]) => b - a)
    .map(([attempt, keys]) => [
      byAttempt.size === 1 ? "" : html`<h3>Attempt ${String(attempt)}</h3>`,
      html`<ul class="gallery">
        ${keys.map(picture)}
      </ul>`,
    ]);
  const [first] = shots;
  const poster = first === undefined ? "" : html`poster="${path(first)}"`;
  const more = shots.length > MAX_SHOTS ? html`<p class="soft">${count(shots.length - MAX_SHOTS)} more below.</p>` : "";
  return [
    shots.length === 0 ? "" : card("screenshots", "Screenshots", [...galleries, more]),
    run.recording === null
      ? ""
      : card("recording", "Recording", [
          html`<video src="${path(run.recording)}" controls preload="none" width="640" height="360" ${poster}></video>`,
          html`<p class="row">
            <a class="button small" href="${report.recording_url ?? ""}" target="_blank" rel="noreferrer noopener"
              >Open the recording</a
            >
          </p>`,
        ]),
  ];
}

function files({ report, link }: RunView, content: Content): Part {
  const named = new Set(report.files.map(({ artifact_id }) => artifact_id));
  const rest = report.artifacts.filter(({ artifact_id }) => !named.has(artifact_id));
  const own = content.files.slice(0, MAX_FILES).map(
    ({ name, size, url }, index) =>
      html`<li>
        ${icon("file")}<a href="${url}" target="_blank" rel="noreferrer noopener" dir="auto"
          >${line(name) || `File ${index + 1}`}</a
        >
        ${size === null ? "" : html`<span class="soft">${size}</span>`}
      </li>`,
  );
  const others = rest.slice(0, MAX_FILES).map(
    ({ artifact_id, type, created_at, attempt }) =>
      html`<li>
        ${icon("file")}<a href="${link(artifact_id)}" target="_blank" rel="noreferrer noopener"
          >${line(type.replaceAll("_", " "), 60)}</a
        >
        <span class="soft"
          >${created_at === null ? line(artifact_id, 60) : time(Date.parse(created_at))}${
            report.attempt === 1 ? "" : ` · attempt ${attempt}`
          }</span
        >
      </li>`,
  );
  if (own.length === 0 && others.length === 0) return "";
  return card("files", "Files", [
    own.length === 0
      ? html`<p class="soft">The run downloaded no file.</p>`
      : html`<ul class="files">
          ${own}
        </ul>`,
    others.length === 0
      ? ""
      : html`<details>
          <summary>${many(rest.length, "other artifact")}</summary>
          <ul class="files">
            ${others}
          </ul>
          ${rest.length > MAX_FILES ? html`<p class="soft">${count(rest.length - MAX_FILES)} more in the API.</p>` : ""}
        </details>`,
  ]);
}

function deliveriesCard(view: RunView): Html {
  const { deliveries, sinks, session, report, event, receipts } = view;
  const newest = newestOfEach(deliveries);
  const names = new Set([...sinks.map(({ name }) => name), ...newest.map(({ sink }) => sink)]);
  const rows = [...names].map((name) => {
    const delivery = newest.find(({ sink }) => sink === name);
    return sinkRow(name, { delivery, isConfigured: sinks.some((sink) => sink.name === name), session, report });
  });
  const routes = parseRouting(receipts.findLast(({ routing }) => routing !== null)?.routing ?? null);
  const parts = [
    // Each sink's own line shows the result.
    deliveries.length > 0 ? "" : whyNobody(view).map((text) => html`<p class="why-line">${withTimes(text)}</p>`),
    rows.length === 0
      ? html`<p class="soft">No sink is configured: the run is only stored.</p>`
      : html`<ul class="deliveries">
          ${rows}
        </ul>`,
    routes.length === 0
      ? ""
      : html`<details>
          <summary>Why these sinks</summary>
          <ul class="routing">
            ${routes.slice(0, 50).map(routeHtml)}
          </ul>
        </details>`,
  ];
  const address = runPath(report.run_id);
  const also = ["run-head", "timeline-card"];
  return card("deliveries", "Deliveries", parts, {
    attributes: follow({ id: "deliveries-card", address, event, run: report.run_id, also }),
    aside: html`<span class="live" data-live-mark hidden>Live</span>`,
  });
}

const whyNobody = ({ stored, receipts, deliveries, attempts }: RunView): string[] =>
  explain({ stored, receipts, deliveries, attempts }).summary.map((text) => block(text, 600));

interface SinkRow {
  delivery: Delivery | undefined;
  isConfigured: boolean;
  session: Session;
  report: Report;
}

function sinkRow(name: string, { delivery, isConfigured, session, report }: SinkRow): Html {
  const form = { action: `${runPath(report.run_id)}/redeliver`, csrf: session.csrf, fields: { sink: name } };
  const said = html`<span class="said"> to ${line(name, 64)}</span>`;
  const button =
    isConfigured && isTerminal(report.status)
      ? buttonForm(form, delivery === undefined ? ["Send", said] : ["Redeliver", said], "small")
      : "";
  if (delivery === undefined) {
    return html`<li>
      <div class="delivery-head"><strong>${line(name, 64)}</strong><span class="soft">no delivery</span></div>
      ${button}
    </li>`;
  }
  const permalink = webUrl(typeof delivery.receipt?.["permalink"] === "string" ? delivery.receipt["permalink"] : null);
  return html`<li>
    <div class="delivery-head"><strong>${line(name, 64)}</strong>${badge(STATES[delivery.state])}</div>
    <p class="soft">
      ${stateTime(delivery)} · ${many(delivery.attempts, "attempt")}${isConfigured ? "" : " · no longer configured"}
    </p>
    ${delivery.last_error === null ? "" : html`<p class="error-text">${block(delivery.last_error, 600)}</p>`}
    ${proofHtml(delivery.receipt)}
    <div class="row">${permalink === null ? "" : externalLink(permalink, "Open message")}${button}</div>
  </li>`;
}

function facts({ report, stored }: RunView): Html {
  const { run } = stored.state;
  const url = webUrl(report.url);
  const workflow = report.workflow?.permanent_id ?? null;
  const list: [string, Part | null][] = [
    ["Run", code(report.run_id)],
    ["Type", line(report.run_type, 60)],
    [
      "Workflow",
      workflow === null
        ? null
        : html`<a href="/?workflow=${encodeURIComponent(workflow.toWellFormed())}"
            >${line(report.workflow?.title ?? workflow, 100)}</a
          >`,
    ],
    [
      "Workflow run",
      report.workflow?.run_id === undefined ||
      report.workflow.run_id === null ||
      report.workflow.run_id === report.run_id
        ? null
        : code(report.workflow.run_id),
    ],
    [
      "Site",
      url === null ? (report.url === null ? null : line(report.url)) : externalLink(url, line(report.url ?? "", 120)),
    ],
    ["Prompt", report.prompt === null || report.title === null ? null : block(report.prompt, 600)],
    [
      "Channel",
      report.channel === null
        ? null
        : html`<a href="/?channel=${encodeURIComponent(report.channel)}">${line(report.channel, 64)}</a>`,
    ],
    ...listRelated(report),
    ...Object.entries(report.labels).map(([name, value]): [string, Part] => [
      line(name, 40),
      html`<a href="/?label=${encodeURIComponent(`${name}:${value}`)}">${line(value, 100)}</a>`,
    ]),
    ["Organization", report.organization_id === null ? null : code(report.organization_id)],
    ["Duration", report.duration_ms === null ? null : duration(report.duration_ms)],
    ["Steps", report.step_count === null ? null : count(report.step_count)],
    ["Started", run.started_at === null ? null : time(run.started_at)],
    ["Finished", run.finished_at === null ? null : time(run.finished_at)],
    ["Received", time(run.received_at)],
    ["Revision", report.revision === 1 ? null : String(report.revision)],
    ["Known from", report.source === "webhook" ? null : report.source],
    ["Masked", maskedHtml(report)],
  ];
  const shown = list.flatMap(([label, value]) => (value === null || value === "" ? [] : [fact(label, value)]));
  return card("facts", "Facts", html`<dl class="facts narrow">${shown}</dl>`);
}

/** Links to the runs that belong to this one. */
function listRelated({ related: { retried_from, retried_by, children } }: Report): [string, Part | null][] {
  const link = (id: string): Html => html`<a href="${runPath(id)}">${line(id, 100)}</a> `;
  return [
    ["Retry of", retried_from === null ? null : link(retried_from)],
    ["Retried by", retried_by === null ? null : link(retried_by)],
    ["Started runs", children.length === 0 ? null : children.slice(0, 20).map(link)],
  ];
}

const code = (text: string): Html => html`<code>${line(text, 100)}</code>`;

function timeline(view: RunView): Html {
  const { stored, receipts, deliveries, attempts, report } = view;
  const entries = buildTimeline({ run: stored.state.run, receipts, deliveries: deliveries.toReversed(), attempts });
  const left = entries.length - MAX_ENTRIES;
  const parts = [
    html`<ol class="timeline">
      ${entries.slice(0, MAX_ENTRIES).map((one) => entryHtml(one, report.run_id))}
    </ol>`,
    left > 0 ? html`<p class="soft">${many(left, "later entry", "later entries")} not shown.</p>` : "",
  ];
  return card("timeline", "Timeline", parts, { attributes: html`id="timeline-card"` });
}

const ENTRIES = {
  stamp: { tone: "plain", icon: "clock" },
  settled: { tone: "good", icon: "in" },
  receipt: { tone: "plain", icon: "in" },
  unrecognized: { tone: "warn", icon: "in" },
  queued: { tone: "plain", icon: "out" },
  requeued: { tone: "plain", icon: "again" },
  given_up: { tone: "bad", icon: "out" },
  delivered: { tone: "good", icon: "done" },
  retry: { tone: "warn", icon: "dots" },
  dead: { tone: "bad", icon: "failed" },
} as const satisfies Record<Entry["sort"], { tone: Tone; icon: IconName }>;

const entryHtml = ({ at, who, sort, title, lines, routing, receiptId }: Entry, runId: string): Html =>
  html`<li class="${ENTRIES[sort].tone}">
    <span class="mark">${icon(ENTRIES[sort].icon)}</span>
    <div>
      <p class="entry-title">
        <strong dir="auto">${line(title)}</strong> <span class="soft">${who} · ${time(at)}</span>
      </p>
      ${lines.map((text) => html`<p class="entry-line" dir="auto">${withTimes(block(text, 1_000))}</p>`)}
      ${
        routing.length === 0
          ? ""
          : html`<ul class="routing">
              ${routing.slice(0, 50).map(routeHtml)}
            </ul>`
      }
      ${
        receiptId === null
          ? ""
          : html`<p>
              <a href="${runPath(runId)}/receipts/${encodeURIComponent(receiptId)}">Show what was received</a>
            </p>`
      }
    </div>
  </li>`;

const routeHtml = ({ route, matched, because }: Entry["routing"][number]): Html =>
  html`<li class="${matched ? "good" : "plain"}">
    ${icon(matched ? "done" : "ban")}<span
      >Route <strong>${line(route, 64)}</strong> ${matched ? "matched" : "did not match"}: ${line(because, 400)}</span
    >
  </li>`;

function parameters(report: Report): Part {
  if (report.parameters === null || Object.keys(report.parameters).length === 0) return "";
  return card("parameters", "Parameters", [
    html`<p class="soft">Secrets were masked before anything was stored.</p>`,
    treeHtml(report.parameters),
  ]);
}

interface CardOptions {
  attributes?: Part;
  /** Shown beside the title. */
  aside?: Part;
}

const card = (id: string, title: string, body: Part, { attributes = "", aside = "" }: CardOptions = {}): Html =>
  html`<section class="card" aria-labelledby="${id}" ${attributes}>
    <div class="card-head">
      <h2 id="${id}">${title}</h2>
      ${aside}
    </div>
    ${body}
  </section>`;
