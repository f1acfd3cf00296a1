/** The artifacts of runs: their rows, and the URLs that are signed for them. */
import { createHmac } from "node:crypto";
import { isJsonObject, type Json, type JsonObject } from "../../platform/json.ts";
import {
  type StandInAnswer,
  DEFAULT_ORGANIZATION,
  TINY_PNG,
  TINY_WEBM,
  type StandInArtifact,
  type StandInRun,
} from "./model.ts";
import { type SkyvernState, firstOrganization, idOf, asText, workflowRunIdOf } from "./state.ts";
import { json, detail, invalid } from "./answer.ts";

const HOUR = 3_600_000;

const SIGNED_URL_LIFE_MS = 5 * 60_000;

/**
 * Rows match the task's id for `tsk_…`, which no v2 task and no download has, and the workflow run's id for `wr_…`. An
 * unknown id gives an empty list.
 */
export function listArtifacts(
  state: SkyvernState,
  runs: StandInRun[],
  id: string,
  query: URLSearchParams,
): StandInAnswer {
  const types = query.getAll("artifact_type");
  const bad = types.findIndex((type) => !state.artifactTypes.includes(type));
  if (bad !== -1) {
    return invalid("artifact_type", "enum", `Input should be ${state.artifactTypes.join(", ")}`, types[bad], bad);
  }
  const run = runs.find((run) => (id.startsWith("wr_") ? workflowRunIdOf(run) === id : idOf(run) === id));
  if (!run || /^(tsk_v2_|oc_)/.test(id)) return json(200, []);
  const rows = collectArtifacts(run)
    .filter(({ artifact_type }) => id.startsWith("wr_") || artifact_type !== "download")
    .filter(({ artifact_type }) => types.length === 0 || types.includes(artifact_type))
    .map((artifact) => artifactRow(state, run, artifact))
    .sort((a, b) => a.created_at.localeCompare(b.created_at));
  return json(200, rows);
}

/** The artifacts in the payload's URLs, screenshots oldest first, then those listed separately, which win. */
function collectArtifacts(run: StandInRun): StandInArtifact[] {
  const { payload, artifacts = [] } = run;
  const found = new Map<string, StandInArtifact>();
  const add = (url: Json | undefined, artifact_type: string, filename?: string) => {
    const artifact_id = ARTIFACT_URL.exec(asText(url) ?? "")?.[1];
    if (artifact_id !== undefined)
      found.set(artifact_id, { artifact_id, artifact_type, ...(filename ? { filename } : {}) });
  };
  add(payload["recording_url"], "recording");
  for (const url of asList(payload["screenshot_urls"]).toReversed()) add(url, "screenshot_action");
  add(payload["screenshot_url"], "screenshot_final");
  for (const file of asList(payload["downloaded_files"])) {
    if (isJsonObject(file)) add(file["url"], "download", asText(file["filename"]) ?? "download");
  }
  for (const artifact of artifacts) found.set(artifact.artifact_id, artifact);
  return [...found.values()];
}

const ARTIFACT_URL = /^https?:\/\/[^/]+\/v1\/artifacts\/([^/?]+)\/content/;

const asList = (value: Json | undefined): Json[] => (Array.isArray(value) ? value : []);

function artifactRow(state: SkyvernState, run: StandInRun, artifact: StandInArtifact) {
  const runId = idOf(run);
  const created = artifact.created_at ?? asText(run.payload["finished_at"]) ?? "2026-08-21T06:00:00";
  const isTask = runId.startsWith("tsk_") && !runId.startsWith("tsk_v2_");
  return {
    created_at: created,
    modified_at: created,
    artifact_id: artifact.artifact_id,
    artifact_type: artifact.artifact_type,
    uri:
      artifact.uri ??
      (state.storage === "local" ? fileUrl(run, artifact) : `s3://skyvern-artifacts/${artifact.artifact_id}`),
    bundle_key: null,
    checksum: null,
    file_size: bytesOf(artifact).byteLength,
    task_id: isTask && artifact.artifact_type !== "download" ? runId : null,
    step_id: null,
    workflow_run_id: workflowRunIdOf(run),
    workflow_run_block_id: null,
    run_id: runId,
    browser_session_id: null,
    observer_cruise_id: null,
    observer_thought_id: null,
    ai_suggestion_id: null,
    ...artifact.row,
    signed_url: artifactUrl(state, run, artifact),
    archived: artifact.archived ?? false,
    organization_id: run.organization ?? firstOrganization(state),
  };
}

