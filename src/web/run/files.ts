/** The downloads of a run, and its other artifacts, each by a link. */
import { html } from "hono/html";
import { recordingOf } from "../../domain/report.ts";
import type { Content } from "../../sinks/content.ts";
import { icon, time, type Part } from "../markup.ts";
import { count, line, many } from "../text.ts";
import { card } from "./card.ts";
import { listPictures, MAX_SHOTS } from "./pictures.ts";
import type { RunView } from "./view.ts";

const MAX_FILES = 200;

/** Pictures and film have cards of their own. */
export function filesCard({ report, stored, link }: RunView, content: Content): Part {
  const elsewhere = new Set([
    ...report.files.map(({ artifact_id }) => artifact_id),
    ...listPictures(stored).slice(0, MAX_SHOTS),
    recordingOf(stored.state.run, stored.artifacts),
  ]);
  const rest = report.artifacts.filter(({ artifact_id }) => !elsewhere.has(artifact_id));
  const own = content.files.slice(0, MAX_FILES).map(
    ({ name, size, url }, index) =>
      html`<li>
        ${icon("file")}<a href="${url}" target="_blank" rel="noreferrer noopener" dir="auto"
          >${line(name) || `File ${index + 1}`}</a
        >
        ${size === null ? "" : html`<span class="soft">${size}</span>`}
      </li>`,
  );
  const others = rest.slice(0, MAX_FILES).map(
    ({ artifact_id, type, created_at, attempt }) =>
      html`<li>
        ${icon("file")}<a href="${link(artifact_id)}" target="_blank" rel="noreferrer noopener"
          >${line(type.replaceAll("_", " "), 60)}</a
        >
        <span class="soft"
          >${created_at === null ? line(artifact_id, 60) : time(Date.parse(created_at))}${
            report.attempt === 1 ? "" : ` · attempt ${attempt}`
          }</span
        >
      </li>`,
  );
  if (own.length === 0 && others.length === 0) return "";
  return card("files", "Files", [
    own.length === 0
      ? html`<p class="soft">The run downloaded no file.</p>`
      : html`<ul class="files">
          ${own}
        </ul>`,
    others.length === 0
      ? ""
      : html`<details>
          <summary>${many(rest.length, "other artifact")}</summary>
          <ul class="files">
            ${others}
          </ul>
          ${rest.length > MAX_FILES ? html`<p class="soft">${count(rest.length - MAX_FILES)} more in the API.</p>` : ""}
        </details>`,
  ]);
}
