/** The downloads of a run, which belong to what came of it, and its other artifacts, each by a link. */
import { html } from "hono/html";
import { recordingOf } from "../../domain/report.ts";
import type { Content } from "../../sinks/content.ts";
import { icon, time, type Html, type Part } from "../markup.ts";
import { count, plural } from "../../platform/amounts.ts";
import { line } from "../text.ts";
import { listPictures, MAX_SHOTS } from "./pictures.ts";
import type { RunView } from "./view.ts";

const MAX_FILES = 200;
const NO_BREAK = "\u00a0";

/** Empty where the run downloaded none. */
export function filesSection({ files }: Content): Part {
  if (files.length === 0) return "";
  const shown = files
    .slice(0, MAX_FILES)
    .map(({ name, size, url }, index) =>
      fileHtml(url, line(name) || `File ${index + 1}`, size?.replace(" ", NO_BREAK) ?? null),
    );
  return html`<div class="section">
    <h3>${files.length === 1 ? "File" : "Files"}</h3>
    ${list(shown, files.length)}
  </div>`;
}

/** Pictures, the recording and downloads have places of their own. */
export function artifactsCard({ report, stored, link }: RunView): Part {
  const elsewhere = new Set([
    ...report.files.map(({ artifact_id }) => artifact_id),
    ...listPictures(stored).slice(0, MAX_SHOTS),
    recordingOf(stored.state.run, stored.artifacts),
  ]);
  const others = report.artifacts.filter(({ artifact_id }) => !elsewhere.has(artifact_id));
  if (others.length === 0) return "";
  const shown = others
    .slice(0, MAX_FILES)
    .map(({ artifact_id, type, created_at, attempt }) =>
      fileHtml(link(artifact_id), line(type.replaceAll("_", " "), 60), [
        created_at === null ? line(artifact_id, 60) : time(Date.parse(created_at)),
        report.attempt === 1 ? "" : ` · attempt ${attempt}`,
      ]),
    );
  return html`<details class="card fold">
    <summary>${plural(others.length, "other artifact")}</summary>
    ${list(shown, others.length)}
  </details>`;
}

const fileHtml = (url: string, name: string, about: Part): Html =>
  html`<li>
    ${icon("file")}
    <span
      ><a href="${url}" target="_blank" rel="noreferrer noopener" dir="auto">${name}</a>
      <span class="soft">${about ?? ""}</span></span
    >
  </li>`;

const list = (shown: Html[], all: number): Part => [
  html`<ul class="files">
    ${shown}
  </ul>`,
  all > shown.length ? html`<p class="soft">${count(all - shown.length)} more in the API.</p>` : "",
];
