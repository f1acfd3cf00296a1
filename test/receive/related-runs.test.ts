/** A run says which others belong to it. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { anApp } from "../support/app.ts";
import { mutated } from "../support/fixtures.ts";

const CHILD = "wr_602138154398943446";

it("names the runs that its blocks started, by a genuine body of Skyvern 1.0.56", async () => {
  const file = new URL("../fixtures/webhook.workflow_run.completed-parent-1.0.56.json", import.meta.url);
  const body = readFileSync(file);
  const relay = await anApp();
  await relay.webhook(body);
  const { run_id } = JSON.parse(body.toString()) as { run_id: string };
  expect(await relay.read(`/v1/runs/${run_id}`)).toMatchObject({
    related: { retried_from: null, retried_by: null, children: [CHILD] },
    credits: 0,
    ai_fallback: null,
  });
});

it.each([
  [{ value: { workflow_run_id: "wr_2", workflow_permanent_id: "wpid_2", status: "failed", outputs: null } }, ["wr_2"]],
  [{ value: { workflow_run_id: "wr_2", status: "failed" } }, []],
  [{ value: { workflow_run_id: 7, workflow_permanent_id: "wpid_2", outputs: {} } }, []],
  [[{ workflow_run_id: "wr_2", workflow_permanent_id: "wpid_2", outputs: {} }], []],
])("an output of %j names the children %j", async (output, children) => {
  const relay = await anApp();
  await relay.webhook(mutated("workflow_run.failed-minimal", { run_id: "wr_1", workflow_run_id: "wr_1", output }));
  expect(await relay.read("/v1/runs/wr_1")).toMatchObject({ related: { children } });
});

it("names the run that it tries anew, what it cost, and whether the agent took over from a script", async () => {
  const relay = await anApp();
  const values = {
    run_id: "wr_2",
    workflow_run_id: "wr_2",
    retried_from_workflow_run_id: "wr_1",
    retried_by_workflow_run_id: "wr_3",
    credits_used: 12,
    script_run: { ai_fallback_triggered: true, script_id: "s_1" },
  };
  await relay.webhook(mutated("workflow_run.failed-minimal", values));
  expect(await relay.read("/v1/runs/wr_2")).toMatchObject({
    related: { retried_from: "wr_1", retried_by: "wr_3", children: [] },
    credits: 12,
    ai_fallback: true,
  });
});
