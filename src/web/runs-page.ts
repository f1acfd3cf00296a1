/** The list of runs. */
import { html } from "hono/html";
import { DELIVERY_STATES, TERMINAL_STATUSES, type Delivery, type Run } from "../run.ts";
import { duration } from "../sinks/content.ts";
import type { Page } from "../store/store.ts";
import { icon, runPath, STATES, statusBadge, statusLook, time, type Html, type Part } from "./markup.ts";
import { hrefOf, toggled, type Fault, type Query, type RunFilterName } from "./query.ts";
import { line } from "./text.ts";
import { ticks } from "./told.ts";

export interface RunRow {
  run: Run;
  /** Newest first. */
  deliveries: readonly Delivery[];
}

export interface RunsView {
  rows: readonly RunRow[];
  query: Query<RunFilterName>;
  faults: readonly Fault[];
  /** Where the next page begins, null on the last one. */
  older: NonNullable<Page["after"]> | null;
  sinks: readonly { name: string }[];
  /** For the very first page. */
  publicUrl: string;
}

export function runsPage(view: RunsView): Part {
  const { rows, query, faults, older } = view;
  const isFiltered = Object.values(query.values).some((list) => list.length > 0);
  if (rows.length === 0 && !isFiltered && query.after === null && faults.length === 0) return welcome(view.publicUrl);
  return [
    html`<div class="head"><h1>Runs</h1></div>`,
    statusBar(query),
    filterForm(view),
    faults.length > 0 ? faultList(faults) : rows.length === 0 ? nothingFits(query) : table(rows),
    html`<nav class="pager" aria-label="Pages">
      ${query.after === null ? "" : html`<a class="button" href="${hrefOf("/", { ...query, after: null })}">Newest</a>`}
      ${older === null ? "" : html`<a class="button" rel="next" href="${hrefOf("/", { ...query, after: older })}">Older</a>`}
    </nav>`,
  ];
}

export const faultList = (faults: readonly Fault[]): Html =>
  html`<section class="card bad-card" role="alert">
    <h2>The address is wrong</h2>
    <ul>
      ${faults.map(({ name, message }) => html`<li><code>${line(name, 60)}</code> ${message}.</li>`)}
    </ul>
  </section>`;

const nothingFits = (query: Query<RunFilterName>): Html =>
  html`<section class="card empty">
    <h2>No run fits</h2>
    <p>${query.after === null ? "No run was received that fits these filters." : "This was the last page."}</p>
    <p><a class="button" href="/">Show all runs</a></p>
  </section>`;

function statusBar(query: Query<RunFilterName>): Html {
  const chosen = query.values.status ?? [];
  const all = hrefOf("/", { values: { ...query.values, status: [] }, after: null });
  return html`<nav class="chips" aria-label="By status">
    <a class="chip" href="${all}" ${chosen.length === 0 ? html`aria-current="true"` : ""}>All</a>
    ${[...new Set<string>([...TERMINAL_STATUSES, ...chosen])].map((status) => {
      const look = statusLook(status);
      return html`<a
        class="chip ${look.tone}"
        href="${hrefOf("/", toggled(query, "status", status))}"
        ${chosen.includes(status) ? html`aria-current="true"` : ""}
        >${icon(look.icon)}${look.label}</a
      >`;
    })}
  </nav>`;
}

function filterForm({ query, sinks }: RunsView): Html {
  const { values } = query;
  const isOpen = Object.entries(values).some(([name, list]) => name !== "status" && list.length > 0);
  const value = (name: RunFilterName) => values[name]?.[0] ?? "";
  const kept = Object.entries(values).flatMap(([name, list]) =>
    (name === "status" ? list : list.slice(1)).map(
      (one) => html`<input type="hidden" name="${name}" value="${one}" />`,
    ),
  );
  const text = (name: RunFilterName, label: string, hint: string) =>
    html`<label>${label}<input name="${name}" value="${value(name)}" placeholder="${hint}" maxlength="500" /></label>`;
  const instant = (name: RunFilterName, label: string) =>
    html`<label
      >${label} (UTC)<input
        name="${name}"
        value="${value(name)}"
        placeholder="2026-01-20T12:00"
        maxlength="40"
        inputmode="numeric"
    /></label>`;
  const sinkNames = [...new Set([...sinks.map(({ name }) => name), ...(values.sink ?? []).slice(0, 1)])];
  return html`<details class="card filters" ${isOpen ? html`open` : ""}>
    <summary>Filters</summary>
    <form method="get" action="/" data-sparse>
      ${kept}
      <div class="fields">
        ${text("workflow", "Workflow", "wpid_… or title")} ${text("run_type", "Type", "task_v2")}
        ${text("channel", "Channel", "label in the URL")}
        <label
          >Sink${select(
            "sink",
            sinkNames.map((name) => [name, name]),
            value("sink"),
          )}</label
        >
        <label
          >Delivery${select(
            "delivery",
            DELIVERY_STATES.map((state) => [state, STATES[state].label]),
            value("delivery"),
          )}</label
        >
        ${instant("since", "Received since")} ${instant("until", "Received before")}
      </div>
      <p class="row">
        <button class="button primary">Filter</button>${isOpen ? html`<a class="button" href="/">Clear</a>` : ""}
      </p>
    </form>
  </details>`;
}

