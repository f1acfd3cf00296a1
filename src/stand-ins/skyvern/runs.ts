/** Runs, one and in lists. */
import { isJsonObject, type JsonObject } from "../../platform/json.ts";
import { type StandInAnswer, DEFAULT_ORGANIZATION, type StandInRun } from "./model.ts";
import { type SkyvernState, idOf, asText, workflowRunIdOf } from "./state.ts";
import { json, detail, EMPTY_404, invalid } from "./answer.ts";
import { shownPayload } from "./artifacts.ts";

const STATUSES = new Set([
  "created",
  "queued",
  "running",
  "paused",
  "timed_out",
  "failed",
  "terminated",
  "completed",
  "canceled",
]);

/** Fields that a newer Skyvern (1.0.56) adds to workflow runs and to its list of runs. */
const ATTEMPT_KEYS = ["attempt", "retry_pending", "next_attempt_at"];

/** The fields that task and workflow runs both answer; GET run lacks everything else of a webhook. */
const RUN_KEYS = [
  "run_id",
  "status",
  "output",
  "downloaded_files",
  "recording_url",
  "recording_archived",
  "screenshot_urls",
  "failure_reason",
  "created_at",
  "modified_at",
  "queued_at",
  "started_at",
  "finished_at",
  "app_url",
  "browser_session_id",
  "browser_profile_id",
  "max_screenshot_scrolls",
  "script_run",
  "errors",
  "step_count",
  "run_type",
];

const findRun = (runs: StandInRun[], id: string): StandInRun | undefined =>
  runs.find((run) => idOf(run) === id || workflowRunIdOf(run) === id);

/** Contract §4. */
export function getTimeline(runs: StandInRun[], id: string): StandInAnswer {
  const run = findRun(runs, id);
  if (!run) return EMPTY_404;
  if (workflowRunIdOf(run) === null)
    return detail(400, "Timeline is only available for workflow runs and task 2.0 runs");
  return json(200, run.timeline ?? []);
}

export function getRun(state: SkyvernState, runs: StandInRun[], id: string): StandInAnswer {
  const run = findRun(runs, id);
  if (!run) return id.startsWith("wr_") ? EMPTY_404 : detail(404, `Task run not found ${id}`);
  const shown = shownPayload(state, run);
  const keys = "attempt" in shown ? [...RUN_KEYS, ...ATTEMPT_KEYS, "attempts"] : RUN_KEYS;
  const common = Object.fromEntries(keys.map((key) => [key, shown[key] ?? null]));
  return json(200, { ...common, run_id: idOf(run), run_request: requestOf(run) });
}

function requestOf({ payload, run_request }: StandInRun): JsonObject {
  const own = payload["run_request"];
  if (isJsonObject(own)) return { ...own, ...run_request };
  const { prompt = null, url = null, title = null, webhook_callback_url = null } = payload;
  return { prompt, url, title, webhook_url: webhook_callback_url, ...run_request };
}

export function listRuns(runs: StandInRun[], query: URLSearchParams): StandInAnswer {
  const page = Number(query.get("page") ?? 1);
  const pageSize = Number(query.get("page_size") ?? 10);
  for (const [name, value] of [["page", page] as const, ["page_size", pageSize] as const]) {
    if (!Number.isInteger(value))
      return invalid(name, "int_parsing", "Input should be a valid integer", query.get(name));
    if (value < 1) return invalid(name, "greater_than_equal", "Input should be greater than or equal to 1", value);
    if (value > 100) return invalid(name, "less_than_equal", "Input should be less than or equal to 100", value);
  }
  const bad = query.getAll("status").find((status) => !STATUSES.has(status));
  if (bad !== undefined) return invalid("status", "enum", "Input should be a known status", bad);
  const search = query.get("search_key");
  if (search !== null && search.length < 3) {
    return invalid("search_key", "string_too_short", "String should have at least 3 characters", search);
  }
  const rows = runs
    .filter(({ unlisted, parent }) => unlisted !== true && parent === undefined)
    .map(runRow)
    .filter((row) => fits(row.status, query.getAll("status")))
    .filter((row) => fits(row.task_run_type, query.getAll("run_type")))
    .filter((row) => fits(row.workflow_permanent_id, query.getAll("workflow_permanent_id")))
    .filter((row) => search === null || `${row.title ?? ""} ${row.run_id}`.toLowerCase().includes(search.toLowerCase()))
    .sort((a, b) => (b.created_at ?? "").localeCompare(a.created_at ?? ""));
  return json(200, rows.slice((page - 1) * pageSize, page * pageSize));
}

