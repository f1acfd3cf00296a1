/** An example run with everything that belongs to it, for the API's document. */
import { emptyReport } from "../../domain/report.ts";

const RUN_ID = "tsk_v2_565346328529285494";
const link = (key: string): string =>
  `https://relay.example.com/artifacts/${RUN_ID}/${key}?exp=1769558400&sig=Qm9vbS1zaGFrYS1sYWth`;

const artifacts = [
  {
    artifact_id: "a_565346358594056580",
    type: "recording",
    url: link("a_565346358594056580"),
    created_at: "2026-01-20T11:58:40.120Z",
    attempt: 1,
  },
];

export const RUN = {
  ...emptyReport(RUN_ID, "completed", "2026-01-20T11:58:29.276Z"),
  run_type: "task_v2",
  organization_id: "o_512846093377601280",
  channel: "invoices",
  prompt: "Download the invoice of January",
  url: "https://portal.example.com/",
  summary: "I opened the portal and downloaded one invoice.",
  app_url: "https://app.skyvern.com/runs/wr_565346328529285500",
  workflow: {
    run_id: "wr_565346328529285500",
    permanent_id: "wpid_565346328529285498",
    id: "w_565346328529285496",
    title: null,
  },
  output: { invoice: "INV-2026-0042", total: 88.35 },
  files: [
    {
      name: "INV-2026-0042.pdf",
      size: 91022,
      checksum: "a0d54720dccba30e28b40d5efc5823627132f758af6fdeabfcf25867c2dbff23",
      artifact_id: "a_565256456338616842",
      url: link("a_565256456338616842"),
    },
  ],
  artifacts,
  recording_url: link("a_565346358594056580"),
  step_count: 4,
  queued_at: "2026-01-20T11:58:29.483Z",
  started_at: "2026-01-20T11:58:31.257Z",
  finished_at: "2026-01-20T12:00:30.900Z",
  received_at: "2026-01-20T12:00:31.512Z",
  duration_ms: 119643,
  run_url: `https://relay.example.com/runs/${RUN_ID}`,
} as const;

export const DELIVERY = {
  id: "dlv_019bdb4ad1d800000a1b2c3d",
  run_id: RUN_ID,
  subject: "run",
  revision: 1,
  sink: "finance",
  kind: "http",
  cause: "result",
  state: "delivered",
  attempts: 1,
  next_attempt_at: null,
  last_error: null,
  created_at: "2026-01-20T12:00:31.512Z",
  delivered_at: "2026-01-20T12:00:31.702Z",
  receipt: { status: 200 },
} as const;

const ATTEMPT = {
  n: 1,
  started_at: "2026-01-20T12:00:31.540Z",
  finished_at: "2026-01-20T12:00:31.702Z",
  outcome: "delivered",
  reason: null,
} as const;

export const RECEIPT = {
  id: "rcp_019bdb4ad1d800000a1b2c3d",
  run_id: RUN_ID,
  verdict: "accepted",
  note: null,
  routing: [{ route: "invoices", matched: true, because: 'channel is "invoices"' }],
  reported_status: "completed",
  source: "webhook",
  channel: "invoices",
  labels: {},
  key: "acme",
  body_hash: "08231d9b0fe3fb046524a00f53dfad8d55763dd6d938dc7026072747892bd34e",
  body_bytes: 2073,
  received_at: "2026-01-20T12:00:31.512Z",
  copies: 1,
  last_received_at: "2026-01-20T12:00:31.512Z",
} as const;

export const RUN_DETAIL = { ...RUN, deliveries: [{ ...DELIVERY, log: [ATTEMPT] }], receipts: [RECEIPT] } as const;

export const RUN_ARTIFACTS = {
  data: artifacts,
  artifacts_status: RUN.artifacts_status,
  recording_url: RUN.recording_url,
  screenshot_urls: RUN.screenshot_urls,
  files: RUN.files,
} as const;

export const SINK = {
  name: "finance",
  kind: "http",
  state: "closed",
  failures: 0,
  retry_at: null,
  reason: null,
  backlog: 0,
  oldest_undelivered_at: null,
  dead: 0,
  last_success_at: "2026-01-20T12:00:31.702Z",
  last_failure_at: null,
} as const;

export const TEST = {
  outcome: "delivered",
  reason: null,
  ms: 84,
  delivery: { ...DELIVERY, run_id: "test_019bdb4ad1d800000a1b2c3d", cause: "test" },
} as const;

export const PROBLEM = {
  type: "about:blank",
  title: "Bad Request",
  status: 400,
  detail: "A parameter is wrong.",
  errors: [{ parameter: "limit", message: "must be a whole number from 1 to 200" }],
} as const;

export const RUN_EVENT = { type: "run.completed", timestamp: "2026-01-20T12:00:31.540Z", data: RUN } as const;

export const ALERT_EVENT = {
  type: "relay.alert",
  timestamp: "2026-01-20T12:00:31.540Z",
  data: {
    id: "alr_019bdb3a4e5400000a1b2c3d",
    reason: "deliveries_dead",
    title: "2 deliveries are dead (crm)",
    text:
      `They are not tried again. Fix the cause, then redeliver them.\n${RUN.run_id} to crm: HTTP sink "crm" ` +
      "(https://crm.example.com) answered 404",
    count: 2,
    sinks: ["crm"],
    run_ids: [RUN.run_id],
    url: "https://relay.example.com/deliveries?state=dead",
  },
} as const;
