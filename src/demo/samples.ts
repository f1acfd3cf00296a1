/**
 * Sample runs of every type and final status, shaped as Skyvern sends them (contract: legacy keys first, every key
 * always present). All values are invented.
 */
import type { JsonObject } from "../platform/json.ts";
import { isTerminal, TERMINAL_STATUSES } from "../domain/run.ts";
import type { Runtime } from "../platform/runtime.ts";

export interface Sample {
  /** What it shows, in a few words. */
  name: string;
  runId: string;
  /** The settled outcome. */
  status: string;
  /** The webhooks Skyvern sends for it, in order. */
  payloads: JsonObject[];
}

type Make = Pick<Runtime, "now" | "random">;

export function sampleRuns(make: Make): Sample[] {
  const task = (name: string, run_type: string, status: string, values: JsonObject = {}): Sample =>
    single(name, v1(make, run_type, status, values));
  const planned = (name: string, status: string, values: JsonObject = {}): Sample =>
    single(name, v2(make, status, values));
  return [
    task("task, data extracted", "task_v1", "completed", {
      output: { account: "4417", total_due: 128.4, currency: "EUR", due: "2026-09-15" },
    }),
    task("task, failed with codes", "task_v1", "failed", {
      failure_reason: "Step failed: the billing table never finished loading after 3 attempts.",
      failure_category: [{ category: "PAGE_LOAD_TIMEOUT", confidence_float: 0.8, reasoning: "Timeout" }],
      errors: [{ error_code: "REACH_MAX_RETRIES", reasoning: "Too many retries.", error_type: "SYSTEM_DEFINED_ERROR" }],
    }),
    task("task, engine 3", "task_v3", "completed", { output: ["Terms of service", "Privacy", "Imprint"] }),
    task("computer use, text output", "openai_cua", "completed", { output: "The parcel is in Leipzig, due tomorrow." }),
    task("computer use, failed", "anthropic_cua", "failed", { failure_reason: "The page asked for a captcha." }),
    task("computer use, timed out", "ui_tars", "timed_out"),
    task("navigator", "yutori_navigator", "completed", { output: { seats: 2, price: "38.00 EUR" } }),
    planned("planned task, a table", "completed", {
      summary: "I read the three top posts.",
      output: {
        posts: [
          { title: "PCIe devices in userspace", points: 412, by: "mk" },
          { title: "A clock that never was", points: 387, by: "ana" },
          { title: "Ünïcödé, done right 👩‍💻", points: 301, by: "łukasz" },
        ],
      },
    }),
    planned("planned task, terminated", "terminated", {
      failure_reason: "The portal requires a hardware security key.",
      failure_category: [{ category: "AUTH_FAILURE", confidence_float: 0.7, reasoning: "Second factor" }],
    }),
    planned("planned task, canceled", "canceled"),
    planned("hostile page text", "completed", {
      prompt: "Read the notice on the page",
      summary: "<!channel> *free* money at <https://evil.example|your bank> <script>alert(1)</script>",
      output: { notice: "@here `rm -rf` <b>bold</b> & \u202Eesrever\u202C", link: "javascript:alert(1)" },
    }),
    deliveryFailure(make),
    single("workflow, files and a table", workflow(make, "completed", workflowResult(make))),
    single(
      "workflow, failed",
      workflow(make, "failed", {
        failure_reason: "extraction block failed: the invoice list stayed empty.",
        failure_category: [{ category: "WRONG_PAGE_STATE", confidence_float: 0.6, reasoning: "Keywords matched" }],
        errors: [{ error_code: "portal_maintenance", reasoning: "A banner covers the list.", confidence_float: 0.9 }],
      }),
    ),
    canceledTwice(make),
  ];
}

/** Run types that a sample can have, as Skyvern names them. */
export const SAMPLE_TYPES = [
  "task_v1",
  "task_v2",
  "task_v3",
  "openai_cua",
  "anthropic_cua",
  "ui_tars",
  "yutori_navigator",
  "workflow_run",
] as const;
export type SampleType = (typeof SAMPLE_TYPES)[number];

/** Every status a run can have (contract §3). */
export const SAMPLE_STATUSES = [...TERMINAL_STATUSES, "created", "queued", "running", "paused"] as const;
export type SampleStatus = (typeof SAMPLE_STATUSES)[number];

