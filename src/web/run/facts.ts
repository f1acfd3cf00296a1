/** What is known of a run besides its outcome: ids, times, labels, and the runs that belong to it. */
import { html } from "hono/html";
import { typeName } from "../../domain/block.ts";
import type { Report } from "../../domain/report.ts";
import { duration } from "../../sinks/content.ts";
import { externalLink, runPath, time, type Html, type Part } from "../markup.ts";
import { fact } from "../output.ts";
import type { RunFilterName } from "../query.ts";
import { count } from "../../platform/amounts.ts";
import { block, line, webUrl } from "../text.ts";
import { card } from "./card.ts";
import { maskedHtml } from "./masked.ts";
import type { RunView } from "./view.ts";

export function factsCard({ report, stored }: RunView): Html {
  const { run } = stored.state;
  const url = webUrl(report.url);
  const workflow = report.workflow?.permanent_id ?? null;
  const list: [string, Part | null][] = [
    ["Run", code(report.run_id)],
    ["Type", line(typeName(report.run_type), 60)],
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
    ["Steps", report.step_count === null || report.step_count === 0 ? null : count(report.step_count)],
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
function listRelated({ related, trigger, tags }: Report): [string, Part | null][] {
  const { parent, retried_from, retried_by, children, schedule } = related;
  const link = (id: string): Html => html`<a href="${runPath(id)}">${line(id, 100)}</a> `;
  return [
    ["Trigger", trigger === null ? null : listLink("trigger", trigger)],
    ["Schedule", schedule === null ? null : listLink("schedule", schedule)],
    ["Tags", tags.length === 0 ? null : tags.map((tag) => listLink("tag", tag))],
    ["Started by", parent === null ? null : link(parent)],
    ["Retry of", retried_from === null ? null : link(retried_from)],
    ["Retried by", retried_by === null ? null : link(retried_by)],
    ["Started runs", children.length === 0 ? null : children.slice(0, 20).map(link)],
  ];
}

/** Leads to the runs that have the same value. */
const listLink = (filter: RunFilterName, value: string): Html =>
  html`<a href="/?${filter}=${encodeURIComponent(value)}">${line(value, 100)}</a> `;

const code = (text: string): Html => html`<code>${line(text, 100)}</code>`;
