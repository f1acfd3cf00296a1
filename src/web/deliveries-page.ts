/** The list of deliveries; dead letters above all. */
import { html } from "hono/html";
import { DELIVERY_STATES, type Delivery } from "../run.ts";
import type { Page } from "../store/store.ts";
import { badge, buttonForm, icon, runPath, STATES, time, type Html, type Part } from "./markup.ts";
import { hrefOf, toggled, type DeliveryFilterName, type Fault, type Query } from "./query.ts";
import { faultList } from "./runs-page.ts";
import type { Session } from "./session.ts";
import { block, line, many } from "./text.ts";
import { stateTime } from "./told.ts";

export interface DeliveriesView {
  rows: readonly Delivery[];
  query: Query<DeliveryFilterName>;
  faults: readonly Fault[];
  older: NonNullable<Page["after"]> | null;
  sinks: readonly { name: string }[];
  session: Session;
  queued: number | null;
}

const PATH = "/deliveries";

export function deliveriesPage(view: DeliveriesView): Part {
  const { rows, query, faults, older, queued } = view;
  const isDead = query.values.state?.join() === "dead";
  return [
    queued === null
      ? ""
      : html`<p class="flash" role="status">${icon("again")}Queued again for ${many(queued, "sink")}.</p>`,
    html`<div class="head">
      <h1>${isDead ? "Dead letters" : "Deliveries"}</h1>
      ${isDead ? html`<p class="soft">Deliveries that were given up. Redeliver makes a new one; these stay as a record.</p>` : ""}
    </div>`,
    chips(view),
    faults.length > 0 ? faultList(faults) : rows.length === 0 ? nothing(isDead) : table(view),
    html`<nav class="pager" aria-label="Pages">
      ${query.after === null ? "" : html`<a class="button" href="${hrefOf(PATH, { ...query, after: null })}">Newest</a>`}
      ${older === null ? "" : html`<a class="button" rel="next" href="${hrefOf(PATH, { ...query, after: older })}">Older</a>`}
    </nav>`,
  ];
}

const nothing = (isDead: boolean): Html =>
  html`<section class="card empty">
    <h2>${isDead ? "No dead letters" : "No delivery fits"}</h2>
    <p>
      ${isDead ? "Everything that was queued was delivered, or is still being tried." : "No delivery fits these filters."}
    </p>
  </section>`;

function chips({ query, sinks }: DeliveriesView): Html {
  const chip = (name: DeliveryFilterName, value: string, label: Part, tone = "") =>
    html`<a
      class="chip ${tone}"
      href="${hrefOf(PATH, toggled(query, name, value))}"
      ${query.values[name]?.includes(value) ? html`aria-current="true"` : ""}
      >${label}</a
    >`;
  const names = new Set([...sinks.map(({ name }) => name), ...(query.values.sink ?? [])]);
  return html`<nav class="chips" aria-label="By state">
      ${DELIVERY_STATES.map((state) => chip("state", state, [icon(STATES[state].icon), STATES[state].label], STATES[state].tone))}
    </nav>
    <nav class="chips" aria-label="By sink">${[...names].map((name) => chip("sink", name, line(name, 64)))}</nav>`;
}

const table = (view: DeliveriesView): Html =>
  html`<table class="list deliveries" role="table">
    <caption class="said">
      Deliveries, newest first
    </caption>
    <thead>
      <tr role="row">
        <th scope="col">State</th>
        <th scope="col">Run</th>
        <th scope="col">Sink</th>
        <th scope="col">Attempts</th>
        <th scope="col">Queued</th>
        <th scope="col"><span class="said">Act</span></th>
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${view.rows.map((delivery) => row(delivery, view))}
    </tbody>
  </table>`;

function row(delivery: Delivery, { session, sinks, query }: DeliveriesView): Html {
  const { run_id: runId, sink } = delivery;
  const fields = { sink, to: hrefOf(PATH, query) };
  const isConfigured = sinks.some(({ name }) => name === sink);
  const isWaiting = delivery.state === "pending" || delivery.state === "sending";
  const said = html`<span class="said"> ${line(runId, 60)} to ${line(sink, 64)}</span>`;
  const form = { action: `${runPath(runId)}/redeliver`, csrf: session.csrf, fields };
  return html`<tr role="row">
    <td role="cell" class="a-status">${badge(STATES[delivery.state])}</td>
    <td role="cell" class="a-title">
      <a class="title" href="${runPath(runId)}">${line(runId, 80)}</a>
      ${delivery.last_error === null ? html`<span class="sub">${stateTime(delivery)}</span>` : html`<span class="error-text">${block(delivery.last_error, 400)}</span>`}
    </td>
    <td role="cell" class="a-type">${line(sink, 64)} <span class="soft">${line(delivery.kind, 30)}</span></td>
    <td role="cell" class="a-took">${many(delivery.attempts, "attempt")}</td>
    <td role="cell" class="a-time">${time(delivery.created_at, "short")}</td>
    <td role="cell" class="a-act">
      ${isWaiting || !isConfigured ? "" : buttonForm(form, ["Redeliver", said], "small")}
    </td>
  </tr>`;
}
