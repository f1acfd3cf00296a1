/** The list of runs. */
import { html } from "hono/html";
import { chip, faultList, instantField, listTable, liveHead, newItems, pager, type ListView } from "../list-parts.ts";
import { typeName } from "../../domain/block.ts";
import { DELIVERY_STATES, TERMINAL_STATUSES } from "../../domain/run.ts";
import { duration } from "../../sinks/content.ts";
import { plainReason } from "../../sinks/plain-reason.ts";
import type { RunListItem } from "../../store/contract/runs.ts";
import { runsChart, type RunsChart } from "../charts.ts";
import {
  follow,
  icon,
  rowId,
  runPath,
  STATES,
  statusBadge,
  statusLook,
  time,
  type Html,
  type Part,
} from "../markup.ts";
import { toHref, parseInstant, toggled, type Query, type RunFilterName } from "../query.ts";
import { line } from "../text.ts";
import { ticks } from "../delivery-badges.ts";

export interface RunsView extends ListView<RunFilterName> {
  rows: readonly RunListItem[];
  /** Null when the chart would not match the runs below. */
  chart: Pick<RunsChart, "window" | "runs"> | null;
  /** The webhook address, shown on the very first page. */
  webhookUrl: string;
}

export function runsPage(view: RunsView): Part {
  const { rows, query, faults, older, event } = view;
  const isFiltered = Object.values(query.values).some((list) => list.length > 0);
  if (rows.length === 0 && !isFiltered && query.after === null && faults.length === 0)
    return welcome(view.webhookUrl, event);
  // Older pages do not change when new runs arrive.
  const isLive = query.after === null && faults.length === 0;
  return [
    liveHead("Runs", isLive),
    findForm(view),
    newItems("run"),
    html`<div ${isLive ? follow({ id: "results", address: toHref("/", query), event }) : html`id="results"`}>
      ${statusBar(query)} ${chart(view)}
      ${faults.length > 0 ? faultList(faults) : rows.length === 0 ? nothingFits(query) : table(rows)}
      ${pager("/", query, older, rows.length === 0 ? "" : html`<a class="button" href="${toHref("/runs.csv", { ...query, after: null })}" download>Download CSV</a>`)}
    </div>`,
  ];
}

function chart({ chart: given, query }: RunsView): Part {
  if (given === null) return "";
  const [since, until] = [query.values.since?.[0], query.values.until?.[0]];
  const iso = (ms: number) => new Date(ms).toISOString().replace(/:00\.000Z$/, "Z");
  return runsChart({
    ...given,
    shown: {
      ...(since === undefined ? {} : { since: parseInstant(since) ?? 0 }),
      ...(until === undefined ? {} : { until: parseInstant(until) ?? 0 }),
    },
    href: (from, to) => toHref("/", { values: { ...query.values, since: [iso(from)], until: [iso(to)] }, after: null }),
  });
}

const nothingFits = (query: Query<RunFilterName>): Html =>
  html`<section class="card empty">
    <h2>No run fits</h2>
    <p>
      ${
        query.after === null
          ? query.values.q
            ? "No run was received that holds all of these words and fits these filters."
            : "No run was received that fits these filters."
          : "This was the last page."
      }
    </p>
    <p><a class="button" href="/">Show all runs</a></p>
  </section>`;

function statusBar(query: Query<RunFilterName>): Html {
  const chosen = query.values.status ?? [];
  const all = toHref("/", { values: { ...query.values, status: [] }, after: null });
  return html`<nav class="chips" aria-label="By status">
    ${chip({ href: all, label: "All", isOn: chosen.length === 0 })}
    ${[...new Set<string>([...TERMINAL_STATUSES, ...chosen])].map((status) => {
      const look = statusLook(status);
      const href = toHref("/", toggled(query, "status", status));
      return chip({ href, label: [icon(look.icon), look.label], tone: look.tone, isOn: chosen.includes(status) });
    })}
  </nav>`;
}

/** One form holds both: a search keeps the filters, and filters keep the search. */
function findForm({ query, sinks }: RunsView): Html {
  const { values } = query;
  const isOpen = Object.entries(values).some(([name, list]) => name !== "status" && name !== "q" && list.length > 0);
  const value = (name: RunFilterName) => values[name]?.[0] ?? "";
  const kept = Object.entries(values).flatMap(([name, list]) =>
    (name === "status" ? list : list.slice(1)).map(
      (one) => html`<input type="hidden" name="${name}" value="${one}" />`,
    ),
  );
  const text = (name: RunFilterName, label: string, hint: string) =>
    html`<label>${label}<input name="${name}" value="${value(name)}" placeholder="${hint}" maxlength="500" /></label>`;
  const sinkNames = [...new Set([...sinks.map(({ name }) => name), ...(values.sink ?? []).slice(0, 1)])];
  return html`<form
    class="find"
    role="search"
    method="get"
    action="/"
    data-sparse
    hx-get="/"
    hx-trigger="submit, input changed delay:400ms from:#q"
    hx-target="#results"
    hx-select="#results"
    hx-swap="outerHTML"
    hx-replace-url="true"
  >
    ${kept}
    <div class="search-row">
      <label class="said" for="q">Search</label>
      <input
        id="q"
        name="q"
        type="search"
        value="${value("q")}"
        placeholder="Search runs"
        maxlength="500"
        autocomplete="off"
        spellcheck="false"
        aria-describedby="search-hint"
      />
      <button class="button primary">Search</button>
    </div>
    <p class="soft hint" id="search-hint">
      In ids, titles, prompts, errors and outputs: every word must be there. <code>"a phrase"</code> ·
      <code>invo*</code> for any ending
    </p>
    <details class="filters" ${isOpen ? html`open` : ""}>
      <summary>Filters</summary>
      <div class="fields">
        ${text("workflow", "Workflow", "wpid_… or title")} ${text("run_type", "Type", "task_v2")}
        ${text("channel", "Channel", "word after /webhook/")}
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
        ${instantField("since", "Received since", value("since"))}
        ${instantField("until", "Received before", value("until"))}
      </div>
      <p class="row"><button class="button primary">Filter</button> <a class="button" href="/">Clear</a></p>
    </details>
  </form>`;
}