export const select = (name: string, options: [value: string, label: string][], chosen: string): Html =>
  html`<select name="${name}">
    <option value="">any</option>
    ${options.map(([value, label]) => html`<option value="${value}" ${value === chosen ? html`selected` : ""}>${line(label, 60)}</option>`)}
  </select>`;

const table = (rows: readonly RunRow[]): Html =>
  html`<table class="list runs" role="table">
    <caption class="said">
      Runs, newest first
    </caption>
    <thead>
      <tr role="row">
        <th scope="col">Status</th>
        <th scope="col">Run</th>
        <th scope="col">Type</th>
        <th scope="col" class="right">Duration</th>
        <th scope="col">Told</th>
        <th scope="col" class="right">Received</th>
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(row)}
    </tbody>
  </table>`;

function row({ run, deliveries }: RunRow): Html {
  const took =
    run.started_at !== null && run.finished_at !== null ? Math.max(0, run.finished_at - run.started_at) : null;
  const reason = line(run.failure?.reason ?? "", 140);
  return html`<tr role="row">
    <td role="cell" class="a-status">${statusBadge(run.status)}</td>
    <td role="cell" class="a-title">
      <a class="title" dir="auto" href="${runPath(run.run_id)}">${titleOf(run)}</a>
      <span class="sub">${aside(run)}</span>
      ${reason === "" ? "" : html`<span class="sub why" dir="auto">${reason}</span>`}
    </td>
    <td role="cell" class="a-type">${line(run.run_type, 40)}</td>
    <td role="cell" class="a-took right">${took === null ? "–" : duration(took)}</td>
    <td role="cell" class="a-told">${ticks(deliveries)}</td>
    <td role="cell" class="a-time right">${time(run.received_at, "short")}</td>
  </tr>`;
}

/** Under the title: what it does not say itself. */
function aside(run: Run): string {
  const site = run.url === null || !URL.canParse(run.url) ? "" : new URL(run.url).hostname;
  const isNamed = titleOf(run) !== line(run.run_id, 140);
  const said = [isNamed ? line(run.run_id, 60) : "", line(site, 60), line(run.channel ?? "", 64)];
  return said.filter((text) => text !== "").join(" · ");
}

export const titleOf = (run: Pick<Run, "title" | "prompt" | "run_id">): string =>
  line(run.title ?? "", 140) || line(run.prompt ?? "", 140) || line(run.run_id, 140);

/** Nothing was ever received: the address to paste, and a command that shows that it works. */
function welcome(publicUrl: string): Html {
  return html`<section class="card welcome">
    <h1>No run yet</h1>
    <p>The relay is up and waits for its first webhook.</p>
    <h2>1. Give Skyvern this address</h2>
    <p>As <code>webhook_url</code> of a run, or as the webhook of a workflow:</p>
    <div class="copy-row">
      <pre id="webhook-url" tabindex="0">${publicUrl}/webhook</pre>
      <button class="button small" type="button" data-copy="webhook-url" hidden>Copy</button>
    </div>
    <p class="soft">
      To tell runs apart, add a label: <code>${publicUrl}/webhook/invoices</code>. The run must be started with the API
      key that the relay has in <code>SKYVERN_API_KEY</code>: Skyvern signs with it.
    </p>
    <h2>2. Or send a signed sample now</h2>
    <p>In a shell where <code>SKYVERN_API_KEY</code> is set:</p>
    <div class="copy-row">
      <pre id="sample" tabindex="0">${sampleCommand(publicUrl)}</pre>
      <button class="button small" type="button" data-copy="sample" hidden>Copy</button>
    </div>
    <p class="soft">It goes to your sinks like any other run. Then <a href="/">look again</a>.</p>
  </section>`;
}

/** Signs as Skyvern does: HMAC-SHA256 of the body, hex. Every call makes another run. */
export function sampleCommand(publicUrl: string): string {
  const address = `'${`${publicUrl}/webhook`.replaceAll("'", "'\\''")}'`;
  return [
    `body='{"run_id":"tsk_sample_'$(date +%s)'","run_type":"task_v1","status":"completed","output":{"hello":"relay"}}'`,
    `sig=$(printf %s "$body" | openssl dgst -sha256 -hmac "$SKYVERN_API_KEY" -r | cut -d ' ' -f 1)`,
    `curl -sS ${address} -H 'content-type: application/json' -H "x-skyvern-signature: $sig" -d "$body"`,
  ].join("\n");
}