/** The runs of one workflow (contract §9). Children come only on request. */
export function listWorkflowRuns(runs: StandInRun[], workflow: string, query: URLSearchParams): StandInAnswer {
  const [from, to] = ["created_at_start", "created_at_end"].map((name) => query.get(name));
  const pageSize = Number(query.get("page_size") ?? 10);
  const rows = runs
    .filter(({ payload }) => [payload["workflow_permanent_id"], payload["workflow_id"]].includes(workflow))
    .filter(({ parent }) => parent === undefined || query.get("include_child_runs") === "true")
    .map((run) => workflowRunRow(run, workflow))
    .filter(({ created_at: at }) => (from ?? "") <= at && (to === null || to === undefined || at < to))
    .sort((a, b) => b.created_at.localeCompare(a.created_at));
  return json(200, rows.slice(0, pageSize));
}

function workflowRunRow({ payload, trigger_type, parent, schedule, organization }: StandInRun, workflow: string) {
  const id = asText(payload["run_id"]) ?? "";
  const same = (...keys: string[]) => Object.fromEntries(keys.map((key) => [key, payload[key] ?? null]));
  return {
    workflow_run_id: id,
    workflow_id: `w_${id.replace(/^.*_/, "")}`,
    workflow_permanent_id: workflow,
    organization_id: organization ?? DEFAULT_ORGANIZATION,
    ...same("browser_session_id", "browser_profile_id", "status", ...ATTEMPT_KEYS, "attempts", "proxy_location"),
    ...same("webhook_callback_url", "webhook_failure_reason", "failure_reason", "failure_category"),
    retried_from_workflow_run_id: payload["retried_from_workflow_run_id"] ?? null,
    parent_workflow_run_id: parent ?? null,
    ...same("workflow_title", "run_with", "script_run", "ai_fallback"),
    trigger_type: trigger_type ?? null,
    workflow_schedule_id: schedule ?? null,
    ...same("credits_used", "queued_at", "started_at", "finished_at"),
    created_at: asText(payload["created_at"]) ?? "",
    modified_at: payload["modified_at"] ?? null,
  };
}

/** Contract §9. */
export function listTags(runs: StandInRun[], id: string): StandInAnswer {
  const run = runs.find((one) => idOf(one) === id && id.startsWith("wr_"));
  if (!run) return detail(404, `Workflow run ${id} not found`);
  const own = [
    { key: "skyvern.status", value: asText(run.payload["status"]) },
    { key: "skyvern.trigger", value: run.trigger_type ?? null },
  ];
  const set = (source: string, by: string) => ({ source, set_at: asText(run.payload["created_at"]), set_by: by });
  const tags = [
    ...(run.tags ?? []).map((tag) => ({ ...tag, ...set("manual", run.organization ?? DEFAULT_ORGANIZATION) })),
    ...own
      .filter(({ value }) => value !== null)
      .map((tag) => ({ ...tag, ...set("system", "system:completion-tagging") })),
  ];
  return json(200, { workflow_run_id: id, tags });
}

const fits = (value: string | null, wanted: string[]): boolean =>
  wanted.length === 0 || (value !== null && wanted.includes(value));

function runRow(run: StandInRun) {
  const { payload } = run;
  const runId = idOf(run);
  return {
    task_run_id: `tr_${/\w+?_(\w+)$/.exec(runId)?.[1] ?? runId}`,
    run_id: runId,
    task_run_type: asText(payload["run_type"]),
    status: asText(payload["status"]),
    title: asText(payload["workflow_title"]) ?? asText(requestOf(run)["title"]),
    started_at: asText(payload["started_at"]),
    finished_at: asText(payload["finished_at"]),
    created_at: asText(payload["created_at"]),
    workflow_permanent_id: asText(payload["workflow_permanent_id"]),
    workflow_deleted: false,
    script_run: isJsonObject(payload["script_run"]),
    trigger_type: run.trigger_type ?? null,
    ...Object.fromEntries(ATTEMPT_KEYS.flatMap((key) => (key in payload ? [[key, payload[key]]] : []))),
  };
}
