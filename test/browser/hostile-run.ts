/** A run of which every string is hostile: of every field that any payload of Skyvern's has, keys included. */
const evil = (at: string): string =>
  `${at}"'></title></script></textarea></style><script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)>` +
  `<a href=javascript:alert(1)>x</a><iframe srcdoc="<script>parent.alert(1)</script>"></iframe> onmouseover=alert(1) \${alert(1)} {{7*7}}` +
  ` hx-get=/ hx-trigger=load \u202Egnp.exe\u2066\u200B`;
const long = (at: string): string => `${evil(at)} ${"l".repeat(1_000_000)}`;
const link = "javascript:alert(1)//";

export const hostileRun = {
  run_id: "tsk_<b>evil</b>",
  task_id: "tsk_<b>evil</b>",
  organization_id: evil("organization"),
  run_type: evil("type"),
  status: "failed",
  prompt: long("prompt"),
  title: evil("title"),
  summary: long("summary"),
  url: link,
  app_url: `${link}app`,
  workflow_id: evil("w"),
  workflow_run_id: evil("wr"),
  workflow_permanent_id: evil("wpid"),
  workflow_title: evil("workflow title"),
  failure_reason: long("reason"),
  failure_category: [{ category: evil("category"), reasoning: evil("why"), confidence_float: 0.4 }],
  errors: [{ error_code: evil("code"), reasoning: long("error"), [evil("error key")]: evil("error value") }],
  output: {
    [evil("column")]: [
      { [evil("cell key")]: evil("cell"), link, nested: { [evil("deep key")]: [[[[evil("deep")]]]] } },
    ],
    text: long("text"),
    link: "vbscript:msgbox(1)",
    data: "data:text/html,<script>alert(1)</script>",
    list: [evil("item"), link],
  },
  extracted_information: { [evil("extracted")]: evil("value") },
  parameters: { [evil("parameter")]: long("parameter value"), deep: { [evil("parameter deep")]: [evil("in a list")] } },
  downloaded_files: [
    { url: link, filename: evil("file"), artifact_id: evil("a_"), checksum: evil("sum"), file_size: 1 },
  ],
  downloaded_file_urls: [link],
  screenshot_urls: [link, `https://shots.example/${encodeURIComponent(evil("shot"))}`],
  task_screenshot_urls: [link],
  recording_url: "data:text/html,<script>alert(1)</script>",
  webhook_url: link,
  webhook_callback_url: link,
  webhook_failure_reason: evil("webhook"),
  proxy_location: evil("proxy"),
  browser_session_id: evil("session"),
  created_at: evil("created"),
  started_at: evil("started"),
  finished_at: evil("finished"),
  modified_at: evil("modified"),
  queued_at: evil("queued"),
  step_count: evil("steps"),
  extra_http_headers: { [evil("header")]: evil("header value") },
  data_extraction_schema: { [evil("schema")]: evil("schema value") },
  a_field_of_tomorrow: evil("new"),
};
