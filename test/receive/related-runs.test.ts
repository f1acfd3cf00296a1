/** A run says which others belong to it. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { StandInRun } from "../../src/stand-ins/skyvern.ts";
import { anApp, type AppOptions, type TestApp } from "../support/app.ts";
import { aRuntime } from "../support/runtime.ts";
import { topLevel } from "../support/at-skyvern.ts";
import { mutated } from "../support/fixtures.ts";

const CHILD = "wr_602138154398943446";

it("a workflow run names the runs that its blocks started, by a genuine body of Skyvern 1.0.56", async () => {
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

function aChild(id: string) {
  return { workflow_run_id: id, workflow_permanent_id: "wpid_2", status: "completed", outputs: {} };
}

it.each([
  [{ value: { workflow_run_id: "wr_2", workflow_permanent_id: "wpid_2", status: "failed", outputs: null } }, ["wr_2"]],
  [{ value: { workflow_run_id: "wr_2", status: "failed" } }, []],
  [{ value: { workflow_run_id: 7, workflow_permanent_id: "wpid_2", outputs: {} } }, []],
  [
    { round: [[{ loop_value: 1, output_value: aChild("wr_2") }], [{ loop_value: 2, output_value: aChild("wr_3") }]] },
    ["wr_2", "wr_3"],
  ],
  [{ value: { ...aChild("wr_2"), outputs: { inner: aChild("wr_3") } } }, ["wr_2"]],
  [[aChild("wr_2")], []],
])("the output %j names the children %j", async (output, children) => {
  const relay = await anApp();
  await relay.webhook(mutated("workflow_run.failed-minimal", { run_id: "wr_1", workflow_run_id: "wr_1", output }));
  expect(await relay.read("/v1/runs/wr_1")).toMatchObject({ related: { children } });
});

it("a run names the run that it tries anew, what it cost, and whether the agent took over from a script", async () => {
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

describe("the origin of a workflow run", () => {
  const CHILD_BODY = readFileSync(
    new URL("../fixtures/webhook.workflow_run.completed-child-1.0.56.json", import.meta.url),
  );
  const KNOWN: Partial<StandInRun> = {
    trigger_type: "scheduled",
    schedule: "wfs_602138154398943432",
    parent: "wr_602138154398943416",
    tags: [
      { key: null, value: "nightly" },
      { key: "customer", value: "42" },
      { key: "password", value: "hunter2-of-the-portal" },
    ],
  };

  async function aRelay(options: AppOptions = {}) {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime, standIns: ["slack", "smtp", "http"], ...options });
    const add = (more: Partial<StandInRun>) =>
      relay.standIns.skyvern.addRun({ payload: JSON.parse(CHILD_BODY.toString()) as StandInRun["payload"], ...more });
    return { relay, runtime, add };
  }

  const read = (relay: TestApp) => relay.read(`/v1/runs/${CHILD}`);
  const questions = (relay: TestApp): string[] =>
    relay.standIns.skyvern.calls.flatMap(({ path }) => (/\/(tags|workflows\/.*\/runs)$/.test(path) ? [path] : []));

  it("the origin of a workflow run is asked for once for all sinks, before the first message, and stands in every place", async () => {
    const { relay, add } = await aRelay();
    add(KNOWN);
    await relay.webhook(CHILD_BODY);
    expect(questions(relay)).toEqual([]);
    await relay.deliver();
    expect(await read(relay)).toMatchObject({
      related: { parent: "wr_602138154398943416", schedule: "wfs_602138154398943432", group: null },
      trigger: "scheduled",
      tags: ["nightly", "customer:42", "password:[redacted]"],
      revision: 1,
      receipts: [{ verdict: "accepted" }],
    });
    expect(questions(relay).toSorted()).toEqual([
      `/v1/runs/${CHILD}/tags`,
      "/v1/workflows/wpid_602138154398943406/runs",
    ]);
    const { slack, smtp, http } = relay.standIns;
    const [message, ...more] = topLevel(slack);
    expect(more).toEqual([]);
    expect(message?.edits).toEqual([]);
    for (const text of [JSON.stringify(message?.blocks), smtp.messages[0]?.raw.replaceAll("=\r\n", "")]) {
      expect(text?.replaceAll("\u2060", "")).toMatch(/nightly.*customer:42.*started by .*wr_602138154398943416/s);
    }
    expect(http.requests.map(({ body }) => JSON.parse(body) as unknown)).toMatchObject([
      { data: { trigger: "scheduled", tags: ["nightly", "customer:42", "password:[redacted]"] } },
    ]);
    const { timeline } = await relay.read<{ timeline: { what: string; details: string[] }[] }>(`/v1/runs/${CHILD}/why`);
    expect(timeline.find(({ what }) => what === "Run created")?.details).toEqual([
      "Trigger: scheduled",
      "Schedule: wfs_602138154398943432",
      "Started by the run: wr_602138154398943416",
      "Tags: nightly, customer:42, password:[redacted]",
    ]);
  });

  it("the origin of a workflow run is not asked for again when the run has none", async () => {
    const { relay, add } = await aRelay();
    add({});
    await relay.webhook(CHILD_BODY);
    await relay.deliver();
    await relay.post(`/v1/runs/${CHILD}/redeliver`, {});
    await relay.deliver();
    expect(questions(relay)).toHaveLength(2);
  });

  it("the origin of a workflow run holds no message up; Skyvern is asked again later, and messages are edited", async () => {
    const { relay, runtime, add } = await aRelay();
    add(KNOWN);
    const { faults } = relay.standIns.skyvern;
    faults.push({ on: /tags$/, status: 503, times: 100 });
    await relay.webhook(CHILD_BODY);
    await relay.deliver();
    expect(topLevel(relay.standIns.slack)).toHaveLength(1);
    expect(await read(relay)).toMatchObject({ tags: [] });
    faults.splice(0);
    runtime.advance(60_000);
    await relay.app.followUp();
    await relay.deliver();
    expect(await read(relay)).toMatchObject({
      trigger: "scheduled",
      tags: ["nightly", "customer:42", "password:[redacted]"],
    });
    const [message] = topLevel(relay.standIns.slack);
    expect(message?.edits.length).toBeGreaterThan(0);
    expect(JSON.stringify(message?.blocks)).toContain("nightly");
  });

  it.each([
    ["tells of no such call", { status: 404 }],
    ["forbids tags", { status: 403, body: '{"detail":"Workflow tagging is not enabled for this organization."}' }],
  ])("the origin of a workflow run is known without tags where Skyvern %s", async (_name, fault) => {
    const { relay, add } = await aRelay();
    add(KNOWN);
    relay.standIns.skyvern.faults.push({ on: /tags$/, ...fault });
    await relay.webhook(CHILD_BODY);
    await relay.deliver();
    expect(await read(relay)).toMatchObject({ trigger: "scheduled", tags: [] });
    expect(questions(relay)).toHaveLength(2);
  });

  it("the origin of a workflow run stays when Skyvern reports the run once more", async () => {
    const { relay, add } = await aRelay();
    add(KNOWN);
    await relay.webhook(CHILD_BODY);
    await relay.deliver();
    const later = {
      ...(JSON.parse(CHILD_BODY.toString()) as object),
      status: "failed",
      modified_at: "2027-01-01T00:00:00",
    };
    await relay.webhook(JSON.stringify({ ...later, finished_at: "2027-01-01T00:00:00" }));
    expect(await read(relay)).toMatchObject({
      status: "failed",
      trigger: "scheduled",
      tags: ["nightly", "customer:42", "password:[redacted]"],
    });
  });

  it("origins are asked for at a bounded rate, and beyond it messages go out without", async () => {
    const { relay, runtime } = await aRelay({ standIns: ["http"] });
    const runIds = Array.from({ length: 60 }, (_none, i) => `wr_${i}`);
    const aBody = (run_id: string) =>
      JSON.stringify({ ...(JSON.parse(CHILD_BODY.toString()) as object), run_id, workflow_run_id: run_id });
    for (const runId of runIds) await relay.webhook(aBody(runId));
    await relay.deliver();
    expect(relay.standIns.http.requests).toHaveLength(60);
    expect(questions(relay).filter((path) => path.endsWith("/tags"))).toHaveLength(50);
    runtime.advance(1_000);
    await relay.webhook(aBody("wr_later"));
    await relay.deliver();
    expect(questions(relay)).toContain("/v1/runs/wr_later/tags");
  });

  it("the id of a run that a schedule started tells its origin", async () => {
    const { relay } = await aRelay();
    const file = new URL("../fixtures/webhook.workflow_run.completed-scheduled-1.0.56.json", import.meta.url);
    await relay.webhook(readFileSync(file));
    expect(await relay.read("/v1/runs/wr_sched_e1b23a34d84dc151dba02117c7c384e4")).toMatchObject({
      trigger: "scheduled",
    });
  });
});

describe("a parent and its child", () => {
  const [PARENT_BODY, CHILD_BODY] = ["parent", "child"].map((name) =>
    readFileSync(new URL(`../fixtures/webhook.workflow_run.completed-${name}-1.0.56.json`, import.meta.url)),
  ) as [Buffer, Buffer];
  const PARENT = "wr_602138154398943416";
  const without = (body: Buffer) => ({ ...(JSON.parse(body.toString()) as object), output: null, outputs: null });

  const known: Record<string, { parent: string | Buffer; row: boolean }> = {
    "the parent's output alone": { parent: PARENT_BODY, row: false },
    "the child's row alone": { parent: JSON.stringify(without(PARENT_BODY)), row: true },
    both: { parent: PARENT_BODY, row: true },
  };

  it.each(Object.keys(known))(
    "a parent and its child are linked both ways, known from %s, in any order, multiplicity and time of asking",
    async (from) => {
      const { parent = "", row = false } = known[from] ?? {};
      const acts = fc.array(fc.constantFrom("parent", "child", "deliver"), { maxLength: 6 });
      await fc.assert(
        fc.asyncProperty(acts, fc.boolean(), async (first, isParentFirst) => {
          const relay = await anApp({}, { standIns: ["http"] });
          const add = (body: string | Buffer, more: Partial<StandInRun>) =>
            relay.standIns.skyvern.addRun({ payload: JSON.parse(body.toString()) as StandInRun["payload"], ...more });
          add(parent, {});
          add(CHILD_BODY, row ? { parent: PARENT } : {});
          const last = isParentFirst ? ["parent", "child"] : ["child", "parent"];
          for (const act of [...first, ...last, "deliver"]) {
            if (act === "deliver") await relay.deliver();
            else await relay.webhook(act === "parent" ? parent : CHILD_BODY);
          }
          expect(await relay.read(`/v1/runs/${CHILD}`)).toMatchObject({ related: { parent: PARENT, children: [] } });
          expect(await relay.read(`/v1/runs/${PARENT}`)).toMatchObject({
            related: { parent: null, children: [CHILD] },
          });
          const pages = await Promise.all([CHILD, PARENT].map((id) => relay.get(`/v1/runs?related=${id}`)));
          expect(pages.map(({ status }) => status)).toEqual([200, 200]);
          await relay.stop();
        }),
        { numRuns: 12, seed: 20_261_129 },
      );
    },
  );
});

it("the lists filter by trigger, schedule, tag and related runs", async () => {
  const relay = await anApp({}, { standIns: ["http"] });
  const body = readFileSync(
    new URL("../fixtures/webhook.workflow_run.completed-child-1.0.56.json", import.meta.url),
  ).toString();
  relay.standIns.skyvern.addRun({
    payload: JSON.parse(body) as StandInRun["payload"],
    trigger_type: "scheduled",
    schedule: "wfs_1",
    parent: "wr_1",
    tags: [{ key: "customer", value: "Jansen & Co" }],
  });
  await relay.webhook(body);
  await relay.webhook(mutated("workflow_run.failed-minimal", { run_id: "wr_9", workflow_run_id: "wr_9" }));
  await relay.deliver();
  const ids = async (query: string) =>
    (await relay.read<{ data: { run_id: string }[] }>(`/v1/runs?${query}`)).data.map(({ run_id }) => run_id);
  for (const query of ["trigger=scheduled", "schedule=wfs_1", "tag=customer:Jansen%20%26%20Co", "related=wr_1"]) {
    expect(await ids(query), query).toEqual([CHILD]);
  }
  for (const query of ["trigger=api", "schedule=wfs_2", "tag=Jansen%20%26%20Co", "related=wr_2"])
    expect(await ids(query), query).toEqual([]);
});
