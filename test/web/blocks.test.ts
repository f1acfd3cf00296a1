/** What a page and an HTTP event say of a workflow run's blocks, from Skyvern's timeline to the reader. */
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Json, JsonObject } from "../../src/platform/json.ts";
import { fixtureJson } from "../support/fixtures.ts";
import { aReader, aRelay, type Reader, type Relay } from "./relay.ts";

const TIMELINE = JSON.parse(
  readFileSync(new URL("../fixtures/api.run-timeline.workflow_run-1.0.56.json", import.meta.url), "utf8"),
) as { block: Record<string, unknown> }[];

let relay: Relay;
let reader: Reader;
beforeEach(async () => {
  relay = await aRelay();
  reader = await aReader(relay);
});
afterEach(() => relay.close());

/** A run whose second block failed, as its timeline says. */
async function aFailedRun(timeline: readonly unknown[]) {
  const payload: JsonObject = { ...fixtureJson("workflow_run.failed"), failure_category: [{ category: "UNKNOWN" }] };
  const id = String(payload["run_id"]);
  relay.skyvern.addRun({ payload, timeline: timeline as Json[] });
  await relay.webhook(payload);
  await relay.app.deliverDue();
  const event = JSON.parse(relay.sinkBodies.at(-1) ?? "") as { data: Record<string, Json> };
  return { id, event: event.data, page: await reader.page(`/runs/${id}`) };
}

const broken = TIMELINE.map((row) =>
  row.block["label"] === "get_pdf"
    ? { ...row, block: { ...row.block, status: "failed", failure_reason: "The button <b>is gone</b>." } }
    : row,
);

it("a failed run's page and its HTTP event lead with the failed block", async () => {
  const { event, page } = await aFailedRun(broken);
  expect(event["failure"]).toMatchObject({ block: { label: "get_pdf", type: "file_download", index: 2, of: 7 } });
  expect(page).toContain("Failed at get_pdf (block 2 of 7)");
  expect(page).not.toContain("UNKNOWN");
});

it("a failing block has its place among all blocks of the workflow, also those that did not begin", async () => {
  const loop = { label: "each", loop_blocks: [{ label: "look_up" }, { label: "each_else" }] };
  const rest = ["open", "get_pdf", "read_invoice", "pay", "file", "tell", "check"].map((label) => ({ label }));
  const workflow = { workflow_definition: { blocks: [...rest, loop] } };
  relay.skyvern.faults.push({ on: /workflows\/wpid_\w+$/, status: 200, body: JSON.stringify(workflow) });
  const { event, page } = await aFailedRun(broken);
  expect(event["failure"]).toMatchObject({ block: { index: 2, of: 10 } });
  expect(page).toContain("Failed at get_pdf (block 2 of 10)");
});

it("the page lists the blocks of a run in the order in which they began, with their reasons as text", async () => {
  const { event, page } = await aFailedRun(broken);
  const labels = ["open", "get_pdf", "read_invoice", "each", "look_up", "check"];
  const card = page.slice(page.indexOf('id="blocks"'));
  const places = labels.map((label) => card.indexOf(`>${label}<`));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places[0]).toBeGreaterThan(0);
  expect(page).toContain("The button &lt;b&gt;is gone&lt;/b&gt;.");
  expect(event["blocks"]).toHaveLength(9);
});

it("the page of a run shows its outcome, then its blocks, then its deliveries, and folds the technical story", async () => {
  const { page } = await aFailedRun(broken);
  const order = ["Failed at get_pdf", "<h1", 'id="failure"', 'class="decisive"', 'id="blocks"', 'id="deliveries"'];
  const places = [...order, "Technical story", "Result accepted"].map((part) => page.indexOf(part));
  expect(places).toEqual(places.toSorted((a, b) => a - b));
  expect(places[0]).toBeGreaterThan(0);
  expect(page).toMatch(/<details class="card fold">\s*<summary>Technical story/);
});

it("the page folds all but the last twenty blocks", async () => {
  const many = Array.from({ length: 45 }, (_, i) => ({
    type: "block",
    block: { label: `step_${i}`, block_type: "code", status: "completed", created_at: `2026-11-28T15:00:${10 + i}` },
  }));
  const { page } = await aFailedRun(many.toReversed());
  const fold = page.indexOf("25 earlier blocks");
  expect(fold).toBeGreaterThan(page.indexOf('id="blocks"'));
  const end = page.indexOf("</details>", fold);
  expect(page.indexOf(">step_24<")).toBeLessThan(end);
  expect(page.indexOf(">step_25<")).toBeGreaterThan(end);
});

it("a run whose timeline is missing or has another shape is shown without blocks", async () => {
  relay.skyvern.faults.push({ on: /timeline$/, status: 200, body: '{"no":"timeline"}' });
  const { event, page } = await aFailedRun([]);
  expect(event["blocks"]).toEqual([]);
  expect(event["failure"]).toMatchObject({ block: null });
  expect(page).not.toContain('id="blocks"');
});
