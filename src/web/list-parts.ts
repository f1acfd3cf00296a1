/** What the pages of lists share. */
import { html } from "hono/html";
import type { Page } from "../store/contract/runs.ts";
import { toHref, type Query, type QueryFault } from "./query.ts";
import { line } from "./text.ts";
import type { Html, Part } from "./markup.ts";

/** What a list shows, whatever it lists. */
export interface ListView<Name extends string> {
  query: Query<Name>;
  faults: readonly QueryFault[];
  /** Where the next page begins; null on the last page. */
  older: NonNullable<Page["after"]> | null;
  sinks: readonly { name: string }[];
  /** The id of the last change that the rows show. */
  event: string;
}

/** The title of a page, which says when the page follows along. */
export const liveHead = (title: string, isLive = true): Html =>
  html`<div class="head with-live">
    <h1>${title}</h1>
    ${isLive ? html`<p class="live" data-live-mark hidden>Live</p>` : ""}
  </div>`;

/** Where the script offers what came meanwhile. */
export const newItems = (what: "run" | "delivery"): Html =>
  html`<p class="new-items" role="status">
    <button class="button primary" type="button" data-new-items="${what}" hidden></button>
  </p>`;

export interface Chip {
  href: string;
  label: Part;
  tone?: string;
  isOn: boolean;
}

/** A filter that one click sets or takes off. */
export const chip = ({ href, label, tone = "", isOn }: Chip): Html =>
  html`<a class="chip ${tone}" href="${href}" ${isOn ? html`aria-current="true"` : ""}>${label}</a>`;

/** A time to filter by. */
export const instantField = (name: "since" | "until", label: string, value: string): Html =>
  html`<label
    >${label} (UTC)<input name="${name}" value="${value}" placeholder="2026-01-20T12:00" maxlength="40"
  /></label>`;

/** Links to the first page and the next one. `older`: where that begins. `more` stands beside them. */
export const pager = <Name extends string>(
  path: string,
  query: Query<Name>,
  older: ListView<Name>["older"],
  more: Part = "",
): Html =>
  html`<nav class="pager" aria-label="Pages">
    ${query.after === null ? "" : html`<a class="button" href="${toHref(path, { ...query, after: null })}">Newest</a>`}
    ${
      older === null
        ? ""
        : html`<a class="button" rel="next" href="${toHref(path, { ...query, after: older })}">Older</a>`
    }
    ${more}
  </nav>`;

export const faultList = (faults: readonly QueryFault[]): Html =>
  html`<section class="card bad-card" role="alert">
    <h2>The address is wrong</h2>
    <ul>
      ${faults.map(({ name, message }) => html`<li><code>${line(name, 60)}</code> ${message}.</li>`)}
    </ul>
  </section>`;

/** `columns`: the heading of each, with its class where it has one. */
export const listTable = (kind: string, caption: string, columns: readonly [Part, "right"?][], rows: Html[]): Html =>
  html`<table class="list ${kind}" role="table">
    <caption class="said">
      ${caption}
    </caption>
    <thead>
      <tr role="row">
        ${columns.map(([title, look]) => html`<th scope="col" ${look ? html`class="${look}"` : ""}>${title}</th>`)}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows}
    </tbody>
  </table>`;

/** Stands where a list would. */
export const emptyCard = (title: string, text: Part): Html =>
  html`<section class="card empty">
    <h2>${title}</h2>
    <p>${text}</p>
  </section>`;
