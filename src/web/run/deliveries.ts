/** Where a run was delivered: a line for each sink, its details folded, and buttons to send it again. */
import { html } from "hono/html";
import type { Report } from "../../domain/report.ts";
import { isFinal, isTerminal, RETRYING, type Circuit, type Delivery } from "../../domain/run.ts";
import { explain } from "../../history/why.ts";
import { newestOfEach, stateTime } from "../delivery-badges.ts";
import type { Session } from "../login/session.ts";
import { badge, buttonForm, externalLink, follow, icon, runPath, STATES, withTimes, type Html } from "../markup.ts";
import { proofHtml } from "../output.ts";
import { plural } from "../../platform/amounts.ts";
import { block, line, webUrl } from "../text.ts";
import { card } from "./card.ts";
import type { RunView } from "./view.ts";

export function deliveriesCard(view: RunView): Html {
  const { stored, deliveries, sinks, circuits, session, report, event } = view;
  const newest = newestOfEach(deliveries);
  const names = new Set([...sinks.map(({ name }) => name), ...newest.map(({ sink }) => sink)]);
  const rows = [...names].map((name) => {
    const delivery = newest.find(({ sink }) => sink === name);
    return sinkRow(name, {
      delivery,
      isConfigured: sinks.some((sink) => sink.name === name),
      circuit: circuits.get(name),
      session,
      report,
    });
  });
  const all = { action: `${runPath(report.run_id)}/redeliver`, csrf: session.csrf };
  const parts = [
    // Each sink's own line shows the result.
    deliveries.length > 0 ? "" : whyNobody(view).map((text) => html`<p class="why-line">${withTimes(text)}</p>`),
    rows.length === 0
      ? html`<p class="soft">No sink is configured: the run is only stored.</p>`
      : html`<ul class="deliveries">
          ${rows}
        </ul>`,
    isFinal(stored.state.run) && sinks.length > 0
      ? buttonForm(all, [icon("again"), deliveries.length === 0 ? "Send to all sinks" : again(newest, sinks)], "small")
      : "",
  ];
  const address = runPath(report.run_id);
  const also = ["run-head", "timeline-card"];
  return card("deliveries", "Delivered to", parts, {
    attributes: follow({ id: "deliveries-card", address, event, run: report.run_id, also }),
    aside: html`<span class="live" data-live-mark hidden>Live</span>`,
  });
}

const AND = new Intl.ListFormat("en-GB", { type: "conjunction" });

/** The button sends to the sinks that the run was for, as far as they are configured. */
function again(newest: readonly Delivery[], sinks: RunView["sinks"]): string {
  const names = newest.flatMap(({ sink }) => (sinks.some(({ name }) => name === sink) ? [line(sink, 64)] : []));
  return names.length > 3 ? `Send again to ${names.length} sinks` : `Send again to ${AND.format(names) || "its sinks"}`;
}

function whyNobody({ stored, receipts, deliveries, attempts, circuits }: RunView): string[] {
  const { summary } = explain({ stored, receipts, deliveries, attempts, circuits });
  // The head of the page says that Skyvern tries the run again, and when.
  const shown = stored.state.run.status === RETRYING ? summary.slice(1) : summary;
  return shown.map((text) => block(text, 600));
}

interface SinkRow {
  delivery: Delivery | undefined;
  isConfigured: boolean;
  circuit: Circuit | undefined;
  session: Session;
  report: Report;
}

function sinkRow(name: string, { delivery, isConfigured, circuit, session, report }: SinkRow): Html {
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
  const proof = proofHtml(delivery.receipt);
  const permalink = webUrl(typeof delivery.receipt?.["permalink"] === "string" ? delivery.receipt["permalink"] : null);
  return html`<li>
    <div class="delivery-head"><strong>${line(name, 64)}</strong>${badge(STATES[delivery.state])}</div>
    <p class="soft">
      ${stateTime(delivery, circuit)} ·
      ${plural(delivery.attempts, "attempt")}${isConfigured ? "" : " · no longer configured"}
    </p>
    ${delivery.last_error === null ? "" : html`<p class="error-text">${block(delivery.last_error, 600)}</p>`}
    <div class="row">${permalink === null ? "" : externalLink(permalink, "Open message")}${button}</div>
    ${
      proof === ""
        ? ""
        : html`<details>
            <summary>What it answered</summary>
            ${proof}
          </details>`
    }
  </li>`;
}
