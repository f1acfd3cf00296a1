/** The runs of the webhook fixtures, with what the other fixtures know of them: timeline, artifacts, pictures. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type Json, type JsonObject } from "../../src/platform/json.ts";
import type { StandInArtifact, StandInRun } from "../../src/stand-ins/skyvern.ts";

export interface FixtureRun {
  /** The fixture's, without `webhook.` and `.json`. */
  name: string;
  id: string;
  run: StandInRun;
}

/** `scenes`: pictures of pages, taken in turn. */
export function fixtureRuns(folders: readonly string[], scenes: readonly Uint8Array[]): FixtureRun[] {
  const files = folders.flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.endsWith(".json") && !name.startsWith("_"))
      .toSorted()
      .map((name) => ({ name, json: JSON.parse(readFileSync(join(folder, name), "utf8")) as Json })),
  );
  const listed = (start: string): JsonObject[] =>
    files
      .filter(({ name }) => name.startsWith(start))
      .flatMap(({ json }) => (Array.isArray(json) ? json : []))
      .filter(isJsonObject);
  const rows = listed("api.run-artifacts");
  const blocks = listed("api.run-timeline");
  const seen = new Set<string>();
  return files
    .filter(({ name }) => name.startsWith("webhook."))
    .flatMap(({ name, json }) => {
      if (!isJsonObject(json) || seen.has(name)) return [];
      seen.add(name);
      const id = text(json["run_id"]) ?? text(json["task_id"]) ?? text(json["workflow_run_id"]) ?? "";
      const timeline = blocks.filter(({ block }) => isJsonObject(block) && block["workflow_run_id"] === id);
      const artifacts = rows
        .filter((row) => row["run_id"] === id || row["workflow_run_id"] === id)
        .map((row, index) => artifactOf(row, scenes[index % scenes.length]));
      const listedIds = new Set(artifacts.map(({ artifact_id }) => artifact_id));
      const run: StandInRun = {
        payload: json,
        artifacts: [...artifacts, ...picturesOf(json, scenes).filter(({ artifact_id }) => !listedIds.has(artifact_id))],
        timeline: timeline.length > 0 ? timeline : inventTimeline(id, json),
        ...(id.startsWith("tsk_") && !id.startsWith("tsk_v2_") ? { run_request: REQUEST } : {}),
      };
      return [{ name: name.slice("webhook.".length, -".json".length), id, run }];
    });
}

const REQUEST: JsonObject = {
  prompt: "Sign in to the supplier portal, find the invoice of September and read its total",
  url: "https://portal.acme.example/login",
  title: null,
};

const text = (value: Json | undefined): string | null => (typeof value === "string" && value !== "" ? value : null);

function artifactOf(row: JsonObject, scene: Uint8Array | undefined): StandInArtifact {
  const { signed_url: _signed, artifact_id: id, artifact_type: type, created_at: at, ...rest } = row;
  const isPicture = text(type)?.startsWith("screenshot") === true;
  return {
    artifact_id: text(id) ?? "",
    artifact_type: text(type) ?? "",
    ...(text(at) === null ? {} : { created_at: text(at) ?? "" }),
    ...(isPicture && scene ? { bytes: scene } : {}),
    row: rest,
  };
}

/** The pictures that a payload's addresses name. */
function picturesOf(payload: JsonObject, scenes: readonly Uint8Array[]): StandInArtifact[] {
  const urls = payload["screenshot_urls"];
  const all = [payload["screenshot_url"], ...(Array.isArray(urls) ? urls : [])];
  const ids = new Set(all.flatMap((url) => /(a_\d+)/.exec(text(url) ?? "")?.[1] ?? []));
  const [start, end] = ["started_at", "finished_at"].map((name) => timeOf(text(payload[name])));
  // One moment after the other, the last at the end of the run.
  const momentOf = (place: number) => new Date(start! + ((end! - start!) * place) / ids.size).toISOString();
  return [...ids].toReversed().map((artifact_id, index) => ({
    artifact_id,
    artifact_type: "screenshot_action",
    ...(scenes[index % scenes.length] ? { bytes: scenes[index % scenes.length]! } : {}),
    created_at: momentOf(index + 1).replace("Z", "000"),
  }));
}

const timeOf = (at: string | null): number => Date.parse(`${(at ?? "2026-11-28T15:00:00").replace("Z", "")}Z`);

/** A block's type, as far as its output shows it. */
function typeOf(output: Json): string | null {
  if (Array.isArray(output)) return "for_loop";
  if (!isJsonObject(output)) return null;
  if ("response_body" in output) return "http_request";
  if ("workflow_run_id" in output) return "workflow_trigger";
  if (isJsonObject(output["extracted_information"] ?? null)) return "extraction";
  return Object.keys(output).join() === "success" ? "wait" : null;
}

/**
 * A block for each output, and one more that failed where the run did: Skyvern's own were not kept for this fixture.
 */
function inventTimeline(id: string, payload: JsonObject): Json[] {
  const { output, started_at: begun, status, failure_reason: reason } = payload;
  if (!id.startsWith("wr_") || !isJsonObject(output)) return [];
  const start = timeOf(text(begun));
  const labels = Object.keys(output).filter((key) => key !== "extracted_information");
  const urls = payload["screenshot_urls"];
  const pictures = (Array.isArray(urls) ? urls : []).map((url) => /(a_\d+)/.exec(text(url) ?? "")?.[1] ?? null);
  const rows = labels.map((key, index): Json => {
    const isLast = index === labels.length - 1;
    const ended = isLast && status !== "completed";
    const at = new Date(start + index * 9_000).toISOString().replace("Z", "000");
    return {
      type: "block",
      attempt: 1,
      block: {
        workflow_run_block_id: `wrb_${index}`,
        label: key.replace(/_output$/, ""),
        block_type: typeOf(output[key] ?? null) ?? (index === 0 ? "login" : isLast ? "file_download" : "extraction"),
        status: ended ? (status ?? null) : "completed",
        failure_reason: ended ? (reason ?? null) : null,
        error_codes: [],
        duration: 8.4,
        created_at: at,
        output: isLast ? { task_screenshot_artifact_ids: pictures.slice(0, 1) } : null,
      },
      children: [],
    };
  });
  return rows.toReversed();
}
