/** An alert: a message about the relay itself, not about a run. It goes to the sinks that the operator names for it. */
import { z } from "zod";
import type { Report } from "./report.ts";

export const ALERT_REASONS = ["deliveries_dead", "coverage_gap", "disk_low", "sink_down", "sink_up"] as const;
export type AlertReason = (typeof ALERT_REASONS)[number];

export const AlertSchema = z.object({
  id: z.string().meta({ description: "As `webhook-id`." }),
  reason: z.enum(ALERT_REASONS).meta({
    description:
      "`deliveries_dead`: given up since the last such message. `coverage_gap`: finished runs that were not " +
      "delivered to every sink. `disk_low`: the database's disk is almost full. `sink_down`, `sink_up`: a sink " +
      "has failed for long, or has recovered.",
  }),
  title: z.string(),
  text: z.string(),
  count: z.int().meta({ description: "How many deliveries, runs or sinks; 1 for the disk." }),
  sinks: z.array(z.string()).meta({ description: "The sinks it is about." }),
  run_ids: z.array(z.string()).meta({ description: "Some of the runs it is about, at most 10." }),
  url: z.string().meta({ description: "The relay's page about it." }),
});
export type Alert = z.output<typeof AlertSchema>;

/** The alert as a report, for sinks that write for people. The job's cause `alert` says that no run is behind it. */
export function alertReport({ id, title, text, url }: Alert, now: string): Report {
  const nothing = { organization_id: null, channel: null, url: null, app_url: null, workflow: null, failure: null };
  return {
    run_id: id,
    run_type: "alert",
    kind: "task",
    status: "alert",
    reported_status: "alert",
    revision: 1,
    source: "webhook",
    ...nothing,
    title,
    prompt: null,
    summary: text,
    output: null,
    parameters: null,
    files: [],
    artifacts: [],
    blocks: [],
    blocks_omitted: 0,
    artifacts_status: "complete",
    recording_url: null,
    screenshot_urls: [],
    step_count: null,
    attempt: 1,
    attempts: [],
    next_attempt_at: null,
    created_at: now,
    queued_at: null,
    started_at: null,
    finished_at: null,
    received_at: now,
    duration_ms: null,
    run_url: url,
  };
}
