/** Query strings on the webhook's address label the run: people put their own ids there. */
import { describe, expect, it } from "vitest";
import { readLabels } from "../../src/domain/labels.ts";
import { anApp, type AppOptions } from "../support/app.ts";
import { atSkyvern, topLevel, WEBHOOK_URL } from "../support/at-skyvern.ts";
import { fixtureText, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const LABELS = "receive: { labels: [customer, job] }";
const aRelay = (file = LABELS, options: AppOptions = {}) =>
  anApp({}, { runtime: aRuntime(), standIns: ["slack", "http"], file, ...options });
const ID = "tsk_1";
const body = mutated("task_v1.completed", { run_id: ID, task_id: ID });

describe("the query of the webhook's address", () => {
  it.each([
    ["?customer=42&job=7", { customer: "42", job: "7" }],
    ["?job=a%20b&other=1", { job: "a b" }],
    ["?customer=&job=%20", null],
    ["", null],
    ["?%zz&customer=%E4%BA%AC", { customer: "京" }],
    ["?customer=1&customer=2", { customer: "1" }],
    [`?customer=${"x".repeat(5_000)}`, { customer: "x".repeat(200) }],
    ["?customer=%00a%ud800", { customer: "a%ud800" }],
    ["?__proto__=1&constructor=2", null],
  ])("the query %j gives the labels %j", (query, labels) => {
    expect(readLabels(["customer", "job"], query)).toEqual(labels);
  });

  it("the query of the webhook's address gives no labels where relay.yaml names none", async () => {
    const relay = await anApp();
    await relay.webhook(body, { path: "/webhook?customer=42" });
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({ labels: {} });
  });

  it("labels of the webhook's address are in the API, the message, the HTTP body and the filter", async () => {
    const relay = await aRelay();
    await relay.webhook(body, { path: "/webhook/invoices?customer=42&job=7&token=secret" });
    await relay.webhook(fixtureText("task_v2.completed"), { path: "/webhook?customer=43" });
    await relay.deliver();
    const labels = { customer: "42", job: "7" };
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({ labels, channel: "invoices" });
    // An HTTP sink takes them side by side.
    const bodies = relay.standIns.http.requests
      .map(({ body }) => body)
      .toSorted((a) => (a.includes(`"${ID}"`) ? -1 : 1));
    expect(bodies.map((body) => JSON.parse(body) as unknown)).toMatchObject([
      { data: { run_id: ID, labels } },
      { data: { labels: { customer: "43" } } },
    ]);
    expect(JSON.stringify(topLevel(relay.standIns.slack)[0]?.blocks)).toContain("customer");
    const ids = async (query: string) =>
      (await relay.read<{ data: { run_id: string }[] }>(`/v1/runs?${query}`)).data.map(({ run_id }) => run_id);
    expect(await ids("label=customer:42")).toEqual([ID]);
    expect(await ids("label=customer:42&label=customer:43")).toHaveLength(2);
    expect(await ids("label=customer:42&delivery=delivered")).toEqual([ID]);
    expect(await ids("label=customer:4")).toEqual([]);
    expect(await ids("label=customer:42&delivery=dead")).toEqual([]);
    const refused = await relay.get("/v1/runs?label=42");
    expect([refused.status, refused.text]).toEqual([400, expect.stringContaining("like customer:42")]);
  });

  it("labels of the webhook's address choose the sinks", async () => {
    const relay = await aRelay(`${LABELS}\nroutes: [{ when: { labels: { customer: ["4*", "!43"] } }, to: [http] }]`);
    await relay.webhook(body, { path: "/webhook?customer=42" });
    await relay.webhook(fixtureText("task_v2.completed"), { path: "/webhook?customer=43" });
    await relay.webhook(fixtureText("task_v3.completed"));
    await relay.deliver();
    expect(relay.standIns.http.requests).toHaveLength(1);
    const { routes } = await relay.read<{ routes: { because: string }[] }>(`/v1/runs/${ID}/why`);
    expect(routes[0]?.because).toBe("label customer is 42");
  });

  it("a run whose webhook was lost has the labels of the address that Skyvern names", async () => {
    const relay = await aRelay();
    const webhookUrl = `${WEBHOOK_URL}?customer=42`;
    relay.standIns.skyvern.addRun(atSkyvern({ id: ID, endedAt: NOW - 60_000, webhookUrl }));
    await relay.app.reconcile();
    expect(await relay.read(`/v1/runs/${ID}`)).toMatchObject({ labels: { customer: "42" }, source: "reconciled" });
  });

  it("relay.yaml may name no label that is no name, and the fault says what is expected", async () => {
    await expect(aRelay("receive: { labels: [a b] }")).rejects.toThrow(/expected a name of letters, digits/);
  });
});

describe("the filter by attempts", () => {
  it("the filter by attempts finds runs of a number of attempts, or of more", async () => {
    const relay = await aRelay();
    for (const attempt of [1, 2, 3]) {
      const id = `wr_${attempt}`;
      await relay.webhook(mutated("workflow_run.failed-minimal", { run_id: id, workflow_run_id: id, attempt }));
    }
    const ids = async (attempts: string) =>
      (await relay.read<{ data: { run_id: string }[] }>(`/v1/runs?attempts=${attempts}`)).data.map(
        ({ run_id }) => run_id,
      );
    expect(await ids("2")).toEqual(["wr_2"]);
    expect((await ids("%3E1")).toSorted()).toEqual(["wr_2", "wr_3"]);
    expect(await ids("%3E2")).toEqual(["wr_3"]);
    expect((await relay.get("/v1/runs?attempts=1")).status).toBe(400);
    expect((await relay.get("/v1/runs?attempts=many")).text).toContain("must be a number from 2 to 19");
  });
});
