import { OpenAPIHono } from "@hono/zod-openapi";
import { wrongParameters } from "../problem.ts";
import { mountDeliveries, type DeliveriesDeps } from "./deliveries.ts";
import { mountEvents, type EventsDeps } from "./events.ts";
import { mountExports, type ExportsDeps } from "./exports.ts";
import { mountReceipts, type ReceiptsDeps } from "./receipts.ts";
import { mountRunDetail, type RunDetailDeps } from "./run-detail.ts";
import { mountRuns, type RunsDeps } from "./runs.ts";
import { toFieldErrors } from "./schemas.ts";
import { mountSinks, type SinksDeps } from "./sinks.ts";
import { mountStatistics, type StatisticsDeps } from "./statistics.ts";

export interface HistoryDeps
  extends RunsDeps, DeliveriesDeps, RunDetailDeps, ExportsDeps, SinksDeps, StatisticsDeps, EventsDeps {
  store: RunsDeps["store"] &
    ReceiptsDeps["store"] &
    DeliveriesDeps["store"] &
    RunDetailDeps["store"] &
    ExportsDeps["store"] &
    SinksDeps["store"] &
    StatisticsDeps["store"] &
    EventsDeps["store"];
  sinks: readonly { name: string; kind: string }[];
  runtime: DeliveriesDeps["runtime"] & EventsDeps["runtime"];
}

/** The history API below `/v1`. The caller puts the token check in front of it. */
export function createHistory(deps: HistoryDeps): OpenAPIHono {
  const app = new OpenAPIHono({
    strict: false,
    defaultHook: (result, c) => {
      if (!result.success) return wrongParameters(c, toFieldErrors(result.error.issues));
    },
  });

  mountRuns(app, deps);
  mountReceipts(app, deps);
  mountDeliveries(app, deps);
  mountRunDetail(app, deps);
  mountExports(app, deps);
  mountSinks(app, deps);
  mountStatistics(app, deps);
  mountEvents(app, deps);

  return app;
}
