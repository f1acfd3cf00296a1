/** `/deliveries`: the list, and redelivering what fits a filter. */
import { listCircuits } from "../../history/sink-health.ts";
import { newDeliveryIds } from "../../store/outbox/redeliver.ts";
import { field, go, PAGE_SIZE, pageAfter, readFlash, withFlash, type PageContext } from "../page-context.ts";
import { deliveriesPage } from "./page.ts";
import { bulkPage } from "./bulk-page.ts";
import { DELIVERY_FILTERS, deliveryFilter, toHref, readQuery, type DeliveryFilterName, type Query } from "../query.ts";

/** The most deliveries that one press redelivers. The next press continues, because pending ones are skipped. */
const MAX_REDELIVERIES = 10_000;

export function mountDeliveries({ web, deps, reading, acting, show }: PageContext): void {
  const { store, sinks, runtime, log } = deps;

  web.get("/deliveries", ...reading, async (c) => {
    const { query, faults } = readQuery(new URL(c.req.url).searchParams, DELIVERY_FILTERS);
    const event = store.lastChange();
    const found = faults.length > 0 ? [] : await store.deliveries(deliveryFilter(query), pageAfter(query.after));
    const rows = found.slice(0, PAGE_SIZE);
    const last = rows.at(-1);
    const older = found.length > PAGE_SIZE && last ? { at: last.created_at, id: last.id } : null;
    const view = {
      rows,
      query,
      faults,
      older,
      sinks,
      circuits: await listCircuits(deps),
      session: c.get("session"),
      queued: readFlash(c, "queued"),
      event,
    };
    return show(c, { title: "Deliveries", part: "deliveries" }, deliveriesPage(view), faults.length > 0 ? 400 : 200);
  });

  const redeliverAll = (query: Query<DeliveryFilterName>, dryRun: boolean) => {
    const { sink = sinks.map(({ name }) => name), ...filter } = deliveryFilter(query);
    const known = { ...filter, sink: sink.filter((name) => sinks.some((one) => one.name === name)) };
    if (dryRun) return store.redeliverable(known, MAX_REDELIVERIES);
    return store.redeliverAll(known, newDeliveryIds(runtime, MAX_REDELIVERIES), runtime.now());
  };

  /** Nothing is sent yet: the page shows how many there would be, and a button. */
  web.get("/deliveries/redeliver", ...reading, async (c) => {
    const { query, faults } = readBulk(new URL(c.req.url).searchParams);
    const count = faults.length > 0 ? 0 : await redeliverAll(query, true);
    const body = bulkPage({ query, faults, count, most: MAX_REDELIVERIES, session: c.get("session") });
    return show(c, { title: "Redeliver", part: "deliveries" }, body, faults.length > 0 ? 400 : 200);
  });

  web.post("/deliveries/redeliver", ...acting, async (c) => {
    const { query, faults } = readBulk(new URLSearchParams(await field(c, "filter")));
    if (faults.length > 0) {
      const body = bulkPage({ query, faults, count: 0, most: MAX_REDELIVERIES, session: c.get("session") });
      return show(c, { title: "Redeliver", part: "deliveries" }, body, 400);
    }
    const count = await redeliverAll(query, false);
    deps.nudge();
    log.info("deliveries.redelivered", { filter: query.values, count, session: c.get("session").id });
    return go(c, withFlash(toHref("/deliveries", query), { queued: String(count) }));
  });
}

/** The form must name its filter, so that a shortened address does not mean all deliveries. */
function readBulk(search: URLSearchParams): ReturnType<typeof readQuery<DeliveryFilterName>> {
  const { query, faults } = readQuery(search, DELIVERY_FILTERS);
  const states = query.values.state ?? [];
  if (states.length === 0) faults.push({ name: "state", message: "must be given" });
  if (states.some((state) => state === "pending" || state === "sending"))
    faults.push({
      name: "state",
      message: "must be delivered, dead or canceled, because pending and sending deliveries are sent anyway",
    });
  return { query: { ...query, after: null }, faults };
}
