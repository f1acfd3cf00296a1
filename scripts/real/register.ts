/**
 * Lets the relay's `register` change workflows of a real Skyvern and undo it, and compares what Skyvern answers before
 * and after.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { SkyvernApi } from "./skyvern-api.ts";

const run = promisify(execFile);

const mail = { recipients: ["ap@example.com"], subject: "s", body: "{{ total }}" };
const text = { workflow_parameter_type: "string", parameter_type: "workflow" };

/** Blocks of every kind that a server without models and accounts saves, and parameters of many. */
const BLOCKS: readonly object[] = [
  { block_type: "goto_url", label: "go", url: "https://example.com/{{ customer }}" },
  { block_type: "task", label: "old", url: "https://example.com", navigation_goal: "g", parameter_keys: ["customer"] },
  {
    block_type: "login",
    label: "enter",
    url: "https://example.com",
    parameter_keys: ["customer"],
    totp_identifier: "t",
  },
  { block_type: "navigation", label: "steer", navigation_goal: "g", parameter_keys: ["go_output"], max_retries: 2 },
  { block_type: "action", label: "press", navigation_goal: "g", continue_on_failure: true },
  {
    block_type: "extraction",
    label: "read",
    data_extraction_goal: "g",
    data_schema: { b: 1, a: [1.5, 9007199254740991] },
  },
  { block_type: "validation", label: "valid", complete_criterion: "c", error_code_mapping: { E1: "bad" } },
  { block_type: "code", label: "sum", code: "total = 1\n", parameter_keys: ["customer", "read_output"], prompt: "add" },
  {
    block_type: "text_prompt",
    label: "ask",
    prompt: "p {{ rows }}",
    parameter_keys: ["rows"],
    json_schema: { type: "object" },
  },
  { block_type: "http_request", label: "fetch", url: "https://example.com", headers: { Authorization: "Bearer x" } },
  { block_type: "send_email", label: "post", sender: "a@example.com", ...mail, file_attachments: ["{{ go_output }}"] },
  {
    block_type: "send_email",
    label: "own_post",
    sender: "a@example.com",
    ...mail,
    custom_smtp_host: "smtp.example.com",
  },
  { block_type: "human_interaction", label: "agree", ...mail },
  { block_type: "wait", label: "pause", wait_sec: 3 },
  { block_type: "file_url_parser", label: "parse", file_url: "https://example.com/a.csv", json_schema: {} },
  { block_type: "pdf_parser", label: "parse_pdf", file_url: "https://example.com/a.pdf" },
  { block_type: "download_to_s3", label: "keep", url: "https://example.com/a" },
  { block_type: "upload_to_s3", label: "give" },
  {
    block_type: "file_upload",
    label: "send",
    storage_type: "s3",
    s3_bucket: "b",
    aws_secret_access_key: "{{ customer }}",
  },
  { block_type: "file_download", label: "fetch_file", navigation_goal: "g", download_suffix: "x" },
  { block_type: "task_v2", label: "two", prompt: "p", max_steps: 7 },
  { block_type: "print_page", label: "print", landscape: true },
  { block_type: "pdf_fill", label: "fill", file_url: "https://example.com/a.pdf", prompt: "p", payload: { a: null } },
  { block_type: "split_pdf", label: "split", file_url: "https://example.com/a.pdf", prompt: "p" },
  { block_type: "google_sheets_read", label: "sheet", spreadsheet_url: "https://example.com/s", range: "A1:B2" },
  { block_type: "google_sheets_write", label: "write", spreadsheet_url: "https://example.com/s", values: "{{ rows }}" },
  {
    block_type: "for_loop",
    label: "each",
    loop_over_parameter_key: "rows",
    complete_if_empty: true,
    loop_blocks: [
      { block_type: "goto_url", label: "inner_go", url: "{{ current_value }}" },
      {
        block_type: "for_loop",
        label: "each_inner",
        loop_variable_reference: "{{ read_output }}",
        loop_blocks: [{ block_type: "code", label: "deep", code: "x = 1", parameter_keys: ["source_of"] }],
      },
    ],
  },
];

const PARAMETERS: readonly object[] = [
  { ...text, key: "customer", description: "who", default_value: "ACME é \u2028 😀" },
  {
    ...text,
    workflow_parameter_type: "json",
    key: "rows",
    default_value: [{ z: 1, a: 2.5, big: 12345678901234567890n.toString() }],
  },
  { ...text, workflow_parameter_type: "float", key: "rate", default_value: 3 },
  { ...text, workflow_parameter_type: "boolean", key: "fast", default_value: false },
  { ...text, workflow_parameter_type: "integer", key: "none_given" },
  { parameter_type: "context", key: "source_of", source_parameter_key: "read_output" },
  { parameter_type: "aws_secret", key: "secret", aws_key: "A_KEY" },
];

