/** A run whose webhook address Skyvern blocks is listed and not shown (contract §9): its row says how it ended. */
import { expect, it } from "vitest";
import { anApp } from "../support/app.ts";
import { atSkyvern } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const ENDED = NOW - 60_000;
const BLOCKED = {
  on: /\/v1\/runs\/wr_1$/,
  status: 400,
  body: '{"detail":"Invalid webhook_url: blocked host."}',
  times: 9,
};
const RUN = { id: "wr_1", fixture: "workflow_run.failed-minimal", status: "failed", endedAt: ENDED };

async function aRelay(publicUrl: string) {
  const relay = await anApp({ PUBLIC_URL: publicUrl }, { runtime: aRuntime(), standIns: ["http"] });
  relay.standIns.skyvern.addRun(atSkyvern({ ...RUN, webhookUrl: `${publicUrl}/webhook` }));
  relay.standIns.skyvern.faults.push(BLOCKED);
  return relay;
}

it("a run whose host Skyvern blocks is read from its row where the relay's own host is blocked, and why says so", async () => {
  const relay = await aRelay("http://relay:8080");
  expect(await relay.app.reconcile()).toMatchObject({ found: 1, faults: [] });
  await relay.deliver();
  expect(relay.standIns.http.requests).toHaveLength(1);
  expect(await relay.read("/v1/runs/wr_1")).toMatchObject({
    status: "failed",
    run_type: "workflow_run",
    finished_at: new Date(ENDED).toISOString(),
  });
  const why = JSON.stringify(await relay.read("/v1/runs/wr_1/why"));
  expect(why).toContain("Skyvern blocks the host of this run's webhook address");
  expect(await relay.app.reconcile()).toMatchObject({ found: 0 });
  expect(relay.standIns.http.requests).toHaveLength(1);
});

it("a run whose host Skyvern blocks is left where the relay has a public host, as nothing says that the run is its own", async () => {
  const relay = await aRelay("https://relay.example.com");
  expect(await relay.app.reconcile()).toMatchObject({ found: 0, faults: [] });
  expect((await relay.get("/v1/runs/wr_1")).status).toBe(404);
});
