/** `GET /v1/runs.csv` and `/v1/runs.ndjson`: every run that fits a filter, as a file. */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { Log } from "../../platform/log.ts";
import type { Links } from "../../domain/report.ts";
import type { Runtime } from "../../platform/runtime.ts";
import { readPages } from "../../store/history/all-pages.ts";
import type { RunFilter, RunStore } from "../../store/contract/runs.ts";
import { badParameter, ExportQuery, oneOf, rowToReport, toRunFilter, guarded, slowSearch } from "./schemas.ts";
import { BYTE_ORDER_MARK } from "./csv.ts";
import { RUN_FILES } from "./run-columns.ts";
import { toStream } from "../stream.ts";

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
});

const CsvQuery = ExportQuery.safeExtend({
  bom: oneOf(["0", "1"])
    .optional()
    .openapi({
      description:
        "`1`: a byte order mark leads the file, so that Excel reads it as UTF-8. Default: none, as it would be " +
        "part of the first column's name.",
    }),
});

const csvRoute = guarded({
  operationId: "exportRunsCsv",
  method: "get",
  path: "/runs.csv",
  summary: "All runs that fit, newest first, as CSV",
  description:
    "RFC 4180, UTF-8, with a header. A cell that a spreadsheet would take for a formula is led by an apostrophe. " +
    ("`output` is JSON. A cell longer than the 32,767 characters that Excel holds is cut, with a mark that says " +
      "how long it was: ") +
    "`/v1/runs.ndjson` has all of it. Runs that arrive meanwhile are not in it.",
  request: { query: CsvQuery },
  responses: file("The file.", "text/csv", "run_id,run_type,kind,status\r\ntsk_1,task_v2,task,completed\r\n"),
});

const ndjsonRoute = guarded({
  operationId: "exportRunsNdjson",
  method: "get",
  path: "/runs.ndjson",
  summary: "All runs that fit, newest first, one JSON object a line",
  description: "Each as `GET /v1/runs` lists it. Runs that arrive meanwhile are not in it.",
  request: { query: ExportQuery },
  responses: file("The file.", "application/x-ndjson", '{"run_id":"tsk_1","status":"completed"}\n'),
});

export function mountExports(app: OpenAPIHono, parts: ExportsDeps): void {
  const answer = async (c: Context, file: Omit<RunFileRequest, "signal">) => {
    const slow = await slowSearch(c, parts.store, file.filter.search);
    if (slow) return slow;
    const { body, headers } = runFile(parts, { ...file, signal: c.req.raw.signal });
    return c.body(body, 200, headers);
  };
  app.openapi(csvRoute, (c) => {
    const { bom, ...query } = c.req.valid("query");
    return answer(c, { filter: toRunFilter(query), format: "csv", bom: bom === "1" });
  });
  app.openapi(ndjsonRoute, (c) => answer(c, { filter: toRunFilter(c.req.valid("query")), format: "ndjson" }));
}

export interface RunFileRequest {
  filter: RunFilter;
  format: keyof typeof RUN_FILES;
  /** True starts a CSV file with a byte order mark. Default: false. */
  bom?: boolean;
  /** Aborting ends the file. */
  signal: AbortSignal;
}

/** A download of all matching runs, read from the database as fast as its reader reads. */
export function runFile(
  parts: ExportsDeps,
  { filter, format, bom = false, signal }: RunFileRequest,
): { body: ReadableStream<Uint8Array>; headers: Record<string, string> } {
  const { header, lineOf } = RUN_FILES[format];
  const pieces = async function* (gone: AbortSignal) {
    if (header !== "") yield `${bom ? BYTE_ORDER_MARK : ""}${header}`;
    try {
      for await (const page of readPages(parts.store, filter, gone)) {
        let text = "";
        for (const row of page) {
          text += lineOf(rowToReport(row, parts.links));
          if (text.length < PIECE_LENGTH) continue;
          yield text;
          text = "";
        }
        if (text !== "") yield text;
      }
    } catch (error) {
      // The status has been sent, so the file breaks off, which its reader notices.
      parts.log.error("export.failed", { error: String(error) });
      throw error;
    }
  };
  const stamp = new Date(parts.runtime.now()).toISOString().replace(/\D/g, "").slice(0, 14);
  return {
    body: toStream(pieces, signal),
    headers: {
      "content-type": format === "csv" ? "text/csv; charset=utf-8; header=present" : "application/x-ndjson",
      "content-disposition": `attachment; filename="skyvern-runs-${stamp}.${format}"`,
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
    },
  };
}

/** The least characters of a chunk; small rows are sent together. */
const PIECE_LENGTH = 65_536;
