/** What belongs to one run: its artifacts, and why it was or was not delivered. */
import { createRoute, z, type OpenAPIHono } from "@hono/zod-openapi";
import { ReportSchema, type Links } from "../../domain/report.ts";
import { SOURCES, SUBJECTS, VERDICTS, CAUSES, DELIVERY_STATES, type Circuit, type Run } from "../../domain/run.ts";
import type { DeliveryStore } from "../../store/contract/deliveries.ts";
import type { ReceiptStore } from "../../store/contract/receipts.ts";
import type { ReconcileStore } from "../../store/contract/reconcile.ts";
import type { RunStore, StoredRun } from "../../store/contract/runs.ts";
import type { StatsStore } from "../../store/contract/stats.ts";
import { loadRelated } from "../../history/related.ts";
import { listCircuits } from "../../history/sink-health.ts";
import { explainUnknownRun } from "../../history/unknown-run.ts";
import { explain } from "../../history/why.ts";
import {
  AttemptSchema,
  closed,
  problemAnswer,
  jsonAnswer,
  noRun,
  rowToReport,
  RunParams,
  security,
  time,
} from "./schemas.ts";
import { RUN_ARTIFACTS } from "./examples.ts";
import { problem } from "../problem.ts";

export interface RunDetailDeps {
  store: Pick<RunStore, "run" | "runs"> &
    Pick<ReceiptStore, "receipts"> &
    Pick<DeliveryStore, "deliveries" | "attempts"> &
    Pick<ReconcileStore, "listedRun"> &
    Pick<StatsStore, "counts">;
  sinks: readonly { name: string }[];
  circuit(sink: string): Promise<Circuit>;
  links: Links;
  /**
   * Reads the run's artifacts from Skyvern again and saves them. Never fails; `reason` says why Skyvern's list could
   * not be read.
   */
  refresh(run: Run, signal: AbortSignal): Promise<{ reason: string | null }>;
  listEveryMs: number | null;
  /** The address for webhooks. */
  webhookUrl(): string;
}

const unknown = { 404: problemAnswer("No such run.") };

const ArtifactsSchema = z
  .object({
    data: ReportSchema.shape.artifacts.meta({
      description: "As Skyvern lists them, oldest first. The links are the relay's.",
    }),
    artifacts_status: ReportSchema.shape.artifacts_status,
    recording_url: ReportSchema.shape.recording_url,
    screenshot_urls: ReportSchema.shape.screenshot_urls,
    files: ReportSchema.shape.files,
  })
  .openapi("RunArtifacts", { example: RUN_ARTIFACTS });

const getArtifacts = createRoute({
  operationId: "getRunArtifacts",
  method: "get",
  path: "/runs/{run_id}/artifacts",
  summary: "A run's artifacts, as they are known",
  security,
  request: { params: RunParams },
  responses: {
    200: jsonAnswer(ArtifactsSchema, "The relay asks Skyvern for them at the run's first delivery."),
    ...unknown,
    ...closed,
  },
});

const refreshArtifacts = createRoute({
  operationId: "refreshRunArtifacts",
  method: "post",
  path: "/runs/{run_id}/artifacts/refresh",
  summary: "Ask Skyvern for a run's artifacts again",
  security,
  request: { params: RunParams },
  responses: {
    200: jsonAnswer(
      ArtifactsSchema.extend({
        reason: z
          .string()
          .nullable()
          .meta({ description: "Why Skyvern's list could not be read; what was known stands then." }),
      }).openapi("RefreshedArtifacts", { example: { ...RUN_ARTIFACTS, reason: null } }),
      "As they are known now. It may take as long as `delivery.artifacts_wait`.",
    ),
    ...unknown,
    ...closed,
  },
});

const text = z.string().nullable();

