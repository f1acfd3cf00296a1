import type { Outbound } from "../../src/net/http-client.ts";
import type { Report } from "../../src/domain/report.ts";
import { silentLog } from "../../src/platform/log.ts";
import type { Job, SinkDeps } from "../../src/sinks/sink.ts";

export const NOW = Date.parse("2026-01-20T12:00:31.512Z");

/** A completed workflow run. Name only what matters. */
export const aReport = (given: Partial<Report> = {}): Report => ({
  run_id: "wr_491230000000000001",
  run_type: "workflow_run",
  kind: "workflow",
  status: "completed",
  reported_status: "completed",
  revision: 1,
  source: "webhook",
  organization_id: "o_1",
  channel: null,
  title: "Download invoices",
  prompt: null,
  url: "https://portal.example.com/invoices",
  summary: "Two invoices were downloaded.",
  app_url: "https://app.skyvern.com/runs/wr_491230000000000001",
  workflow: {
    run_id: "wr_491230000000000001",
    permanent_id: "wpid_490440779503357998",
    id: "w_1",
    title: "Download invoices",
  },
  output: { total: 3, vendor: "Kaffeemühle €" },
  failure: null,
  parameters: null,
  files: [
    {
      name: "invoice.pdf",
      size: 91_000,
      checksum: null,
      artifact_id: "a_1",
      url: "https://relay.example.com/artifacts/wr_1/a_1?sig=x",
    },
  ],
  artifacts: [],
  blocks: [],
  blocks_omitted: 0,
  artifacts_status: "complete",
  recording_url: "https://relay.example.com/artifacts/wr_1/recording?sig=x",
  screenshot_urls: [],
  step_count: 7,
  related: { retried_from: null, retried_by: null, parent: null, children: [], schedule: null, group: null },
  trigger: null,
  tags: [],
  credits: null,
  ai_fallback: null,
  labels: {},
  attempt: 1,
  attempts: [],
  next_attempt_at: null,
  created_at: "2026-01-20T11:58:00.000Z",
  queued_at: null,
  started_at: "2026-01-20T11:58:10.000Z",
  finished_at: "2026-01-20T12:00:31.000Z",
  received_at: "2026-01-20T12:00:31.512Z",
  duration_ms: 141_000,
  run_url: "https://relay.example.com/runs/wr_491230000000000001",
  ...given,
});

export const aJob = ({ report, ...given }: Partial<Omit<Job, "report">> & { report?: Partial<Report> } = {}): Job => ({
  deliveryId: "dlv_019bdb1c2f3a4b5c6d7e8f90",
  attempt: 1,
  cause: "result",
  queuedAt: Date.parse("2026-01-20T12:00:31.512Z"),
  maybeSent: false,
  previous: null,
  ...given,
  report: aReport(report),
});

export const depsWith = ({ fetch, request }: Outbound): SinkDeps => ({
  fetch,
  request,
  now: () => NOW,
  log: silentLog,
});

/** For a sink that asks nobody over HTTP. */
export const noHttp: Outbound = {
  fetch: () => Promise.reject(new Error("fetch was called")),
  request: () => Promise.reject(new Error("request was called")),
};

/** A signal that never aborts. */
export const noAbort = (): AbortSignal => new AbortController().signal;