const select = (name: string, options: [value: string, label: string][], chosen: string): Html =>
  html`<select name="${name}">
    <option value="">any</option>
    ${options.map(
      ([value, label]) =>
        html`<option value="${value}" ${value === chosen ? html`selected` : ""}>${line(label, 60)}</option>`,
    )}
  </select>`;

const table = (rows: readonly RunListItem[]): Html =>
  listTable(
    "runs",
    "Runs, newest first",
    [["Status"], ["Run"], ["Type"], ["Duration", "right"], ["Delivered to"], ["Received", "right"]],
    rows.map(row),
  );

function row(run: RunListItem): Html {
  const { run_id: runId, status, reason, duration_ms: took, received_at } = run;
  const why = line(plainReason(reason) ?? "", 140);
  return html`<tr role="row" id="${rowId(runId)}">
    <td role="cell" class="a-status">${statusBadge(status)}</td>
    <td role="cell" class="a-title">
      <a class="title" dir="auto" href="${runPath(runId)}"
        >${line(run.title ?? "", 140) || line(run.site ?? "", 140) || line(typeName(run.run_type), 40)}</a
      >
      <span class="sub aside">${aside(run)}</span>
      ${why === "" ? "" : html`<span class="sub why" dir="auto">${why}</span>`}
    </td>
    <td role="cell" class="a-type">${line(run.run_type, 40)}</td>
    <td role="cell" class="a-took right">${took === null ? "–" : duration(took)}</td>
    <td role="cell" class="a-deliveries">${ticks(run.deliveries)}</td>
    <td role="cell" class="a-time right">${time(received_at, "short")}</td>
  </tr>`;
}

/** Shown under the title: what the title does not say. */
function aside({ run_id, title, site, workflow, channel }: RunListItem): Part[] {
  const only = (name: RunFilterName, value: string, text: string) =>
    html`<a href="${toHref("/", { values: { [name]: [value.toWellFormed()] }, after: null })}">${text}</a>`;
  const said: (Part | null)[] = [
    line(run_id, 60),
    site === null || line(title ?? "", 140) === "" ? null : line(site, 60),
    workflow === null ? null : only("workflow", workflow, line(workflow, 40)),
    channel === null ? null : only("channel", channel, `#${line(channel, 64)}`),
  ];
  return said.flatMap((part) => (part === null ? [] : [html`<span>${part}</span>`]));
}

/** Shown before the first receipt: the address to paste, and a command that proves it works. */
function welcome(webhookUrl: string, event: string): Html {
  return html`<section class="card welcome" data-live="/live?after=${event}" data-live-reload>
    <h1>No run yet</h1>
    <p>
      The relay is up and waits for its first webhook.
      <span class="live" data-live-mark hidden>This page follows.</span>
    </p>
    <h2>1. Give Skyvern this address</h2>
    <p>As <code>webhook_url</code> of a run, or as the webhook of a workflow:</p>
    ${copyRow("webhook-url", webhookUrl)}
    <p class="soft">
      To tell runs apart, add a label: <code>${webhookUrl}/invoices</code>. The run must be started with an API key that
      the relay has in <code>SKYVERN_API_KEY</code>: Skyvern signs with it.
    </p>
    <h2>2. Or send a signed sample now</h2>
    <p>Where the relay is installed, with <code>SKYVERN_API_KEY</code> set:</p>
    ${copyRow("send-test", `skyvern-relay send-test --url ${quoted(webhookUrl)}`)}
    <details>
      <summary>Anywhere else, with a shell and curl</summary>
      ${copyRow("sample", sampleCommand(webhookUrl))}
    </details>
    <p class="soft">It goes to your sinks like any other run. Then <a href="/">look again</a>.</p>
  </section>`;
}

const copyRow = (id: string, text: string): Html =>
  html`<div class="copy-row">
    <pre id="${id}" tabindex="0">${text}</pre>
    <button class="button small" type="button" data-copy="${id}" hidden>Copy</button>
  </div>`;

/** Quoted for a shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

/** Signs like Skyvern: HMAC-SHA256 of the body, in hex. Every call makes another run. */
export function sampleCommand(webhookUrl: string): string {
  return [
    `body='{"run_id":"tsk_sample_'$(date +%s)'","run_type":"task_v1","status":"completed","output":{"hello":"relay"}}'`,
    `sig=$(printf %s "$body" | openssl dgst -sha256 -hmac "$SKYVERN_API_KEY" -r | cut -d ' ' -f 1)`,
    `curl -sS ${quoted(webhookUrl)} -H 'content-type: application/json' -H "x-skyvern-signature: $sig" -d "$body"`,
  ].join("\n");
}
