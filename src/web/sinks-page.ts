/** How each sink does. */
import { html } from "hono/html";
import { DELIVERY_STATES, type Delivery } from "../run.ts";
import { duration } from "../sinks/content.ts";
import type { Backlog } from "../store/store.ts";
import { badge, runPath, STATES, time, type Html, type Look, type Part } from "./markup.ts";
import { fact } from "./output.ts";
import { block, count, line, many } from "./text.ts";

export interface SinkView {
  name: string;
  /** Null: not configured any more, but some deliveries bear its name. */
  kind: string | null;
  backlog: Backlog | null;
  counts: Partial<Record<string, number>>;
  /** The newest delivery that carries an error. */
  lastError: Delivery | null;
  lastSuccess: Delivery | null;
}

export function sinksPage(sinks: readonly SinkView[], now: number): Part {
  return [
    html`<div class="head"><h1>Sinks</h1></div>`,
    sinks.length === 0
      ? html`<section class="card empty">
          <h2>No sink is configured</h2>
          <p>
            Runs are only kept here. Set <code>SLACK_BOT_TOKEN</code> and <code>SLACK_CHANNEL</code>,
            <code>SMTP_URL</code>, or <code>SINK_URL</code>, or name sinks in <code>relay.yaml</code>.
          </p>
        </section>`
      : html`<div class="sinks">${sinks.map((sink) => sinkCard(sink, now))}</div>`,
  ];
}

function sinkCard({ name, kind, backlog, counts, lastError, lastSuccess }: SinkView, now: number): Html {
  const path = (state: string) => `/deliveries?state=${state}&sink=${encodeURIComponent(name.toWellFormed())}`;
  const shown = DELIVERY_STATES.flatMap((state) => {
    const n = counts[state] ?? 0;
    return n === 0
      ? []
      : [
          html`<li class="tick ${STATES[state].tone}">
            <a href="${path(state)}">${count(n)} ${STATES[state].label.toLowerCase()}</a>
          </li>`,
        ];
  });
  return html`<section class="card sink" aria-label="Sink ${line(name, 64)}">
    <div class="told-head">
      <h2>${line(name, 64)} <span class="soft">${kind ?? "not configured any more"}</span></h2>
      ${badge(lookOf({ kind, backlog, counts, lastError, lastSuccess }))}
    </div>
    ${
      shown.length === 0
        ? html`<p class="soft">Nothing was sent here yet.</p>`
        : html`<ul class="ticks">
            ${shown}
          </ul>`
    }
    <dl class="facts narrow">
      ${fact("Waiting", backlog === null ? "nothing" : html`<a href="${path("pending")}&state=sending">${many(backlog.waiting, "delivery", "deliveries")}</a>, the oldest for ${duration(Math.max(0, now - backlog.oldest))}`)}
      ${fact("Last success", lastSuccess === null ? "–" : html`${time(lastSuccess.delivered_at)}, <a href="${runPath(lastSuccess.run_id)}">${line(lastSuccess.run_id, 60)}</a>`)}
      ${fact("Last error", lastError === null ? "–" : html`${time(lastError.created_at)}, <a href="${runPath(lastError.run_id)}">${line(lastError.run_id, 60)}</a>`)}
    </dl>
    ${lastError?.last_error == null ? "" : html`<p class="error-text">${block(lastError.last_error, 600)}</p>`}
  </section>`;
}

/** In one word. An error that a later success has overtaken is history. */
function lookOf({ kind, backlog, counts, lastError, lastSuccess }: Omit<SinkView, "name">): Look {
  if (kind === null) return { label: "Gone", tone: "plain", icon: "ban" };
  const isFailing = lastError !== null && lastError.created_at > (lastSuccess?.delivered_at ?? 0);
  if (isFailing) return { label: "Failing", tone: "bad", icon: "failed" };
  if (backlog !== null) return { label: "Sending", tone: "warn", icon: "dots" };
  if (lastSuccess === null) return { label: "Not used yet", tone: "plain", icon: "info" };
  return (counts["dead"] ?? 0) > 0
    ? { label: "Working, with dead letters", tone: "warn", icon: "info" }
    : { label: "Working", tone: "good", icon: "done" };
}
