/** Shows where a run was delivered, and with which result. */
import type { Circuit, Delivery } from "../domain/run.ts";
import { html } from "hono/html";
import { icon, STATES, time, type Html } from "./markup.ts";
import { line } from "./text.ts";

/** The newest delivery of the run to each sink. `deliveries` comes newest first, as the store lists them. */
export function newestOfEach(deliveries: readonly Delivery[]): Delivery[] {
  const newest = new Map<string, Delivery>();
  for (const delivery of deliveries)
    if (delivery.subject === "run" && !newest.has(delivery.sink)) newest.set(delivery.sink, delivery);
  return [...newest.values()].toSorted((a, b) => (a.sink < b.sink ? -1 : 1));
}

/** `✓ slack`: one badge for each sink. */
export function ticks(deliveries: readonly Pick<Delivery, "sink" | "state">[]): Html {
  if (deliveries.length === 0) return html`<span class="soft">no delivery</span>`;
  return html`<ul class="ticks">
    ${deliveries.map(({ sink, state }) => {
      const look = STATES[state];
      return html`<li class="tick ${look.tone}">
        ${icon(look.icon)}${line(sink, 30)}<span class="said"> ${look.label.toLowerCase()}</span>
      </li>`;
    })}
  </ul>`;
}

/** When the delivery arrived, or when it is tried next. `circuit` is that of its sink. */
export function stateTime(delivery: Delivery, circuit: Circuit | undefined): Html {
  const { state, attempts, created_at, delivered_at, next_attempt_at } = delivery;
  if (state === "delivered") return html`${time(delivered_at)}`;
  if (state === "pending" && circuit?.state === "stopped") return html`until the sink is resumed`;
  if (state === "pending" && circuit?.state === "open" && circuit.until !== null)
    return html`the sink is failing, next try ${time(circuit.until)}`;
  // The due time of a delivery that was never tried is when it was queued.
  return next_attempt_at === null || attempts === 0
    ? html`queued ${time(created_at)}`
    : html`next try ${time(next_attempt_at)}`;
}
