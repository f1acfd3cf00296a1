/** The list of deliveries, mostly used for dead deliveries. */
import { html } from "hono/html";
import { DELIVERY_STATES, type Circuit, type Delivery } from "../../domain/run.ts";
import {
  badge,
  buttonForm,
  flash,
  follow,
  icon,
  rowId,
  runPath,
  STATES,
  time,
  type Html,
  type Part,
} from "../markup.ts";
import { toHref, toggled, type DeliveryFilterName, type Query } from "../query.ts";
import {
  chip,
  emptyCard,
  faultList,
  instantField,
  listTable,
  liveHead,
  newItems,
  pager,
  type ListView,
} from "../list-parts.ts";
import type { Session } from "../login/session.ts";
import { plural } from "../../platform/amounts.ts";
import { block, line } from "../text.ts";
import { stateTime } from "../delivery-badges.ts";

export interface DeliveriesView extends ListView<DeliveryFilterName> {
  rows: readonly Delivery[];
  /** By sink. */
  circuits: ReadonlyMap<string, Circuit>;
  session: Session;
  queued: number | null;
}

const PATH = "/deliveries";

export function deliveriesPage(view: DeliveriesView): Part {
  const { rows, query, faults, older, queued, event } = view;
  const isDead = query.values.state?.join() === "dead";
  const isLive = query.after === null && faults.length === 0;
  return [
    queued === null ? "" : flash("again", html`Queued again: ${plural(queued, "delivery", "deliveries")}.`),
    liveHead(isDead ? "Dead deliveries" : "Deliveries", isLive),
    isDead
      ? html`<p class="soft lead">
          These deliveries are not tried again. Redelivering creates new deliveries; these stay as a record.
        </p>`
      : "",
    timeForm(query),
    newItems("delivery"),
    html`<div ${isLive ? follow({ id: "results", address: toHref(PATH, query), event }) : html`id="results"`}>
      ${chips(view)}
      ${faults.length > 0 ? faultList(faults) : rows.length === 0 ? nothing(isDead) : [bulk(query), table(view)]}
      ${pager(PATH, query, older)}
    </div>`,
  ];
}

/** Offered for finished deliveries; the next page says how many there would be. */
function bulk(query: Query<DeliveryFilterName>): Part {
  const states = query.values.state ?? [];
  if (states.length === 0 || states.some((state) => state === "pending" || state === "sending")) return "";
  return html`<p class="row bulk">
    <a class="button" href="${toHref(`${PATH}/redeliver`, { ...query, after: null })}"
      >${icon("again")}Redeliver all of these…</a
    >
  </p>`;
}

function timeForm({ values }: Query<DeliveryFilterName>): Html {
  const isOpen = [values.since, values.until].some((list) => (list ?? []).length > 0);
  const kept = (["state", "sink"] as const).flatMap((name) =>
    (values[name] ?? []).map((one) => html`<input type="hidden" name="${name}" value="${one}" />`),
  );
  const instant = (name: "since" | "until", label: string) => instantField(name, label, values[name]?.[0] ?? "");
  return html`<form method="get" action="${PATH}" data-sparse>
    ${kept}
    <details class="filters" ${isOpen ? html`open` : ""}>
      <summary>Time</summary>
      <div class="fields">${instant("since", "Queued since")} ${instant("until", "Queued before")}</div>
      <p class="row"><button class="button primary">Filter</button></p>
    </details>
  </form>`;
}

const nothing = (isDead: boolean): Html =>
  isDead
    ? emptyCard("No dead deliveries", "Everything that was queued was delivered, or is still being tried.")
    : emptyCard("No delivery fits", "No delivery fits these filters.");

function chips({ query, sinks }: DeliveriesView): Html {
  const filter = (name: DeliveryFilterName, value: string, label: Part, tone?: string) => {
    const isOn = query.values[name]?.includes(value) === true;
    return chip({ href: toHref(PATH, toggled(query, name, value)), label, isOn, ...(tone ? { tone } : {}) });
  };
  const names = new Set([...sinks.map(({ name }) => name), ...(query.values.sink ?? [])]);
  return html`<nav class="chips" aria-label="By state">
      ${DELIVERY_STATES.map((state) =>
        filter("state", state, [icon(STATES[state].icon), STATES[state].label], STATES[state].tone),
      )}
    </nav>
    <nav class="chips" aria-label="By sink">${[...names].map((name) => filter("sink", name, line(name, 64)))}</nav>`;
}

const table = (view: DeliveriesView): Html =>
  listTable(
    "deliveries",
    "Deliveries, newest first",
    [["State"], ["Run"], ["Sink"], ["Attempts"], ["Queued"], [html`<span class="said">Act</span>`]],
    view.rows.map((delivery) => row(delivery, view)),
  );

function row(delivery: Delivery, { session, sinks, circuits, query }: DeliveriesView): Html {
  const { run_id: runId, sink } = delivery;
  const fields = { sink, to: toHref(PATH, query) };
  const isConfigured = sinks.some(({ name }) => name === sink);
  const isBacklog = delivery.state === "pending" || delivery.state === "sending";
  const said = html`<span class="said"> ${line(runId, 60)} to ${line(sink, 64)}</span>`;
  const form = { action: `${runPath(runId)}/redeliver`, csrf: session.csrf, fields };
  const isTest = delivery.cause === "test";
  const isAttempt = delivery.subject === "attempt";
  return html`<tr role="row" id="${rowId(delivery.id)}">
    <td role="cell" class="a-status">${badge(STATES[delivery.state])}</td>
    <td role="cell" class="a-title">
      ${
        isTest
          ? html`<span class="title">Test message</span>`
          : html`<a class="title" href="${runPath(runId)}">${line(runId, 80)}</a>`
      }
      ${isAttempt ? html`<span class="sub">Run attempt ${delivery.revision} failed</span>` : ""}
      ${
        delivery.last_error === null
          ? html`<span class="sub">${stateTime(delivery, circuits.get(sink))}</span>`
          : html`<span class="error-text">${block(delivery.last_error, 400)}</span>`
      }
    </td>
    <td role="cell" class="a-type">${line(sink, 64)} <span class="soft">${line(delivery.kind, 30)}</span></td>
    <td role="cell" class="a-took">${plural(delivery.attempts, "attempt")}</td>
    <td role="cell" class="a-time">${time(delivery.created_at, "short")}</td>
    <td role="cell" class="a-act">
      ${isBacklog || !isConfigured || isTest || isAttempt ? "" : buttonForm(form, ["Redeliver", said], "small")}
    </td>
  </tr>`;
}
