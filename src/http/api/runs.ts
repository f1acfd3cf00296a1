/** Runs: the list, and one with its deliveries and receipts. */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import type { Context, TypedResponse } from "hono";
import type { Links } from "../../domain/report.ts";
import { loadStory, type StoryStore } from "../../history/load-story.ts";
import { attemptJson } from "../../history/why.ts";
import { mapInTurns } from "../../platform/yielding.ts";
import type { RunStore } from "../../store/contract/runs.ts";
import {
  badParameter,
  deliveryJson,
  slowSearch,
  problemAnswer,
  jsonAnswer,
  noRun,
  receiptJson,
  rowToReport,
  RunDetailSchema,
  toRunFilter,
  RunParams,
  RunSchema,
  RunsQuery,
  writeCursor,
  guarded,
} from "./schemas.ts";

export interface RunsDeps {
  store: StoryStore & Pick<RunStore, "searchFault">;
  links: Links;
}

const RunsSchema = z.object({ data: z.array(RunSchema), next_cursor: z.string().nullable() });

const listRuns = guarded({
  operationId: "listRuns",
  method: "get",
  path: "/runs",
  summary: "Runs, newest first",
  request: { query: RunsQuery },
  responses: {
    200: jsonAnswer(RunsSchema, "One page."),
    ...badParameter,
  },
});

const getRun = guarded({
  operationId: "getRun",
  method: "get",
  path: "/runs/{run_id}",
  summary: "One run, with its deliveries and receipts",
  request: { params: RunParams },
  responses: { 200: jsonAnswer(RunDetailSchema, "The run."), 404: problemAnswer("No such run.") },
});

export function mountRuns(app: OpenAPIHono, { store, links }: RunsDeps): void {
  app.openapi(listRuns, async (c) => {
    const { limit, cursor: after, ...filter } = c.req.valid("query");
    const slow = await slowSearch(c, store, filter.q);
    if (slow) return slow;
    const { runs, next } = await store.runs(toRunFilter(filter), { limit, ...(after ? { after } : {}) });
    const data = await mapInTurns(runs, (row) => JSON.stringify(rowToReport(row, links)));
    const text = `{"data":[${data.join(",")}],"next_cursor":${JSON.stringify(next && writeCursor(next))}}`;
    return written(c, text);
  });

  app.openapi(getRun, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const story = await loadStory(store, runId);
    if (story === null) return noRun(c, runId);
    const { stored, receipts, deliveries } = story;
    const attempts = Map.groupBy(story.attempts, ({ delivery_id }) => delivery_id);
    return c.json(
      {
        ...rowToReport(stored, links),
        deliveries: deliveries.map((delivery) => ({
          ...deliveryJson(delivery),
          log: (attempts.get(delivery.id) ?? []).map(attemptJson),
        })),
        receipts: receipts.map(receiptJson),
      },
      200,
    );
  });
}

/** Answers like `c.json` with text that is JSON already. Node's server sends bytes faster than it converts text. */
const written = (c: Context, text: string) =>
  c.body(Buffer.from(text), 200, { "content-type": "application/json" }) as unknown as Response &
    TypedResponse<never, 200, "json">;
