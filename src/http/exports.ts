/** `GET /v1/runs.csv` and `/v1/runs.ndjson`: every run that fits a filter, as a file. */
import { setImmediate } from "node:timers/promises";
import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Log } from "../log.ts";
import type { Links, Report } from "../report.ts";
import type { Runtime } from "../runtime.ts";
import type { Page, RunFilter, RunPage, Store, StoredRun } from "../store/store.ts";
import { badParameter, closed, ExportQuery, reportOf, runFilterOf, security } from "./api.ts";
import { csvLine } from "./csv.ts";
import { streamOf } from "./stream.ts";

export interface ExportsParts {
  store: Pick<Store, "runs">;
  links: Links;
  runtime: Pick<Runtime, "now">;
  log: Log;
}

const file = (description: string, type: string, example: string) => ({
  200: {
    description,
    headers: z.object({ "content-disposition": z.string().openapi({ description: "A file name." }) }),
    content: { [type]: { schema: z.string(), example } },
  },
  ...badParameter,
  ...closed,
});

const csvRoute = createRoute({
  operationId: "exportRunsCsv",
  method: "get",
  path: "/runs.csv",
  summary: "All runs that fit, newest first, as CSV",
  description:
    "RFC 4180, UTF-8, with a header. A cell that a spreadsheet would take for a formula is led by an apostrophe. " +
    "`output` is JSON. Runs that arrive meanwhile are not in it.",
  security,
  request: { query: ExportQuery },
  responses: file("The file.", "text/csv", "run_id,run_type,kind,status\r\ntsk_1,task_v2,task,completed\r\n"),
});

const ndjsonRoute = createRoute({
  operationId: "exportRunsNdjson",
  method: "get",
  path: "/runs.ndjson",
  summary: "All runs that fit, newest first, one JSON object a line",
  description: "Each as `GET /v1/runs` lists it. Runs that arrive meanwhile are not in it.",
  security,
  request: { query: ExportQuery },
  responses: file("The file.", "application/x-ndjson", '{"run_id":"tsk_1","status":"completed"}\n'),
});

export function mountExports(app: OpenAPIHono, parts: ExportsParts): void {
  const answer = (c: Context, filter: RunFilter, ending: "csv" | "ndjson", textOf: (report: Report) => string) => {
    const pieces = async function* (signal: AbortSignal) {
      if (ending === "csv") yield HEADER;
      try {
        for await (const page of pagesOf(parts.store, filter, signal)) {
          let text = "";
          for (const row of page) {
            text += textOf(reportOf(row, parts.links));
            if (text.length < PIECE_LENGTH) continue;
            yield text;
            text = "";
          }
          if (text !== "") yield text;
        }
      } catch (error) {
        // The status has gone: the file breaks off, which its reader sees.
        parts.log.error("export.failed", { error: String(error) });
        throw error;
      }
    };
    const stamp = new Date(parts.runtime.now()).toISOString().replace(/\D/g, "").slice(0, 14);
    return c.body(streamOf(pieces, c.req.raw.signal), 200, {
      "content-type": ending === "csv" ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson",
      "content-disposition": `attachment; filename="skyvern-runs-${stamp}.${ending}"`,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    });
  };
  app.openapi(csvRoute, (c) => answer(c, runFilterOf(c.req.valid("query")), "csv", csvOf));
  app.openapi(ndjsonRoute, (c) =>
    answer(c, runFilterOf(c.req.valid("query")), "ndjson", (report) => `${JSON.stringify(report)}\n`),
  );
}

/** Characters; small rows are sent together. */
const PIECE_LENGTH = 65_536;
/** So many runs are in memory at one time, or fewer that are large. */
const PAGE_SIZE = 50;

/** Until the last page, or until the signal aborts. Between pages everybody else gets their turn. */
async function* pagesOf(
  store: Pick<Store, "runs">,
  filter: RunFilter,
  signal: AbortSignal,
): AsyncGenerator<StoredRun[], void> {
  for (let after: Page["after"] | null = null; !signal.aborted;) {
    const { runs, next }: RunPage = await store.runs(filter, { limit: PAGE_SIZE, ...(after ? { after } : {}) });
    yield runs;
    if (next === null) return;
    after = next;
    await setImmediate();
  }
}

type Cell = string | number | null;

/** The columns in their order. New ones are added at the end. */
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
];

const HEADER = csvLine(COLUMNS.map(([name]) => name));
const csvOf = (report: Report): string => csvLine(COLUMNS.map(([, cell]) => cell(report)));
