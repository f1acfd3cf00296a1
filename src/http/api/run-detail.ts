/** What belongs to one run: its artifacts, and why it was or was not delivered. */
import { z, type OpenAPIHono } from "@hono/zod-openapi";
import { ReportSchema, type Links } from "../../domain/report.ts";
import { type Circuit, type Run } from "../../domain/run.ts";
import type { StoredRun } from "../../store/contract/runs.ts";
import { loadStory, loadUnknownRun, type StoryStore, type UnknownRunStore } from "../../history/load-story.ts";
import { listCircuits } from "../../history/sink-health.ts";
import { explainUnknownRun } from "../../history/unknown-run.ts";
import { explain, WhySchema } from "../../history/why.ts";
import { problemAnswer, jsonAnswer, noRun, rowToReport, RunParams, guarded } from "./schemas.ts";
import { RUN_ARTIFACTS } from "./examples.ts";
import { problem } from "../problem.ts";

export interface RunDetailDeps {
  store: StoryStore & UnknownRunStore;
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

const getArtifacts = guarded({
  operationId: "getRunArtifacts",
  method: "get",
  path: "/runs/{run_id}/artifacts",
  summary: "A run's artifacts, as they are known",
  request: { params: RunParams },
  responses: {
    200: jsonAnswer(ArtifactsSchema, "The relay asks Skyvern for them at the run's first delivery."),
    ...unknown,
  },
});

const refreshArtifacts = guarded({
  operationId: "refreshRunArtifacts",
  method: "post",
  path: "/runs/{run_id}/artifacts/refresh",
  summary: "Ask Skyvern for a run's artifacts again",
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
  },
});

const WhyAnswer = z.object(WhySchema.shape).openapi("Why", {
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

const getWhy = guarded({
  operationId: "getRunWhy",
  method: "get",
  path: "/runs/{run_id}/why",
  summary: "Explain why a run was or was not delivered",
  request: { params: RunParams },
  responses: {
    200: jsonAnswer(
      WhyAnswer,
      "When it was received and which key signed it, what was decided and why, the result of each route, and " +
        "every attempt.",
    ),
    404: problemAnswer("No such run. `detail` says where to look."),
  },
});

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
    const story = await loadStory(store, runId);
    if (story === null) {
      const relay = { webhookUrl: deps.webhookUrl(), listEveryMs: deps.listEveryMs };
      const known = await loadUnknownRun(store, runId, relay);
      return problem(c, 404, explainUnknownRun(JSON.stringify(runId.slice(0, 100)), known).join(" "));
    }
    return c.json(explain({ ...story, circuits: await listCircuits(deps) }), 200);
  });
}

const toArtifacts = (row: StoredRun, links: Links): z.output<typeof ArtifactsSchema> => {
  const { artifacts: data, artifacts_status, recording_url, screenshot_urls, files } = rowToReport(row, links);
  return { data, artifacts_status, recording_url, screenshot_urls, files };
};
