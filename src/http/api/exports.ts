/** `GET /v1/runs.csv` and `/v1/runs.ndjson`: every run that fits a filter, as a file. */
import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Log } from "../../platform/log.ts";
import type { Links } from "../../domain/report.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { pagesOf } from "../../store/history/all-pages.ts";
import type { RunFilter, RunStore } from "../../store/contract/runs.ts";
import { badParameter, closed, ExportQuery, reportOf, runFilterOf, security, slowSearch } from "./schemas.ts";
import { RUN_FILES } from "./run-columns.ts";
import { streamOf } from "../stream.ts";

export interface ExportsDeps {
  store: Pick<RunStore, "runs" | "searchFault">;
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

export function mountExports(app: OpenAPIHono, deps: ExportsDeps): void {
  const answer = async (c: Context, filter: RunFilter, ending: keyof typeof RUN_FILES) => {
    const slow = await slowSearch(c, deps.store, filter.search);
    if (slow) return slow;
    const { header, lineOf } = RUN_FILES[ending];
    const pieces = async function* (signal: AbortSignal) {
      if (header !== "") yield header;
      try {
        for await (const page of pagesOf(deps.store, filter, signal)) {
          let text = "";
          for (const row of page) {
            text += lineOf(reportOf(row, deps.links));
            if (text.length < PIECE_LENGTH) continue;
            yield text;
            text = "";
          }
          if (text !== "") yield text;
        }
      } catch (error) {
        // The status has gone: the file breaks off, which its reader sees.
        deps.log.error("export.failed", { error: String(error) });
        throw error;
      }
    };
    const stamp = new Date(deps.runtime.now()).toISOString().replace(/\D/g, "").slice(0, 14);
    return c.body(streamOf(pieces, c.req.raw.signal), 200, {
      "content-type": ending === "csv" ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson",
      "content-disposition": `attachment; filename="skyvern-runs-${stamp}.${ending}"`,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    });
  };
  app.openapi(csvRoute, (c) => answer(c, runFilterOf(c.req.valid("query")), "csv"));
  app.openapi(ndjsonRoute, (c) => answer(c, runFilterOf(c.req.valid("query")), "ndjson"));
}

/** Characters; small rows are sent together. */
const PIECE_LENGTH = 65_536;