const WhySchema = z
  .object({
    run_id: z.string(),
    title: text,
    status: z.string(),
    revision: z.int(),
    summary: z.array(z.string()).meta({ description: "The answer in sentences." }),
    receipts: z.array(
      z.object({
        id: z.string(),
        received_at: time,
        key: text.meta({ description: "Name of the key that signed it; null when Skyvern's API was asked." }),
        source: z.enum(SOURCES),
        channel: text,
        reported_status: text,
        verdict: z.enum(VERDICTS),
        note: text,
        copies: z.int(),
      }),
    ),
    routes: z
      .array(z.object({ route: z.string(), matched: z.boolean(), because: z.string() }))
      .meta({ description: "The result of each route when sinks were last chosen." }),
    deliveries: z.array(
      z.object({
        id: z.string(),
        sink: z.string(),
        kind: z.string(),
        subject: z.enum(SUBJECTS),
        cause: z.enum(CAUSES),
        revision: z.int(),
        state: z.enum(DELIVERY_STATES),
        created_at: time,
        delivered_at: time.nullable(),
        next_attempt_at: time.nullable(),
        last_error: text,
        permalink: text.meta({ description: "The link to the Slack message." }),
        message_id: text.meta({ description: "The mail's Message-ID." }),
        http_status: z.int().nullable(),
        attempts: z.array(AttemptSchema),
      }),
    ),
    timeline: z
      .array(z.object({ at: time, who: z.string(), what: z.string(), details: z.array(z.string()) }))
      .meta({ description: "Everything in the order of time." }),
  })
  .openapi("Why", {
    example: {
      run_id: "tsk_v2_565346328529285494",
      title: "Invoices",
      status: "completed",
      revision: 1,
      summary: ["Delivered to finance at 2026-01-20T12:00:33.020Z."],
      receipts: [
        {
          id: "rcp_019bd1a2b3c400000a1b2c3d",
          received_at: "2026-01-20T12:00:31.512Z",
          key: "acme",
          source: "webhook",
          channel: null,
          reported_status: "completed",
          verdict: "accepted",
          note: null,
          copies: 1,
        },
      ],
      routes: [
        { route: "failures", matched: false, because: "status is completed, not failed" },
        { route: "invoices", matched: true, because: 'workflow is wpid_490440779503357998 ("Invoices")' },
      ],
      deliveries: [],
      timeline: [{ at: "2026-01-20T12:00:31.512Z", who: "Relay", what: "Result accepted", details: [] }],
    },
  });

const getWhy = createRoute({
  operationId: "getRunWhy",
  method: "get",
  path: "/runs/{run_id}/why",
  summary: "Explain why a run was or was not delivered",
  security,
  request: { params: RunParams },
  responses: {
    200: jsonAnswer(
      WhySchema,
      "When it was received and which key signed it, what was decided and why, the result of each route, and " +
        "every attempt.",
    ),
    404: problemAnswer("No such run. `detail` says where to look."),
    ...closed,
  },
});

/** More than any run has. */
const MAX_DELIVERIES = 1_000;

export function mountRunDetail(app: OpenAPIHono, deps: RunDetailDeps): void {
  const { store, links } = deps;

  app.openapi(getArtifacts, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const row = await store.run(runId);
    return row === null ? noRun(c, runId) : c.json(toArtifacts(row, links), 200);
  });

  app.openapi(refreshArtifacts, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const before = await store.run(runId);
    if (before === null) return noRun(c, runId);
    const { reason } = await deps.refresh(before.state.run, c.req.raw.signal);
    const after = await store.run(runId);
    return after === null ? noRun(c, runId) : c.json({ ...toArtifacts(after, links), reason }, 200);
  });

  app.openapi(getWhy, async (c) => {
    const { run_id: runId } = c.req.valid("param");
    const stored = await store.run(runId);
    if (stored === null) {
      const [listedRun, { unrecognized }] = await Promise.all([store.listedRun(runId), store.counts()]);
      const lines = explainUnknownRun(JSON.stringify(runId.slice(0, 100)), {
        listedRun,
        unrecognized,
        webhookUrl: deps.webhookUrl(),
        listEveryMs: deps.listEveryMs,
      });
      return problem(c, 404, lines.join(" "));
    }
    const deliveries = (await store.deliveries({ runId }, { limit: MAX_DELIVERIES })).toReversed();
    const attempts = await store.attempts(deliveries.map(({ id }) => id));
    const [receipts, circuits] = await Promise.all([store.receipts(runId), listCircuits(deps)]);
    const why = explain({ stored: await loadRelated(store, stored), receipts, deliveries, attempts, circuits });
    return c.json(why as z.output<typeof WhySchema>, 200);
  });
}

const toArtifacts = (row: StoredRun, links: Links): z.output<typeof ArtifactsSchema> => {
  const { artifacts: data, artifacts_status, recording_url, screenshot_urls, files } = rowToReport(row, links);
  return { data, artifacts_status, recording_url, screenshot_urls, files };
};
