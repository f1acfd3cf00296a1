/** `/`: the list of runs; `/runs.csv`: all of them for a spreadsheet. */
import { runFile } from "../../http/api/exports.ts";
import { resolveWindow } from "../charts.ts";
import { HEADERS } from "../layout.ts";
import { go, PAGE_SIZE, pageAfter, type PageContext } from "../page-context.ts";
import { readQuery, RUN_FILTERS, runFilter } from "../query.ts";
import { runsPage } from "./page.ts";
import { faultList } from "../list-parts.ts";

/** The chart counts runs by status and time. With any other filter it would show other runs than the list. */
const CHARTED = new Set(["status", "since", "until"]);

export function mountRuns({ web, deps, reading, show }: PageContext): void {
  const { store, sinks, runtime } = deps;

  web.get("/", ...reading, async (c) => {
    const { query, faults } = readQuery(new URL(c.req.url).searchParams, RUN_FILTERS);
    const filter = runFilter(query);
    const slow = filter.search ? await store.searchFault(filter.search) : null;
    if (slow !== null) faults.push({ name: "q", message: slow });
    // Read before the rows: a change in between is then reported once too often rather than never.
    const event = store.lastChange();
    const found = faults.length > 0 ? [] : await store.listItems(filter, pageAfter(query.after));
    const rows = found.slice(0, PAGE_SIZE);
    const last = rows.at(-1);
    const older = found.length > PAGE_SIZE && last ? { at: last.received_at, id: last.run_id } : null;
    const isCharted =
      faults.length === 0 &&
      query.after === null &&
      Object.entries(query.values).every(([name, list]) => CHARTED.has(name) || list.length === 0);
    const window = resolveWindow(filter, runtime.now());
    const runs = isCharted ? await store.runCounts("hour", window.since, window.until) : [];
    const chosen = query.values.status ?? [];
    const chart = isCharted
      ? { window, runs: chosen.length === 0 ? runs : runs.filter(({ status }) => chosen.includes(status)) }
      : null;
    const view = { rows, query, faults, older, sinks, chart, event, webhookUrl: deps.webhookUrl() };
    return show(c, { title: "Runs", part: "runs" }, runsPage(view), faults.length > 0 ? 400 : 200);
  });

  web.get("/runs.csv", ...reading, async (c) => {
    const { query, faults } = readQuery(new URL(c.req.url).searchParams, RUN_FILTERS);
    const filter = runFilter(query);
    const slow = filter.search ? await store.searchFault(filter.search) : null;
    if (slow !== null) faults.push({ name: "q", message: slow });
    if (faults.length > 0) return show(c, { title: "Runs", part: "runs" }, faultList(faults), 400);
    const { body, headers } = runFile(deps, { filter, format: "csv", bom: true, signal: c.req.raw.signal });
    return c.body(body, 200, { ...HEADERS, ...headers });
  });

  web.get("/runs", ...reading, (c) => go(c, `/${new URL(c.req.url).search}`));
}
