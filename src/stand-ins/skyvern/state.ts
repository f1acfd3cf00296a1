/** The state of a running stand-in Skyvern, and the ids of its runs. */
import type { Json, JsonObject } from "../../platform/json.ts";
import { systemRuntime, type Runtime } from "../../platform/runtime.ts";
import {
  DEFAULT_ORGANIZATION,
  type StandInRun,
  type StandInFault,
  type StandInCall,
  type StandInSkyvernOptions,
} from "./model.ts";

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

export interface SkyvernState {
  url: string;
  keys: { key: string; organization: string }[];
  storage: "cloud" | "local";
  signedUrls: "ok" | "missing" | "unconfigured";
  artifactTypes: readonly string[];
  /** The newest version of each. */
  workflows: readonly JsonObject[];
  blockedHosts: readonly string[];
  forgets: readonly string[];
  /** Numbers for ids. */
  ids: Generator<number, never>;
  schedules: number | "missing";
  runtime: Pick<Runtime, "now" | "random" | "sleep">;
  backoffMs: number;
  webhookTimeoutMs: number;
  onCall: (call: StandInCall) => void;
  runs: Map<string, StandInRun>;
  calls: StandInCall[];
  faults: StandInFault[];
}

/** Each at least an empty workflow of one version. */
function toWorkflows(given: number | readonly JsonObject[]): readonly JsonObject[] {
  const own =
    typeof given === "number"
      ? Array.from({ length: given }, (_none, i) => ({ workflow_permanent_id: `wpid_${i + 1}`, title: `W ${i + 1}` }))
      : given;
  const empty = { webhook_callback_url: null, version: 1, workflow_definition: { parameters: [], blocks: [] } };
  return own.map((workflow) => ({ ...empty, ...workflow }));
}

function* numbers(): Generator<number, never> {
  for (let number = 100_001; ; number += 1) yield number;
}

export function createState(options: StandInSkyvernOptions): SkyvernState {
  const storage = options.storage ?? "cloud";
  return {
    url: "",
    keys: options.keys.map((key) => (typeof key === "string" ? { key, organization: DEFAULT_ORGANIZATION } : key)),
    storage,
    signedUrls: options.signedUrls ?? (storage === "cloud" ? "ok" : "unconfigured"),
    artifactTypes: options.artifactTypes ?? ARTIFACT_TYPES,
    workflows: toWorkflows(options.workflows ?? 0),
    blockedHosts: options.blockedHosts ?? [],
    forgets: options.forgets ?? [],
    ids: numbers(),
    schedules: options.schedules ?? 0,
    runtime: { ...systemRuntime(), ...options },
    backoffMs: options.backoffMs ?? 1000,
    webhookTimeoutMs: options.webhookTimeoutMs ?? 30_000,
    onCall: options.onCall ?? (() => {}),
    runs: new Map(),
    calls: [],
    faults: [],
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