/** The workflow that a sample of a workflow run is of; without one it is made up. */
export interface SampleWorkflow {
  id?: string | undefined;
  title?: string | undefined;
}

/**
 * One webhook of a type and status that everybody can see to be a sample: it says so where its type has words to say
 * it, its ids hold `_sample_`, and it has no pictures or files to look for.
 */
export function makeSample(make: Make, type: SampleType, status: SampleStatus, of: SampleWorkflow = {}): JsonObject {
  const failed = status !== "completed" && isTerminal(status);
  const words = `A sample sent by skyvern-relay: no run of yours ${failed ? "failed" : "took place"}.`;
  const values: JsonObject = {
    output: status === "completed" ? { sample: true, note: words } : null,
    failure_reason: failed ? words : null,
    ...(failed ? { failure_category: [{ category: "UNKNOWN", confidence_float: 1, reasoning: words }] } : {}),
    ...(isTerminal(status) ? {} : { finished_at: null }),
    recording_url: null,
    screenshot_urls: null,
  };
  const payload =
    type === "task_v2"
      ? v2(make, status, { ...values, prompt: "Sample of skyvern-relay", summary: words, url: null })
      : type === "workflow_run"
        ? workflow(make, status, {
            ...values,
            workflow_title: of.title ?? "Sample of skyvern-relay",
            ...(of.id === undefined ? {} : { workflow_id: of.id, agent_id: of.id }),
            outputs: values["output"] ?? null,
          })
        : v1(make, type, status, { ...values, action_screenshot_urls: null });
  return asSample(payload);
}

/**
 * `tsk_v2_565…` → `tsk_v2_sample_565…`, in every key that holds the run's own id; there is no page to open at Skyvern.
 */
function asSample(payload: JsonObject): JsonObject {
  const id = String(payload["run_id"]);
  const marked = id.replace(/_(?=\d+$)/, "_sample_");
  const renamed = Object.entries(payload).map(([name, value]) => [name, value === id ? marked : value] as const);
  return { ...Object.fromEntries(renamed), app_url: null };
}

function single(name: string, payload: JsonObject): Sample {
  return { name, runId: String(payload["run_id"]), status: String(payload["status"]), payloads: [payload] };
}

/** Skyvern could not deliver the first webhook, so it calls the run failed: it was not. */
function deliveryFailure(make: Make): Sample {
  const completed = v2(make, "completed", {
    summary: "Found the opening hours.",
    output: { monday: "9–18", sunday: null },
  });
  const failed = {
    ...completed,
    status: "failed",
    failure_reason: `Failed to run task 2.0: Failed to send webhook.    task_v2_id=${String(completed["run_id"])}`,
    modified_at: time(make.now() + 90_000),
  };
  const sample = single("“failed” by its own webhook", completed);
  return { ...sample, payloads: [completed, failed] };
}

/** A cancel sends two webhooks: one from the call, one from the run that ends. */
function canceledTwice(make: Make): Sample {
  const first = workflow(make, "canceled", { recording_url: null, recording_urls: null, screenshot_urls: null });
  const later = { ...first, modified_at: time(make.now() + 2_000), webhook_failure_reason: "", ...media(make) };
  return { ...single("workflow, canceled (sent twice)", first), payloads: [first, later] };
}

// --- payload families -----------------------------------------------------------------------------------------------

function v1(make: Make, run_type: string, status: string, values: JsonObject): JsonObject {
  const id = makeId(make, "tsk");
  const output = values["output"] ?? null;
  const shots = media(make);
  return {
    task_id: id,
    status,
    ...times(make, 72_000),
    extracted_information: output,
    action_screenshot_urls: shots["screenshot_urls"] ?? null,
    screenshot_url: null,
    ...shots,
    browser_console_log_url: null,
    downloaded_files: [],
    downloaded_file_urls: null,
    failure_reason: null,
    failure_category: null,
    webhook_failure_reason: null,
    errors: [],
    max_steps_per_run: 10,
    workflow_run_id: null,
    max_screenshot_scrolls: null,
    step_count: 3,
    browser_session_id: null,
    run_id: id,
    app_url: `https://app.skyvern.com/tasks/${id}`,
    browser_profile_id: null,
    script_run: null,
    run_type,
    ...values,
    output,
  };
}

