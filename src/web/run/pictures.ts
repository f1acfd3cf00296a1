/**
 * A run's pictures and recording. They come through the relay, so the page loads nothing from third parties. The
 * decisive picture is large, the others are small, and each says its block and its moment.
 */
import { html } from "hono/html";
import { decisiveScreenshots, originOf, recordingOf } from "../../domain/report.ts";
import type { ArtifactKey } from "../../domain/run.ts";
import type { StoredRun } from "../../store/contract/runs.ts";
import { runPath, time, type Html, type Part } from "../markup.ts";
import { count, plural } from "../../platform/amounts.ts";
import { line } from "../text.ts";
import { card } from "./card.ts";
import type { RunView } from "./view.ts";

/** The most pictures that are shown. */
export const MAX_SHOTS = 48;
/** Further pictures are folded. */
const OPEN_SHOTS = 8;

export const mediaPath = (runId: string, key: ArtifactKey): string =>
  `${runPath(runId)}/media/${encodeURIComponent(key)}`;

/** Null where the run has no picture. */
const decisiveOf = ({ stored }: RunView): ArtifactKey | null =>
  decisiveScreenshots(stored.state.run, stored)[0] ?? null;

/** The decisive picture: for a failed run, the moment of the failure. */
export function decisivePicture(view: RunView): Part {
  const key = decisiveOf(view);
  if (key === null) return "";
  const { stored, link } = view;
  return html`<figure class="decisive">
    <a href="${link(key)}" target="_blank" rel="noreferrer noopener"
      ><img
        src="${mediaPath(stored.state.run.run_id, key)}"
        alt="Screenshot at the end of the run"
        width="1280"
        height="720"
    /></a>
    <figcaption class="soft" dir="auto">${captionOf(stored, key)}</figcaption>
  </figure>`;
}

/** Which block made a picture, and when, as far as that is known. */
function captionOf(stored: StoredRun, key: ArtifactKey): Part {
  const { block, at } = originOf(stored, key);
  const name = line(block ?? "", 80);
  return [name, name !== "" && at !== null ? ", " : "", at === null ? "" : time(at)];
}

/** The payload's, then those of Skyvern's list. */
export function listPictures({ state: { run }, artifacts }: StoredRun): ArtifactKey[] {
  const listed = artifacts.filter(({ type }) => type.startsWith("screenshot_")).map(({ artifact_id }) => artifact_id);
  return [...new Set([...run.screenshots, ...listed])];
}

export function picturesCard(view: RunView): Part {
  const { stored, report } = view;
  const { run } = stored.state;
  const all = listPictures(stored);
  const decisive = decisiveOf(view);
  const rest = all.filter((key) => key !== decisive);
  if (rest.length === 0) return "";
  const attemptOf = new Map(report.artifacts.map(({ artifact_id, attempt }) => [artifact_id, attempt]));
  // The payload names only the last attempt's.
  const byAttempt = Map.groupBy(rest.slice(0, MAX_SHOTS), (key) => attemptOf.get(key) ?? run.attempt);
  const galleries = [...byAttempt]
    .toSorted(([a], [b]) => b - a)
    .map(([attempt, keys]) => [
      byAttempt.size === 1 ? "" : html`<h3>Attempt ${String(attempt)}</h3>`,
      gallery(view, keys.slice(0, OPEN_SHOTS)),
      keys.length <= OPEN_SHOTS
        ? ""
        : html`<details>
            <summary>${plural(keys.length - OPEN_SHOTS, "more screenshot")}</summary>
            ${gallery(view, keys.slice(OPEN_SHOTS))}
          </details>`,
    ]);
  const more = rest.length > MAX_SHOTS ? html`<p class="soft">${count(rest.length - MAX_SHOTS)} more below.</p>` : "";
  return card("screenshots", decisive === null ? "Screenshots" : "More screenshots", [...galleries, more]);
}

function gallery({ stored, link }: RunView, keys: readonly ArtifactKey[]): Html {
  const pictures = keys.map((key, index) => {
    const caption = captionOf(stored, key);
    return html`<li>
      <a href="${link(key)}" target="_blank" rel="noreferrer noopener"
        ><img
          src="${mediaPath(stored.state.run.run_id, key)}"
          alt="Screenshot ${index + 1}"
          loading="lazy"
          width="320"
          height="180"
      /></a>
      <span class="soft caption" dir="auto">${caption}</span>
    </li>`;
  });
  return html`<ul class="gallery">
    ${pictures}
  </ul>`;
}

export function recordingCard(view: RunView): Part {
  const { stored, report } = view;
  const { run } = stored.state;
  const recording = recordingOf(run, stored.artifacts);
  if (recording === null) return "";
  const key = decisiveOf(view);
  const poster = key === null ? "" : html`poster="${mediaPath(run.run_id, key)}"`;
  const address = mediaPath(run.run_id, recording);
  return card("recording", "Recording", [
    // Its first bytes say whether there is a recording to show: the page's script asks for them once it is seen.
    html`<video src="${address}" controls preload="none" width="640" height="360" ${poster}></video>`,
    html`<p class="soft" role="status" data-recording="unplayable" hidden>This browser cannot play the recording.</p>`,
    html`<p class="soft" role="status" data-recording="gone" hidden>
      The relay could not get the recording from Skyvern.
    </p>`,
    html`<p class="row" data-recording-actions>
      <a class="button small" href="${report.recording_url ?? ""}" target="_blank" rel="noreferrer noopener"
        >Open the recording</a
      >
      <a class="button small" href="${address}" download="recording">Download it</a>
    </p>`,
  ]);
}
