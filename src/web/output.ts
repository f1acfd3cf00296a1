/** Shows a run's output: in readable parts first, then everything as a tree and as JSON. */
import { html } from "hono/html";
import type { DeliveryReceipt } from "../domain/run.ts";
import { proofLines } from "../history/story.ts";
import { isJsonObject, isRawNumber, numberText, type Json } from "../platform/json.ts";
import { omittedIn, type Section } from "../sinks/readable-output.ts";
import type { Html, Part } from "./markup.ts";
import { count, plural } from "../platform/amounts.ts";
import { block, line } from "./text.ts";

const MAX_TEXT = 20_000;
const MAX_CELL = 500;
const MAX_JSON = 200_000;
const MAX_NODES = 1_500;
const MAX_DEPTH = 24;

export function sectionHtml(section: Section): Html {
  const title = section.title === null ? "" : html`<h3 dir="auto">${line(section.title)}</h3>`;
  return html`<div class="section">${title}${sectionBody(section)}</div>`;
}

function sectionBody(section: Section): Part {
  if (section.kind === "text") return longText(section.text);
  const omitted = omittedIn(section);
  const more = omitted === null ? "" : html`<p class="soft">${omitted} in the tree below.</p>`;
  if (section.kind === "fields") {
    return [
      html`<dl class="facts">
        ${section.fields.map(({ label, value }) => fact(line(label), block(value, MAX_CELL)))}
      </dl>`,
      more,
    ];
  }
  const columns = section.columns.map((column) => html`<th scope="col">${line(column, 60)}</th>`);
  return [
    html`<div class="scroll" tabindex="0" role="group" aria-label="Table, scrolls sideways">
      <table class="grid">
        <thead>
          <tr>
            ${columns}
          </tr>
        </thead>
        <tbody>
          ${section.rows.map(
            (row) =>
              html`<tr>
                ${row.map((value) => html`<td dir="auto">${block(value, MAX_CELL)}</td>`)}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>`,
    more,
  ];
}

/** More than a screenful scrolls in a frame, which the keyboard can reach too. */
export const longText = (text: string): Html =>
  html`<p class="text" dir="auto" ${text.length > 600 ? html`tabindex="0"` : ""}>${block(text, MAX_TEXT)}</p>`;

export const fact = (label: string, value: Part): Html =>
  html`<dt>${label}</dt>
    <dd dir="auto">${value}</dd>`;

/** Shows what a sink answered. */
export const proofHtml = (receipt: DeliveryReceipt | null): Part => {
  const lines = proofLines(receipt).filter((text) => !text.startsWith("permalink"));
  return lines.length === 0
    ? ""
    : html`<p class="proof">${lines.slice(0, 8).map((text) => html`<span>${line(text)}</span> `)}</p>`;
};

/** A value that unfolds part by part; beyond {@link MAX_NODES} it says how much is left out. */
export function treeHtml(value: Json): Html {
  const budget = { left: MAX_NODES };
  return html`<div class="tree">${node(null, value, 0, budget)}</div>`;
}

interface Budget {
  left: number;
}

function node(key: string | null, value: Json, depth: number, budget: Budget): Html {
  budget.left--;
  const name = key === null ? "" : html`<span class="key" dir="auto">${line(key, 100)}</span> `;
  const children = listChildren(value);
  if (children === null || children.length === 0) return html`<div class="leaf">${name}${leaf(value)}</div>`;
  const size = plural(children.length, Array.isArray(value) ? "item" : "field");
  if (depth >= MAX_DEPTH)
    return html`<div class="leaf">${name}<span class="soft">${size}, nested too deep to show</span></div>`;
  const shown: Html[] = [];
  for (const [label, child] of children) {
    if (budget.left <= 0) break;
    shown.push(node(label, child, depth + 1, budget));
  }
  const left = children.length - shown.length;
  return html`<details ${depth < 2 ? html`open` : ""}>
    <summary>${name}<span class="soft">${size}</span></summary>
    <div class="branch">
      ${shown}${left > 0 ? html`<div class="soft">… ${count(left)} more, see the JSON</div>` : ""}
    </div>
  </details>`;
}

function listChildren(value: Json): [string, Json][] | null {
  if (Array.isArray(value)) return value.map((item, index) => [String(index), item]);
  return isJsonObject(value) ? Object.entries(value) : null;
}

function leaf(value: Json): Html {
  if (typeof value === "string") return html`<span class="string" dir="auto">${block(value, 1_000)}</span>`;
  if (typeof value === "number" || isRawNumber(value)) return html`<span class="number">${numberText(value)}</span>`;
  if (Array.isArray(value)) return html`<span class="soft">empty list</span>`;
  return html`<span class="soft">${isJsonObject(value) ? "empty object" : String(value)}</span>`;
}

/** JSON for reading, with numbers digit for digit. */
export function jsonHtml(text: string, id: string): Html {
  const isCut = text.length > MAX_JSON;
  const mark = isCut
    ? html`<p class="soft">Cut: ${count(text.length - MAX_JSON)} more characters in the file.</p>`
    : "";
  return html`${pre(isCut ? text.slice(0, MAX_JSON).toWellFormed() : text, id)}${mark}`;
}

/** Cut JSON is of no use, so where the shown text is cut, the button copies the whole file. */
export const jsonActions = (text: string, id: string, download: string): Html =>
  html`<span class="row"
    ><button
      class="button small"
      type="button"
      ${text.length > MAX_JSON ? html`data-copy-file="${download}"` : html`data-copy="${id}"`}
      hidden
    >
      Copy JSON</button
    ><a class="button small" href="${download}">Download</a></span
  >`;

export const pre = (text: string, id: string): Html => html`<pre id="${id}" tabindex="0">${text}</pre>`;
