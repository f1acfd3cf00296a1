/** The list of unrecognized bodies, and the bytes of any receipt. */
import { html } from "hono/html";
import { emptyCard, listTable } from "../list-parts.ts";
import type { Receipt } from "../../store/contract/receipts.ts";
import { badge, runPath, time, type Html, type Part } from "../markup.ts";
import { fact, pre } from "../output.ts";
import { count } from "../../platform/amounts.ts";
import { block, line } from "../text.ts";

const MAX_BODY = 200_000;
/** Of the list of unrecognized receipts. */
export const MAX_ROWS = 200;

export function unrecognizedPage(receipts: readonly Receipt[]): Part {
  return [
    html`<div class="head">
      <h1>Unrecognized</h1>
      <p class="soft">
        These webhooks have a valid signature, but the relay could not read a run from them. They are stored, and the
        relay reads them again when it is upgraded.
      </p>
    </div>`,
    receipts.length === 0
      ? emptyCard("Nothing here", "The relay recognized every webhook that it received.")
      : listTable(
          "unrecognized",
          "Unrecognized webhooks, newest first",
          [["Receipt"], ["Key"], ["Size"], ["Received", "right"]],
          receipts.map(row),
        ),
    receipts.length < MAX_ROWS
      ? ""
      : html`<p class="soft">
          These are the newest ${MAX_ROWS}. <code>GET /v1/receipts/unrecognized</code> has all of them.
        </p>`,
  ];
}

const row = (receipt: Receipt): Html =>
  html`<tr role="row">
    <td role="cell" class="a-title">
      <a class="title" href="/unrecognized/${encodeURIComponent(receipt.id)}"
        >${line(receipt.note ?? receipt.id, 160)}</a
      >
      <span class="sub"
        >${receipt.id}${receipt.channel === null ? "" : html` · ${line(receipt.channel, 64)}`}${
          receipt.copies > 1 ? ` · came ${receipt.copies} times` : ""
        }</span
      >
    </td>
    <td role="cell" class="a-type">${line(receipt.key_name ?? "–", 64)}</td>
    <td role="cell" class="a-took">${count(receipt.body_bytes)} bytes</td>
    <td role="cell" class="a-time right">${time(receipt.received_at, "short")}</td>
  </tr>`;

export interface ReceiptView {
  receipt: Receipt;
  /** The bytes as stored; null when they were pruned. */
  body: Uint8Array | null;
  /** The address of the download. */
  raw: string;
}

export function receiptPage({ receipt, body, raw }: ReceiptView): Part {
  const runId = receipt.run_id;
  const facts: [string, Part | null][] = [
    ["Receipt", html`<code>${receipt.id}</code>`],
    ["Received", time(receipt.received_at)],
    ["Says", receipt.reported_status === null ? null : line(receipt.reported_status, 60)],
    ["Note", receipt.note === null ? null : block(receipt.note, 600)],
    ["Signed with", receipt.key_name === null ? null : line(receipt.key_name, 64)],
    ["Channel", receipt.channel === null ? null : line(receipt.channel, 64)],
    ["Came", receipt.copies === 1 ? "once" : `${count(receipt.copies)} times`],
    ["Size", `${count(receipt.body_bytes)} bytes`],
    ["SHA-256", html`<code>${receipt.body_hash}</code>`],
  ];
  const back =
    runId === null
      ? html`<a href="/unrecognized">Unrecognized</a>`
      : html`<a href="/">Runs</a> / <a href="${runPath(runId)}">${line(runId, 80)}</a>`;
  return [
    html`<div class="head">
      <p class="crumb">${back} / ${receipt.id}</p>
      <p>${badge({ label: receipt.verdict, tone: "plain", icon: "in" })}</p>
      <h1>What was received</h1>
    </div>`,
    html`<section class="card" aria-label="Facts">
      <dl class="facts">${facts.flatMap(([label, value]) => (value === null ? [] : [fact(label, value)]))}</dl>
    </section>`,
    html`<section class="card" aria-labelledby="body">
      <h2 id="body">Body</h2>
      ${bodyHtml(body, raw)}
    </section>`,
  ];
}

function bodyHtml(body: Uint8Array | null, raw: string): Part {
  if (body === null) return html`<p class="soft">The bytes were pruned.</p>`;
  const text = new TextDecoder().decode(body);
  return [
    html`<p class="soft">Secrets were masked before it was stored.</p>`,
    html`<p class="row"><a class="button small" href="${raw}">Download the bytes</a></p>`,
    pre(block(text, MAX_BODY), "receipt-body"),
  ];
}
