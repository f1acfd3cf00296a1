/** The state of a running stand-in Skyvern, and the ids of its runs. */
import type { Json } from "../../platform/json.ts";
import { DEFAULT_ORGANIZATION, type StandInRun, type StandInCall, type StandInSkyvernOptions } from "./model.ts";

const ARTIFACT_TYPES = [
  "recording",
  "audio",
  "session_replay",
  "screenshot_llm",
  "screenshot_action",
  "screenshot_final",
  "screenshot_proxy",
  "download",
  "pdf",
  "har",
  "trace",
  "browser_console_log",
  "skyvern_log",
  "step_archive",
  "task_archive",
  "script_file",
  "llm_prompt",
  "llm_request",
  "llm_response",
  "llm_response_parsed",
  "html_scrape",
  "html_action",
  "visible_elements_tree",
];

export interface SkyvernState extends Required<Omit<StandInSkyvernOptions, "keys">> {
  url: string;
  keys: { key: string; organization: string }[];
  runs: Map<string, StandInRun>;
  calls: StandInCall[];
}

export function createState(options: StandInSkyvernOptions): SkyvernState {
  const storage = options.storage ?? "cloud";
  return {
    url: "",
    keys: options.keys.map((key) => (typeof key === "string" ? { key, organization: DEFAULT_ORGANIZATION } : key)),
    storage,
    signedUrls: options.signedUrls ?? (storage === "cloud" ? "ok" : "unconfigured"),
    artifactTypes: options.artifactTypes ?? ARTIFACT_TYPES,
    more: options.more ?? (() => null),
    now: options.now ?? Date.now,
    onCall: options.onCall ?? (() => {}),
    intercept: options.intercept ?? (() => false),
    runs: new Map(),
    calls: [],
  };
}

export const firstOrganization = (state: SkyvernState): string => state.keys[0]?.organization ?? DEFAULT_ORGANIZATION;

export const idOf = ({ payload }: StandInRun): string =>
  asText(payload["run_id"]) ?? asText(payload["task_id"]) ?? asText(payload["workflow_run_id"]) ?? "";

export const asText = (value: Json | undefined): string | null =>
  typeof value === "string" && value !== "" ? value : null;

/** A workflow run's own id, or the `wr_…` that a v2 task runs in. */
export const workflowRunIdOf = (run: StandInRun): string | null => {
  const own = idOf(run);
  if (own.startsWith("wr_")) return own;
  return (
    asText(run.payload["workflow_run_id"]) ?? /\/runs\/(wr_\w+)/.exec(asText(run.payload["app_url"]) ?? "")?.[1] ?? null
  );
};
