/** Formats runs as lines of a file. */
import type { Report } from "../../domain/report.ts";
import { csvLine } from "./csv.ts";

export interface ExportFormat {
  header: string;
  lineOf(run: Report): string;
}

type Cell = string | number | null;

/** The columns in order. New ones are added at the end. */
const COLUMNS: readonly (readonly [name: string, (run: Report) => Cell])[] = [
  ["run_id", (run) => run.run_id],
  ["run_type", (run) => run.run_type],
  ["kind", (run) => run.kind],
  ["status", (run) => run.status],
  ["reported_status", (run) => run.reported_status],
  ["revision", (run) => run.revision],
  ["source", (run) => run.source],
  ["organization_id", (run) => run.organization_id],
  ["channel", (run) => run.channel],
  ["title", (run) => run.title],
  ["prompt", (run) => run.prompt],
  ["url", (run) => run.url],
  ["summary", (run) => run.summary],
  ["workflow_permanent_id", (run) => run.workflow?.permanent_id ?? null],
  ["workflow_run_id", (run) => run.workflow?.run_id ?? null],
  ["failure_reason", (run) => run.failure?.reason ?? null],
  ["failure_codes", (run) => run.failure?.codes.join(" ") ?? null],
  ["failure_categories", (run) => run.failure?.categories.join(" ") ?? null],
  ["step_count", (run) => run.step_count],
  ["created_at", (run) => run.created_at],
  ["queued_at", (run) => run.queued_at],
  ["started_at", (run) => run.started_at],
  ["finished_at", (run) => run.finished_at],
  ["received_at", (run) => run.received_at],
  ["duration_ms", (run) => run.duration_ms],
  ["app_url", (run) => run.app_url],
  ["run_url", (run) => run.run_url],
  ["output", (run) => (run.output === null ? null : JSON.stringify(run.output))],
  ["attempt", (run) => run.attempt],
  ["parent_run_id", (run) => run.related.parent],
  ["trigger", (run) => run.trigger],
  ["schedule_id", (run) => run.related.schedule],
  ["tags", (run) => run.tags.join(" ")],
];

/** The formats by file extension. */
export const RUN_FILES = {
  csv: {
    header: csvLine(COLUMNS.map(([name]) => name)),
    lineOf: (run) => csvLine(COLUMNS.map(([, cell]) => cell(run))),
  },
  ndjson: { header: "", lineOf: (run) => `${JSON.stringify(run)}\n` },
} satisfies Record<string, ExportFormat>;