export function findArtifact(runs: Iterable<StandInRun>, id: string) {
  for (const run of runs) {
    const artifact = collectArtifacts(run).find(({ artifact_id }) => artifact_id === id);
    if (artifact) return { run, artifact };
  }
  return null;
}

export function getArtifact(state: SkyvernState, runs: StandInRun[], id: string): StandInAnswer {
  const found = findArtifact(runs, id);
  return found ? json(200, artifactRow(state, found.run, found.artifact)) : detail(404, `Artifact not found ${id}`);
}

export function signedUrl(state: SkyvernState, runs: StandInRun[], id: string): StandInAnswer {
  if (state.signedUrls === "missing") return detail(404, "Not Found");
  if (state.signedUrls === "unconfigured") return detail(503, "Artifact URL signing is not configured");
  if (!findArtifact(runs, id)) return detail(404, `Artifact not found ${id}`);
  const expiry = Math.floor((state.now() + SIGNED_URL_LIFE_MS) / 1000);
  return json(200, { artifact_id: id, signed_url: contentUrl(state, id, expiry), expires_at: expiry });
}

export function bytesOf({ artifact_type, bytes }: StandInArtifact): Uint8Array {
  if (bytes) return bytes;
  if (artifact_type.startsWith("screenshot")) return TINY_PNG;
  return artifact_type === "recording" ? TINY_WEBM : Buffer.from(`sample ${artifact_type}\n`);
}

const SIGNING_KEY = "stand-in signing key";

export const sign = (id: string, expiry: number): string =>
  createHmac("sha256", SIGNING_KEY).update(`${id}:${expiry}`).digest("base64url");

const contentUrl = ({ url }: SkyvernState, id: string, expiry: number): string =>
  `${url}/v1/artifacts/${id}/content?expiry=${expiry}&kid=k2026-06&sig=${sign(id, expiry)}`;

/** Screenshots and recordings live one hour, the rest twelve (contract §5). */
function artifactUrl(state: SkyvernState, run: StandInRun, artifact: StandInArtifact): string {
  if (state.storage === "local") return artifact.uri ?? fileUrl(run, artifact);
  const life = /^(screenshot|recording|session_replay)/.test(artifact.artifact_type) ? HOUR : 12 * HOUR;
  return contentUrl(state, artifact.artifact_id, Math.floor((state.now() + life) / 1000));
}

function fileUrl(run: StandInRun, { artifact_id, artifact_type, filename }: StandInArtifact): string {
  if (artifact_type === "download") return `file:///data/downloads/${idOf(run)}/${encodeURIComponent(filename ?? "")}`;
  const extension = artifact_type === "recording" ? "webm" : artifact_type.startsWith("screenshot") ? "png" : "log";
  return `file:///data/artifacts/local/${DEFAULT_ORGANIZATION}/${idOf(run)}/${artifact_id}_${artifact_type}.${extension}`;
}

/**
 * The payload with every artifact URL in it freshly signed, at any depth. On local storage files have no artifact id.
 */
export function shownPayload(state: SkyvernState, run: StandInRun): JsonObject {
  const artifacts = new Map(collectArtifacts(run).map((artifact) => [artifact.artifact_id, artifact]));
  const show = (value: Json): Json => {
    if (typeof value === "string") {
      const artifact = artifacts.get(ARTIFACT_URL.exec(value)?.[1] ?? "");
      return artifact ? artifactUrl(state, run, artifact) : value;
    }
    if (Array.isArray(value)) return value.map(show);
    return isJsonObject(value) ? showObject(value) : value;
  };
  const showObject = (object: JsonObject): JsonObject => {
    const shown = Object.fromEntries(Object.entries(object).map(([key, value]) => [key, show(value)]));
    return state.storage === "local" && "artifact_id" in shown ? { ...shown, artifact_id: null } : shown;
  };
  return showObject(run.payload);
}