const BRANCHED: readonly object[] = [
  { block_type: "goto_url", label: "go", url: "https://example.com", next_block_label: "branch" },
  {
    block_type: "conditional",
    label: "branch",
    branch_conditions: [
      { criteria: { criteria_type: "jinja2_template", expression: "{{ 1 == 1 }}" }, next_block_label: "yes" },
      { is_default: true, next_block_label: "no" },
    ],
  },
  { block_type: "wait", label: "yes", wait_sec: 1, next_block_label: null },
  { block_type: "terminate", label: "no", reason: "because", error_code: "E2" },
];

/** Each workflow with its whole request, which the script sends itself. */
const WORKFLOWS: readonly Record<string, unknown>[] = [
  {
    title: "Every block",
    description: "d",
    webhook_callback_url: null,
    proxy_location: "RESIDENTIAL_DE",
    totp_identifier: "t",
    persist_browser_session: true,
    max_screenshot_scrolls: 3,
    max_elapsed_time_minutes: 30,
    extra_http_headers: { "X-A": "b" },
    cdp_connect_headers: { "x-api-key": "a secret of the provider" },
    run_with: "code",
    run_sequentially: true,
    sequential_key: "{{ customer }}",
    workflow_definition: { parameters: PARAMETERS, blocks: BLOCKS, error_code_mapping: { E3: "x" } },
  },
  {
    title: "Branches",
    webhook_callback_url: "https://hooks.example.com/secret?token=1",
    workflow_definition: {
      version: 2,
      parameters: [],
      blocks: BRANCHED,
      retry_policy: {
        max_retries: 2,
        delay_seconds: 5,
        webhook_on_retry: "every_attempt",
        retry_on: [{ status: "failed" }],
      },
    },
  },
  { title: "Nothing in it", webhook_callback_url: "", workflow_definition: { parameters: [], blocks: [] } },
];

/** What was not as it should be. `relay`: the environment of a relay that runs. */
export async function checkRegister(skyvern: SkyvernApi, relay: Record<string, string>): Promise<string[]> {
  const faults: string[] = [];
  const ids: string[] = [];
  for (const json_definition of WORKFLOWS) {
    const made = await skyvern.post<{ workflow_permanent_id: string }>("/v1/workflows", { json_definition });
    ids.push(made.workflow_permanent_id);
  }
  const look = async () => Promise.all(ids.map((id) => skyvern.get(`/v1/workflows/${id}`)));
  const count = async () => (await skyvern.get<unknown[]>("/v1/workflows?page_size=1000")).length;
  const register = async (...args: string[]) => {
    const command = ["src/main.ts", "register", "--yes", "--workflow", ...ids, ...args];
    const env = { ...process.env, ...relay };
    return run(process.execPath, command, { env }).catch((error: { stdout: string; stderr: string }) => error);
  };
  const [before, workflows] = [await look(), await count()];
  const done = await register();
  if (done.stderr !== "") faults.push(done.stderr.trim());
  const after = await look();
  const undone = await register("--undo");
  if (undone.stderr !== "") faults.push(undone.stderr.trim());
  const last = await look();
  const address = `${relay["PUBLIC_URL"] ?? ""}/webhook`;
  for (const [i, workflow] of WORKFLOWS.entries()) {
    const title = String(workflow["title"]);
    const addresses = [after, last].map((versions) => versions[i]?.["webhook_callback_url"]);
    if (addresses[0] !== address) faults.push(`${title} has ${String(addresses[0])} after register`);
    if ((addresses[1] || null) !== (before[i]?.["webhook_callback_url"] || null))
      faults.push(`${title} has ${String(addresses[1])} after --undo`);
    for (const [name, versions] of Object.entries({ register: after, "--undo": last })) {
      const [was, is] = [before[i], versions[i]].map(bare);
      if (was !== is) faults.push(`${title} is another after ${name}: ${whereDiffers(was ?? "", is ?? "")}`);
    }
  }
  if ((await count()) !== workflows) faults.push("a copy was left at Skyvern");
  return faults;
}

const OWN =
  /^(workflow_id|version|webhook_callback_url|created_at|modified_at|created_by|edited_by|\w+_parameter_id|id)$/;

/** A workflow without what each version has for itself. Keys are sorted, and parameters, whose order Skyvern makes. */
function bare(value: unknown): string {
  const sorted = (inner: unknown): unknown => {
    if (Array.isArray(inner)) {
      const all = inner.map(sorted);
      const isParameters = all.every((one) => typeof one === "object" && one !== null && "parameter_type" in one);
      return isParameters ? all.map((one) => JSON.stringify(one)).toSorted() : all;
    }
    if (typeof inner !== "object" || inner === null) return inner;
    const entries = Object.entries(inner).filter(([name]) => !OWN.test(name));
    return Object.fromEntries(
      entries.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name, sorted(one)]),
    );
  };
  return JSON.stringify(sorted(value));
}

function whereDiffers(one: string, other: string): string {
  const at = Array.from({ length: one.length }, (_none, i) => i).find((i) => one[i] !== other[i]) ?? one.length;
  return `…${one.slice(Math.max(0, at - 80), at + 40)}… → …${other.slice(Math.max(0, at - 20), at + 40)}…`;
}
