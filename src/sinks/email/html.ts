import { html } from "hono/html";
import { omittedIn, type Fact, type Section } from "../readable-output.ts";
import type { IdPart, MessagePart } from "../content.ts";
import type { MailView } from "./view.ts";

type MailHtml = ReturnType<typeof html>;
type Part = MailHtml | string | Part[];

const FONT = "font-family:-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif";
const TONE = { good: "#1a7f37", bad: "#b42318", warn: "#734a00", plain: "#57606a" };
const CELL = "padding:2px 12px 2px 0;text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere";
const GRID =
  "padding:3px 8px;min-width:64px;text-align:left;vertical-align:top;border:1px solid " +
  "#8885;white-space:pre-wrap;overflow-wrap:anywhere";

/**
 * One column. The only image is the one in the mail, and nothing is fetched. It sets its own colours for light and
 * dark.
 */
export function renderHtml(view: MailView): string {
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width,initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="supported-color-schemes" content="light dark" />
        <meta name="format-detection" content="telephone=no, date=no, address=no, email=no, url=no" />
        <title>${view.title}</title>
        <style>
          :root {
            color-scheme: light dark;
          }
          @media (prefers-color-scheme: dark) {
            body,
            .page {
              background: #16181d !important;
              color: #e6e8eb !important;
            }
            .soft {
              color: #a3abb5 !important;
            }
            .note {
              background: #2b2f36 !important;
            }
            .good {
              color: #5bd17a !important;
            }
            .bad {
              color: #ff9389 !important;
            }
            .warn {
              color: #f1c877 !important;
            }
            .plain {
              color: #a3abb5 !important;
            }
            a {
              color: #7ab7ff !important;
            }
          }
          @media (max-width: 480px) {
            .page {
              padding: 12px !important;
            }
          }
        </style>
      </head>
      <body style="margin:0;background:#ffffff;color:#1f2328;${FONT};font-size:15px;line-height:1.45">
        <div class="page" style="max-width:640px;margin:0 auto;padding:24px">
          <p class="${view.tone}" style="margin:0;font-weight:600;color:${TONE[view.tone]}">${view.status}</p>
          <h1 style="margin:4px 0;font-size:20px;line-height:1.3;overflow-wrap:anywhere">${view.title}</h1>
          ${view.about === "" ? "" : html`<p class="soft" style="margin:0 0 12px;color:#57606a;overflow-wrap:anywhere">${view.about}</p>`}
          ${view.facts.map(factLine)} ${view.parts.map((part) => PARTS[part](view))}
          <p style="margin:16px 0 0">
            ${view.links.map(({ label, url }) => html`<a href="${url}" style="color:#0969da;margin-right:16px">${label}</a> `)}
          </p>
          ${view.ids.length === 0 ? "" : html`<p class="soft" style="margin:12px 0 0;font-size:12px;color:#57606a;overflow-wrap:anywhere">${view.ids.map(idHtml)}</p>`}
        </div>
      </body>
    </html>`;
  if (page instanceof Promise) throw new TypeError("a mail's page has nothing to wait for");
  return page.toString();
}

const PARTS: Record<MessagePart, (view: MailView) => Part> = {
  summary: ({ summary }) => (summary === null ? "" : [heading("Summary"), paragraph(summary)]),
  failure: ({ failure }) =>
    failure === null
      ? ""
      : [heading(failure.title), failure.reason === "" ? "" : paragraph(failure.reason), factTable(failure.facts)],
  picture: (view) => (view.picture === null ? "" : picture(view.picture)),
  answer: ({ answer }) => answer.map(titledHtml),
  blocks: ({ blocks, omitted }) => [blocks.map(titledHtml), omitted === null ? "" : paragraph(omitted)],
  attempts: ({ attempts }) => attempts.map(titledHtml),
  files: ({ files }) =>
    files.length === 0
      ? ""
      : [
          heading("Files"),
          html`<ul style="margin:0;padding-left:20px">
            ${files.map(fileHtml)}
          </ul>`,
        ],
  notes: ({ notes }) =>
    notes.length === 0
      ? ""
      : html`<p class="note" style="margin:12px 0 0;padding:8px 12px;background:#f3f4f6;border-radius:6px">
          ${notes.map((note, index) => [index === 0 ? "" : html`<br />`, note])}
        </p>`,
};

const titledHtml = (section: Section): Part => [heading(section.title ?? "Output"), sectionHtml(section)];

const idHtml = ({ text, run }: IdPart, index: number): Part => [
  index === 0 ? "" : " · ",
  text,
  run === null ? "" : html` <a href="${run.url}" style="color:inherit">${run.id}</a>`,
];

/**
 * The width is given twice, because Outlook reads only the attribute. The frame separates a white page from a white
 * mail.
 */
const picture = ({ cid, caption }: NonNullable<MailView["picture"]>): MailHtml =>
  html`<img
      src="cid:${cid}"
      alt="Screenshot of the page at the end of the run"
      width="592"
      style="display:block;width:100%;max-width:592px;height:auto;margin:14px 0 4px;border:1px solid #8885;border-radius:6px"
    />
    ${caption === "" ? "" : html`<p class="soft" style="margin:0 0 8px;font-size:12px;color:#57606a;overflow-wrap:anywhere">${caption}</p>`}`;

const heading = (text: string): MailHtml =>
  html`<h2 style="margin:14px 0 4px;font-size:15px;overflow-wrap:anywhere">${text}</h2>`;

const paragraph = (text: string): MailHtml =>
  html`<p style="margin:0 0 8px;white-space:pre-wrap;overflow-wrap:anywhere">${text}</p>`;

/** A goal needs the width of the screen. */
const factLine = ({ label, value }: Fact): MailHtml =>
  html`<p style="margin:0 0 4px;overflow-wrap:anywhere">
    <span class="soft" style="color:#57606a">${label}:</span> ${value}
  </p>`;

const factTable = (facts: Fact[]): MailHtml | string =>
  facts.length === 0
    ? ""
    : html`<table role="presentation" style="border-collapse:collapse">
        ${facts.map(
          ({ label, value }) =>
            html`<tr>
              <td class="soft" style="${CELL};min-width:118px;color:#57606a">${label}</td>
              <td style="${CELL}">${value}</td>
            </tr>`,
        )}
      </table>`;

/** The name is the page's words: were it the link's text, it could pose as another address. */
const fileHtml = ({ name, size, url }: MailView["files"][number]): MailHtml =>
  html`<li style="overflow-wrap:anywhere">
    ${name}${size === null ? "" : ` (${size})`}${url === null ? "" : html` <a href="${url}" style="color:#0969da">Open</a>`}
  </li>`;

function sectionHtml(section: Section): (MailHtml | string)[] {
  if (section.kind === "text") return [paragraph(section.text)];
  const omitted = omittedIn(section);
  const more = omitted === null ? "" : paragraph(omitted);
  if (section.kind === "fields") return [factTable(section.fields), more];
  const head = section.columns.map((column) => html`<th style="${GRID}">${column}</th>`);
  const rows = section.rows.map(
    (row) =>
      html`<tr>
        ${row.map((value) => html`<td style="${GRID}">${value}</td>`)}
      </tr>`,
  );
  return [
    html`<div style="overflow-x:auto">
      <table style="border-collapse:collapse;font-size:13px">
        <tr>
          ${head}
        </tr>
        ${rows}
      </table>
    </div>`,
    more,
  ];
}
