/** Skyvern's tries of a run, oldest first, as the blocks are listed: so they fit a phone. */
import { html } from "hono/html";
import type { Report } from "../../domain/report.ts";
import { duration } from "../../sinks/content.ts";
import { plainReason } from "../../sinks/plain-reason.ts";
import { badge, statusLook, time, type Html, type Part } from "../markup.ts";
import { plural } from "../../platform/amounts.ts";
import { block, line } from "../text.ts";
import { card } from "./card.ts";
import type { RunView } from "./view.ts";

/** Skyvern makes at most 6. */
const MAX_ATTEMPTS = 20;

/** Nothing for a run that Skyvern tried once. */
export function attemptsCard({ report: { attempts, failure } }: RunView): Part {
  if (attempts.length < 2) return "";
  const earlier = Math.max(0, attempts.length - MAX_ATTEMPTS);
  return card("attempts", "Attempts", [
    earlier === 0 ? "" : html`<p class="soft">${plural(earlier, "earlier attempt")} not shown.</p>`,
    html`<ol class="blocks">
      ${attempts.slice(-MAX_ATTEMPTS).map((one) => attemptHtml(one, failure?.reason ?? null))}
    </ol>`,
  ]);
}

/** `said`: the run's reason, which stands above. */
function attemptHtml(one: Report["attempts"][number], said: string | null): Html {
  const { attempt, status, reason, codes, started_at, finished_at } = one;
  const look = statusLook(status);
  const started = started_at === null ? null : Date.parse(started_at);
  const took = started === null || finished_at === null ? null : Math.max(0, Date.parse(finished_at) - started);
  const about: Part[] = [...(started === null ? [] : [time(started)]), ...(took === null ? [] : [duration(took)])];
  const why = reason === said ? null : plainReason(reason);
  return html`<li class="block ${look.tone}">
    <div>
      <span class="row">${badge(look)} <strong>Attempt ${String(attempt)}</strong></span>
      <span class="sub">${about.map((part, index) => [index === 0 ? "" : " · ", part])}</span>
      ${why === null ? "" : html`<span class="sub why" dir="auto">${block(why, 600)}</span>`}
      ${codes.length === 0 ? "" : html`<span class="sub">${codes.map((code) => html`<code>${line(code, 128)}</code> `)}</span>`}
    </div>
  </li>`;
}
