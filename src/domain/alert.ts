/** An alert: a message about the relay itself, not about a run. It goes to the sinks that the operator names for it. */
import { z } from "zod";
import { emptyReport, type Report } from "./report.ts";

export const ALERT_REASONS = ["deliveries_dead", "coverage_gap", "disk_low", "sink_down", "sink_up"] as const;
export type AlertReason = (typeof ALERT_REASONS)[number];

export const AlertSchema = z.object({
  id: z.string().meta({ description: "The same as `webhook-id`." }),
  reason: z.enum(ALERT_REASONS).meta({
    description:
      "`deliveries_dead`: deliveries that became dead since the last such message. `coverage_gap`: finished runs that were not " +
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
  return { ...emptyReport(id, "alert", now), title, summary: text, run_url: url };
}