function v2(make: Make, status: string, values: JsonObject): JsonObject {
  const id = makeId(make, "tsk_v2");
  const workflowRunId = makeId(make, "wr");
  return {
    task_id: id,
    status,
    organization_id: "o_512846093377601280",
    workflow_run_id: workflowRunId,
    workflow_id: makeId(make, "w"),
    workflow_permanent_id: makeId(make, "wpid"),
    prompt: "Get the top posts",
    url: "https://news.example/",
    summary: null,
    output: null,
    totp_verification_url: null,
    totp_identifier: null,
    proxy_location: "RESIDENTIAL",
    webhook_callback_url: "https://relay.example.com/webhook",
    webhook_failure_reason: null,
    extra_http_headers: { authorization: "Bearer sample-secret" },
    failure_category: null,
    ...times(make, 104_000),
    run_id: id,
    downloaded_files: [],
    ...media(make),
    failure_reason: null,
    app_url: `https://app.skyvern.com/runs/${workflowRunId}`,
    errors: [],
    step_count: 4,
    run_type: "task_v2",
    ...values,
  };
}

function workflow(make: Make, status: string, values: JsonObject): JsonObject {
  const id = makeId(make, "wr");
  const permanentId = makeId(make, "wpid");
  const parameters = { portal_url: "https://portal.example", since: "2026-08-01", password: "sample-secret" };
  return {
    workflow_id: permanentId,
    workflow_run_id: id,
    status,
    failure_reason: null,
    failure_category: null,
    proxy_location: { url: "http://user:sample-secret@proxy.example:8080" },
    webhook_callback_url: "https://relay.example.com/webhook",
    webhook_failure_reason: null,
    totp_identifier: null,
    extra_http_headers: null,
    ...times(make, 230_000),
    parameters,
    ...media(make),
    downloaded_files: [],
    downloaded_file_urls: null,
    total_steps: 11,
    workflow_title: "Invoice Downloader",
    errors: [],
    agent_id: permanentId,
    agent_run_id: id,
    run_id: id,
    output: null,
    app_url: `https://app.skyvern.com/runs/${id}`,
    step_count: 11,
    run_type: "workflow_run",
    run_request: { workflow_id: permanentId, parameters, title: "Invoice Downloader", webhook_url: null },
    ...values,
  };
}

function workflowResult(make: Make): JsonObject {
  const invoices = [
    { id: "INV-2026-0801", amount: 120, currency: "EUR" },
    { id: "INV-2026-0815", amount: 88.35, currency: "EUR" },
  ];
  const file = (filename: string, file_size: number): JsonObject => {
    const artifact_id = makeId(make, "a");
    return { url: contentUrl(artifact_id), checksum: null, filename, file_size, modified_at: null, artifact_id };
  };
  const block = (extracted_information: JsonObject | null): JsonObject => ({
    task_id: makeId(make, "tsk"),
    status: "completed",
    extracted_information,
    failure_reason: null,
    errors: [],
  });
  const output = {
    login_output: block(null),
    list_invoices_output: block({ invoices }),
    summarise_output: { count: 2, total: 208.35 },
    extracted_information: [{ invoices }],
  };
  const downloaded_files = [file("INV-2026-0801.pdf", 91_022), file("Rechnung Übersicht.csv", 2_048)];
  return { output, outputs: output, downloaded_files };
}

// --- parts ----------------------------------------------------------------------------------------------------------

/** `<prefix>_` and 18 digits, as Skyvern's. */
const makeId = ({ random }: Make, prefix: string): string =>
  `${prefix}_565${Math.floor(random() * 1e15)
    .toString()
    .padStart(15, "0")}`;

/** Naive UTC with microseconds. */
const time = (ms: number): string => `${new Date(ms).toISOString().slice(0, -1)}000`;

const times = ({ now }: Make, durationMs: number): JsonObject => ({
  created_at: time(now() - durationMs - 3_000),
  modified_at: time(now()),
  queued_at: time(now() - durationMs - 2_000),
  started_at: time(now() - durationMs),
  finished_at: time(now()),
});

const contentUrl = (artifactId: string): string =>
  `https://api.skyvern.com/v1/artifacts/${artifactId}/content?expiry=1&kid=demo&sig=sample-secret`;

const media = (make: Make): JsonObject => ({
  recording_url: contentUrl(makeId(make, "a")),
  recording_archived: false,
  screenshot_urls: [contentUrl(makeId(make, "a")), contentUrl(makeId(make, "a"))],
});
