import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import type { Why } from "../../src/history/why.ts";
import { anApp, PUBLIC_URL } from "../support/app.ts";
import { fixtureBytes, fixtureJson, mutated } from "../support/fixtures.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const WORKFLOW = "wr_565255494265942522";
const aRun = (id: string, values: Record<string, unknown> = {}): string =>
  JSON.stringify({ run_id: id, status: "completed", ...values });

describe("…/artifacts", () => {
  it("GET /v1/runs/{run_id}/artifacts lists the artifacts with relay links, as the run has them", async () => {
    const relay = await anApp({}, { standIns: ["http"], skyvern: { now: () => NOW } });
    relay.standIns.skyvern.addRun({ payload: fixtureJson("workflow_run.completed") });
    await relay.webhook(fixtureBytes("workflow_run.completed"));
    expect(await relay.read(`/v1/runs/${WORKFLOW}/artifacts`)).toMatchObject({ data: [], artifacts_status: "pending" });

    await relay.deliver();

    const listed = await relay.read(`/v1/runs/${WORKFLOW}/artifacts`);
    const { artifacts, artifacts_status, recording_url, screenshot_urls, files } = await relay.read(
      `/v1/runs/${WORKFLOW}`,
    );
    expect(listed).toEqual({ data: artifacts, artifacts_status, recording_url, screenshot_urls, files });
    expect(artifacts_status).toBe("complete");
    for (const { url } of listed["data"] as { url: string }[])
      expect(url).toMatch(`${PUBLIC_URL}/artifacts/${WORKFLOW}/`);
  });

  it("POST /v1/runs/{run_id}/artifacts/refresh asks Skyvern for the artifacts again, and stores them", async () => {
    const relay = await anApp({}, { skyvern: { now: () => NOW } });
    relay.standIns.skyvern.addRun({ payload: fixtureJson("workflow_run.completed") });
    await relay.webhook(fixtureBytes("workflow_run.completed"));

    const answer = await relay.post(`/v1/runs/${WORKFLOW}/artifacts/refresh`);

    expect(answer.status).toBe(200);
    const { reason, ...refreshed } = answer.json<JsonObject>();
    expect(reason).toBeNull();
    expect(refreshed).toMatchObject({ artifacts_status: "complete" });
    expect(refreshed["data"]).not.toEqual([]);
    expect(await relay.read(`/v1/runs/${WORKFLOW}/artifacts`)).toEqual(refreshed);
  });

  it("POST /v1/runs/{run_id}/artifacts/refresh answers what is known when Skyvern cannot be asked, and says why", async () => {
    const relay = await anApp({ SKYVERN_BASE_URL: "http://127.0.0.1:9" });
    await relay.webhook(fixtureBytes("workflow_run.completed"));
    const answer = await relay.post(`/v1/runs/${WORKFLOW}/artifacts/refresh`);
    expect(answer.status).toBe(200);
    expect(answer.json()["reason"]).toMatch(/\w/);
  });

  it.each(["get", "post"] as const)(
    "%s /v1/runs/{run_id}/artifacts of an unknown run is answered 404",
    async (method) => {
      const relay = await anApp();
      const path = "/v1/runs/tsk_0/artifacts";
      const answer = method === "get" ? await relay.get(path) : await relay.post(`${path}/refresh`);
      expect([answer.status, answer.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
    },
  );
});

describe("…/why", () => {
  const file = `
routes:
  - { name: failures, when: { status: failed }, to: [slack] }
  - { name: rest, when: { status: completed }, to: [slack, http], stop: true }
  - { name: never, to: [email] }
`;
  const why = (relay: Awaited<ReturnType<typeof anApp>>, id: string) => relay.read<Why>(`/v1/runs/${id}/why`);

  it("GET /v1/runs/{run_id}/why shows the whole story: receipts, key, verdict, routes that matched and not, every attempt, proofs", async () => {
    const runtime = aRuntime();
    const relay = await anApp({}, { runtime, standIns: ["slack", "http", "smtp"], file });
    relay.standIns.http.answers.push({ status: 503, body: "busy" });
    await relay.webhook(fixtureBytes("task_v2.completed"), { path: "/webhook/billing" });
    await relay.deliver();
    runtime.advance(60_000);
    await relay.deliver();
    await relay.webhook(fixtureBytes("task_v2.completed"));

    const story = await why(relay, "tsk_v2_565346328529285494");

    expect(story).toMatchObject({ run_id: "tsk_v2_565346328529285494", status: "completed", revision: 1 });
    expect(story.receipts).toMatchObject([
      {
        received_at: new Date(NOW).toISOString(),
        key: "SKYVERN_API_KEY[1]",
        source: "webhook",
        channel: "billing",
        verdict: "accepted",
        copies: 2,
      },
    ]);
    expect(story.routes.map(({ route, matched }) => [route, matched])).toEqual([
      ["failures", false],
      ["rest", true],
      ["never", false],
    ]);
    expect(story.routes[0]?.because).toContain(", not failed");
    expect(story.routes[2]?.because).toContain("skipped: ");
    const [slack, http] = story.deliveries;
    expect(slack).toMatchObject({
      sink: "slack",
      state: "delivered",
      permalink: expect.stringMatching(/^https?:/) as string,
    });
    expect(http).toMatchObject({
      sink: "http",
      state: "delivered",
      http_status: 200,
      attempts: [
        { n: 1, outcome: "retry", reason: expect.stringContaining("503") as string },
        { n: 2, outcome: "delivered", reason: null },
      ],
    });
    expect(story.summary).toEqual([
      expect.stringMatching(/^Delivered to slack at 2026-08-23T/) as string,
      expect.stringMatching(/^Delivered to http at 2026-08-23T/) as string,
    ]);
    const what = story.timeline.map((entry) => entry.what);
    expect(what.indexOf("Run created")).toBe(0);
    expect(what.at(-1)).toMatch(/^Delivered to http \(attempt 2/);
    expect(story.timeline.map(({ at }) => at)).toEqual(story.timeline.map(({ at }) => at).toSorted());
  });

  it("GET /v1/runs/{run_id}/why has the Message-ID of a mail", async () => {
    const relay = await anApp({}, { standIns: ["smtp"] });
    await relay.webhook(fixtureBytes("task_v2.completed"));
    await relay.deliver();
    const { deliveries } = await why(relay, "tsk_v2_565346328529285494");
    expect(deliveries).toMatchObject([{ sink: "email", message_id: expect.stringMatching(/^<.+@.+>$/) as string }]);
  });

  it.each([
    ["not final", aRun("tsk_1", { status: "running" }), "", /has not ended \(running\)/],
    [
      "meant for no one",
      aRun("tsk_1"),
      "routes: [{ name: bad, when: { status: failed }, to: [http] }]",
      /no route matched/,
    ],
    ["still pending", aRun("tsk_1"), "", /Pending: not delivered to http yet: it waits for its turn/],
  ])(
    "GET /v1/runs/{run_id}/why says of a run that is %s why nothing was delivered",
    async (_what, body, routes, sentence) => {
      const relay = await anApp({}, { standIns: ["http"], file: routes });
      await relay.webhook(body);
      expect((await why(relay, "tsk_1")).summary.join("\n")).toMatch(sentence);
    },
  );

  it("GET /v1/runs/{run_id}/why says which sink will never get the run, and what the sink said", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    relay.standIns.http.answers.push({ status: 404 });
    await relay.webhook(aRun("tsk_1"));
    await relay.deliver();
    expect((await why(relay, "tsk_1")).summary[0]).toMatch(
      /^Dead: not delivered to http, and not tried again: .*404.*redeliver tsk_1 --sink http$/,
    );
  });

  it("GET /v1/runs/{run_id}/why shows a correction, and where it was delivered last", async () => {
    const relay = await anApp({}, { standIns: ["http"] });
    await relay.webhook(mutated("task_v2.failed", { finished_at: "2026-08-21T13:00:00" }));
    await relay.deliver();
    await relay.webhook(
      mutated("task_v2.failed", { status: "completed", failure_reason: null, finished_at: "2026-08-21T23:00:00" }),
    );
    await relay.deliver();
    const story = await why(relay, "tsk_v2_565361790411551118");
    expect(story.receipts.map(({ verdict }) => verdict)).toEqual(["accepted", "corrected"]);
    expect(story.summary).toHaveLength(1);
    expect(story.deliveries.map(({ cause }) => cause)).toEqual(["result", "correction"]);
  });

  it("GET /v1/runs/{run_id}/why of an unknown run is answered 404, and says where to look", async () => {
    const relay = await anApp();
    await relay.webhook('{"genuine":"but odd"}');
    const answer = await relay.get("/v1/runs/tsk_0/why");
    expect(answer.status).toBe(404);
    const { detail } = answer.json<{ detail: string }>();
    expect(detail).toContain("tsk_0");
    expect(detail).toContain(`${PUBLIC_URL}/webhook`);
    expect(detail).toContain("/v1/receipts/unrecognized");
    expect(detail).toContain("Coverage (GET /v1/stats)");
  });

  it.each([
    [true, /was to be sent here and has not arrived/],
    [false, /goes to another address, or to none.*`skyvern-relay backfill --scope all --since 20/],
  ])(
    "GET /v1/runs/{run_id}/why of an unknown run that Skyvern lists (targets this relay: %s) says so",
    async (targetsThisRelay, sentence) => {
      const relay = await anApp();
      await relay.app.store.recordListedRuns([{ runId: "tsk_0", createdAt: NOW, seenAt: NOW, targetsThisRelay }]);
      expect((await relay.get("/v1/runs/tsk_0/why")).json<{ detail: string }>().detail).toMatch(sentence);
    },
  );

  it.each(["x".repeat(5_000), "%00%1b%5b31m", "%E2%80%AE"])(
    "GET /v1/runs/{run_id}/why of %.20s does not repeat the id whole or raw",
    async (id) => {
      const relay = await anApp();
      const answer = await relay.get(`/v1/runs/${id}/why`);
      expect(answer.status).toBe(404);
      expect(answer.text.length).toBeLessThan(1_000);
      expect(answer.text).not.toContain("\u001b");
    },
  );
});
