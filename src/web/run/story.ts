/** The technical story of a run, folded: receipts, routes and attempts as they came, and its parameters. */
import { html } from "hono/html";
import type { Report } from "../../domain/report.ts";
import type { Tone } from "../../domain/status-look.ts";
import { buildTimeline, type Entry } from "../../history/story.ts";
import { icon, runPath, time, withTimes, type Html, type IconName, type Part } from "../markup.ts";
import { treeHtml } from "../output.ts";
import { plural } from "../../platform/amounts.ts";
import { block, line } from "../text.ts";
import type { RunView } from "./view.ts";

const MAX_ENTRIES = 500;

/** Live updates replace what is inside, so that the fold stays as the reader left it. */
export function storyCard(view: RunView): Html {
  const { stored, receipts, deliveries, attempts, circuits, report } = view;
  const entries = buildTimeline({
    run: stored.state.run,
    receipts,
    deliveries: deliveries.toReversed(),
    attempts,
    circuits,
  });
  const left = entries.length - MAX_ENTRIES;
  return html`<details class="card fold">
    <summary>Technical story: what was received, and every attempt to deliver it</summary>
    <div id="timeline-card">
      <ol class="timeline">
        ${entries.slice(0, MAX_ENTRIES).map((one) => entryHtml(one, report.run_id))}
      </ol>
      ${left > 0 ? html`<p class="soft">${plural(left, "later entry", "later entries")} not shown.</p>` : ""}
    </div>
  </details>`;
}

const ENTRIES = {
  stamp: { tone: "plain", icon: "clock" },
  settled: { tone: "good", icon: "in" },
  receipt: { tone: "plain", icon: "in" },
  unrecognized: { tone: "warn", icon: "in" },
  queued: { tone: "plain", icon: "out" },
  requeued: { tone: "plain", icon: "again" },
  died: { tone: "bad", icon: "out" },
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

export function parametersCard(report: Report): Part {
  if (report.parameters === null || Object.keys(report.parameters).length === 0) return "";
  return html`<details class="card fold">
    <summary>Parameters</summary>
    <p class="soft">Secrets were masked before anything was stored.</p>
    ${treeHtml(report.parameters)}
  </details>`;
}
