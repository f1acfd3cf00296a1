/** The confirmation before many deliveries are redelivered: how many, which, and a button. */
import { html } from "hono/html";
import { buttonForm, icon, STATES, time, type Html, type Part } from "../markup.ts";
import { toHref, parseInstant, type DeliveryFilterName, type QueryFault, type Query } from "../query.ts";
import { faultList } from "../list-parts.ts";
import type { Session } from "../login/session.ts";
import { plural } from "../../platform/amounts.ts";
import { line } from "../text.ts";
import type { DeliveryState } from "../../domain/run.ts";
import { fact } from "../output.ts";

export interface BulkView {
  query: Query<DeliveryFilterName>;
  faults: readonly QueryFault[];
  /** The deliveries that would be redelivered. */
  count: number;
  /** How many go in one step. */
  most: number;
  session: Session;
}

export function bulkPage({ query, faults, count, most, session }: BulkView): Part {
  const back = toHref("/deliveries", query);
  if (faults.length > 0) return faultList(faults);
  const filter = toHref("", query).replace(/^\?/, "");
  const form = { action: "/deliveries/redeliver", csrf: session.csrf, fields: { filter } };
  const n = plural(count, "delivery", "deliveries");
  return html`<section class="card notice-left">
    <p class="crumb"><a href="${back}">Deliveries</a></p>
    <h1>${count === 0 ? "Nothing to redeliver" : `Redeliver ${n}?`}</h1>
    ${which(query)}
    <p class="soft">
      ${
        count === 0
          ? "Matching deliveries have since been delivered, are already queued, or belong to a removed sink."
          : "The relay sends one message for each run and sink, with the run's current state. It skips what was delivered since or is already queued. The old deliveries stay as a record."
      }
      ${count >= most ? html` At most ${most} at once. Repeat for the rest.` : ""}
    </p>
    <div class="row">
      ${count === 0 ? "" : buttonForm(form, [icon("again"), `Redeliver ${n}`], "primary")}
      <a class="button" href="${back}">${count === 0 ? "Back" : "Cancel"}</a>
    </div>
  </section>`;
}

function which({ values }: Query<DeliveryFilterName>): Html {
  const instant = (text: string | undefined) => time(text === undefined ? null : parseInstant(text));
  const labels = (values.state ?? []).map((state) => STATES[state as DeliveryState].label).join(" or ");
  return html`<dl class="facts narrow">
    ${fact("State", labels)}
    ${fact(
      "Sink",
      values.sink?.length ? values.sink.map((name) => line(name, 64)).join(" or ") : "every configured sink",
    )}
    ${values.since?.length ? fact("Queued since", instant(values.since[0])) : ""}
    ${values.until?.length ? fact("Queued before", instant(values.until[0])) : ""}
  </dl>`;
}
