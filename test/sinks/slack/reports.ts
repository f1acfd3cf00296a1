import { viaFetch } from "../../../src/net/http-client.ts";
import { silentLog, type Log } from "../../../src/platform/log.ts";
import type { Report } from "../../../src/domain/report.ts";
import { Secret } from "../../../src/platform/secret.ts";
import type { Job, Sink, SinkDeps } from "../../../src/sinks/sink.ts";
import slack from "../../../src/sinks/slack/index.ts";

/** A completed task run; name only what matters. */
export const aReport = (given: Partial<Report> = {}): Report => ({
  run_id: "tsk_v2_440790433182073998",
  run_type: "task_v2",
  kind: "task",
  status: "completed",
  reported_status: "completed",
  revision: 1,
  source: "webhook",
  organization_id: "o_1",
  channel: null,
  title: "Fetch the invoices",
  prompt: "Fetch all invoices of May",
  url: "https://shop.example/login",
  summary: null,
  app_url: "https://app.skyvern.com/runs/wr_1",
  workflow: null,
  output: null,
  failure: null,
  parameters: null,
  files: [],
  artifacts: [],
  blocks: [],
  blocks_omitted: 0,
  artifacts_status: "complete",
  recording_url: "https://relay.example/artifacts/tsk/recording?sig=1",
  screenshot_urls: ["https://relay.example/artifacts/tsk/screenshot-1?sig=1"],
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
  created_at: "2026-01-20T12:00:00.000Z",
  queued_at: null,
  started_at: "2026-01-20T12:00:01.000Z",
  finished_at: "2026-01-20T12:02:06.000Z",
  received_at: "2026-01-20T12:02:07.000Z",
  duration_ms: 125_000,
  run_url: "https://relay.example/runs/tsk_v2_440790433182073998",
  ...given,
});

export const aFailure = (given: Partial<NonNullable<Report["failure"]>> = {}): Report["failure"] => ({
  reason: "The login page never loaded",
  codes: [],
  categories: [],
  errors: [],
  block: null,
  ...given,
});

export const aJob = (given: Partial<Job> = {}): Job => ({
  deliveryId: "dlv_1",
  attempt: 1,
  cause: "result",
  queuedAt: Date.parse("2026-01-20T12:00:31.512Z"),
  maybeSent: false,
  report: aReport(),
  previous: null,
  ...given,
});

export interface LogLine {
  level: string;
  event: string;
  fields: Record<string, unknown> | undefined;
}

export function keepingLog(): { log: Log; lines: LogLine[] } {
  const lines: LogLine[] = [];
  const keep = (level: string) => (event: string, fields?: Record<string, unknown>) =>
    void lines.push({ level, event, fields });
  return { log: { debug: keep("debug"), info: keep("info"), warn: keep("warn"), error: keep("error") }, lines };
}

export const deps = ({ fetch = globalThis.fetch, ...given }: Partial<SinkDeps> = {}): SinkDeps => ({
  fetch,
  request: viaFetch(fetch),
  now: Date.now,
  log: silentLog,
  ...given,
});

export const botOn = (
  { url, token }: { url: string; token: string },
  { channel = "C0123ABCD", ...given }: Partial<SinkDeps> & { channel?: string } = {},
): Sink => slack.create("ops", slack.config.parse({ token: new Secret(token), channel, api_url: url }), deps(given));

export const webhookOn = (url: string, given: Partial<SinkDeps> = {}): Sink =>
  slack.create("ops", slack.config.parse({ webhook_url: url }), deps(given));

/** A signal that never aborts. */
export const never = (): AbortSignal => new AbortController().signal;
