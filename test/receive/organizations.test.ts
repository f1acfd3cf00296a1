/** Keys of several organizations: none of them speaks for another's run, and none locks its owner out. */
import { join } from "node:path";
import { describe, expect, it, onTestFinished } from "vitest";
import { createEgress } from "../../src/net/egress.ts";
import type { JsonObject } from "../../src/platform/json.ts";
import { silentLog } from "../../src/platform/log.ts";
import { createIntake } from "../../src/receive/intake.ts";
import { createAddresses } from "../../src/receive/own-addresses.ts";
import { backfill } from "../../src/reconcile/backfill.ts";
import { createIngest } from "../../src/reconcile/ingest.ts";
import { createSkyvernClient } from "../../src/skyvern/client.ts";
import type { Store } from "../../src/store/store.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { aFolder, anApp, PUBLIC_URL, type TestApp } from "../support/app.ts";
import { atSkyvern, events, naive, topLevel } from "../support/at-skyvern.ts";
import { aRuntime, NOW } from "../support/runtime.ts";

const ENDED = NOW - 3_600_000;
const jwt = (organization: string): string =>
  `eyJhbGciOiJIUzI1NiJ9.${Buffer.from(JSON.stringify({ sub: organization })).toString("base64url")}.c2lnbmF0dXJl`;
const ACME = { key: jwt("o_acme"), organization: "o_acme" };
const UMBRELLA = { key: jwt("o_umbrella"), organization: "o_umbrella" };
/** Acme is told by HTTP, Umbrella by Slack. */
const ROUTES = `routes:
  - { name: acme, when: { organization: o_acme }, to: [http] }
  - { name: umbrella, when: { organization: o_umbrella }, to: [slack] }`;

async function aRelay(env: Record<string, string> = {}, keys = [ACME, UMBRELLA], runtime = aRuntime(), file = ROUTES) {
  const relay = await anApp(
    { SKYVERN_API_KEY: keys.map(({ key }) => key).join(","), ...env },
    { standIns: ["http", "slack"], skyvern: { keys }, file, runtime },
  );
  const settle = async (): Promise<void> => {
    runtime.advance(5_000);
    await relay.app.followUp();
    await relay.deliver();
  };
  return { relay, settle, runtime };
}

const RUN = { id: "tsk_1", endedAt: ENDED };
const body = (values: JsonObject = {}, endedAt = ENDED): string =>
  JSON.stringify({ ...atSkyvern({ ...RUN, endedAt }).payload, organization_id: undefined, prompt: "Pay", ...values });
const theTruth = body({ output: { total: "THE TRUTH" } });
/** It would win by its time. */
const aLie = body({ output: { iban: "DE00 UMBRELLA" } }, ENDED + 60_000);

const atSkyvernOf = (relay: TestApp, organization: string): void =>
  relay.standIns.skyvern.addRun({ ...atSkyvern(RUN), organization });
const run = (relay: TestApp) =>
  relay.read<{ organization_id: string; output: unknown; receipts: JsonObject[]; revision: number }>("/v1/runs/tsk_1");
const verdicts = async (relay: TestApp) => (await run(relay)).receipts.map(({ verdict }) => verdict);
const told = ({ standIns }: TestApp): string[] => standIns.http.requests.map(({ body: sent }) => sent);

describe("another organization's key", () => {
  it("a key of another organization does not overwrite, redirect or get a run; its receipt is stored, counted and logged", async () => {
    const { relay, settle } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(theTruth, { key: ACME.key });
    await relay.deliver();
    const answer = await relay.webhook(aLie, { key: UMBRELLA.key });
    expect({ status: answer.status, ...answer.json() }).toEqual({ status: 200, run_id: "tsk_1", result: "stored" });
    expect(await verdicts(relay)).toEqual(["accepted", "disputed"]);
    expect(events(relay, "webhook.disputed")).toMatchObject([{ run_id: "tsk_1", key: "SKYVERN_API_KEY[2]" }]);
    expect((await relay.get("/metrics")).text).toContain('skyvern_relay_webhooks_total{result="disputed"} 1');

    await settle();
    expect(await verdicts(relay)).toEqual(["accepted", "stored"]);
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme", output: { total: "THE TRUTH" }, revision: 1 });
    expect(topLevel(relay.standIns.slack)).toEqual([]);
    expect(told(relay).join()).not.toContain("UMBRELLA");
  });

  it("a key of another organization that signed first leaves the owner's run the labels of the owner's address", async () => {
    const file = `${ROUTES}\nreceive: { labels: [customer] }`;
    const { relay, settle } = await aRelay({}, [ACME, UMBRELLA], aRuntime(), file);
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(aLie, { key: UMBRELLA.key, path: "/webhook?customer=umbrella" });
    await relay.webhook(theTruth, { key: ACME.key, path: "/webhook?customer=42" });
    await settle();
    expect(await verdicts(relay)).toEqual(["accepted", "corrected"]);
    expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({ labels: { customer: "42" } });
  });

  it("a key of another organization that signed first does not lock the owner out, whose word takes the place of the lie", async () => {
    const { relay, settle } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    expect((await relay.webhook(aLie, { key: UMBRELLA.key })).json()).toMatchObject({ result: "accepted" });
    await relay.deliver();
    expect(topLevel(relay.standIns.slack)).toHaveLength(1);
    expect((await relay.webhook(theTruth, { key: ACME.key })).json()).toMatchObject({ result: "stored" });
    expect(await run(relay)).toMatchObject({ organization_id: "o_umbrella" });

    await settle();
    expect(await verdicts(relay)).toEqual(["accepted", "corrected"]);
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme", output: { total: "THE TRUTH" }, revision: 2 });
    expect(told(relay)).toHaveLength(1);
    expect(told(relay)[0]).not.toContain("UMBRELLA");
    // Umbrella heard its own lie, and nothing of what the owner says.
    expect(JSON.stringify(relay.standIns.slack.messages())).not.toContain("TRUTH");
    expect(topLevel(relay.standIns.slack)).toMatchObject([{ edits: [] }]);
  });

  it("a key of another organization that signed the owner's very bytes first does not make the owner's a duplicate", async () => {
    const { relay, settle } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(theTruth, { key: UMBRELLA.key });
    await relay.webhook(theTruth, { key: ACME.key });
    await settle();
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme" });
    expect((await relay.webhook(theTruth, { key: ACME.key })).json()).toMatchObject({ result: "duplicate" });
  });

  it("a lie of another organization's key that is still pending is not sent once the owner is known", async () => {
    const { relay, settle } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(aLie, { key: UMBRELLA.key });
    await relay.webhook(theTruth, { key: ACME.key });
    await settle();
    expect(topLevel(relay.standIns.slack)).toEqual([]);
    expect(told(relay)).toHaveLength(1);
  });

  it("a key of another organization that called a run ended does not keep the relay from awaiting the owner's retry", async () => {
    const { relay, settle, runtime } = await aRelay();
    const pending = { status: "failed", attempt: 1, retry_pending: true, next_attempt_at: naive(NOW + 60_000) };
    relay.standIns.skyvern.addRun({ ...atSkyvern({ ...RUN, payload: pending }), organization: "o_acme" });
    await relay.webhook(aLie, { key: UMBRELLA.key });
    await relay.webhook(body(pending), { key: ACME.key });
    await settle();
    expect(await run(relay)).toMatchObject({ status: "retrying" });

    const ended = { status: "completed", attempt: 2, retry_pending: false, output: { total: "THE TRUTH" } };
    relay.standIns.skyvern.addRun({
      ...atSkyvern({ ...RUN, endedAt: NOW + 90_000, payload: ended }),
      organization: "o_acme",
    });
    runtime.advance(600_000);
    await settle();
    expect(await run(relay)).toMatchObject({ status: "completed", output: { total: "THE TRUTH" } });
    expect(told(relay)).toHaveLength(1);
  });

  it("a key does not belong to the organization that its body names", async () => {
    const { relay } = await aRelay();
    await relay.webhook(body({ organization_id: "o_acme" }), { key: UMBRELLA.key });
    await relay.deliver();
    expect(await run(relay)).toMatchObject({ organization_id: "o_umbrella" });
    expect(told(relay)).toEqual([]);
  });
});

describe("disputed receipts", () => {
  it("a disputed receipt waits as long as Skyvern does not answer one of the keys", async () => {
    const { relay, settle, runtime } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(aLie, { key: UMBRELLA.key });
    await relay.webhook(theTruth, { key: ACME.key });
    relay.standIns.skyvern.faults.push({ on: /runs/, times: 1, status: 503 });
    await settle();
    expect(await verdicts(relay)).toEqual(["accepted", "disputed"]);
    expect(events(relay, "dispute.not_settled")).toHaveLength(1);
    runtime.advance(60_000);
    await settle();
    expect(await verdicts(relay)).toEqual(["accepted", "corrected"]);
  });

  it("two keys that Skyvern shows a run both speak for it, and Skyvern is not asked again", async () => {
    // Both are of one organization at Skyvern, which one of them does not say.
    const opaque = { key: "an-opaque-key", organization: "o_acme" };
    const { relay, settle } = await aRelay({}, [ACME, opaque]);
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(theTruth, { key: ACME.key });
    await relay.webhook(body({ output: { total: 43 } }, ENDED + 1_000), { key: opaque.key });
    await settle();
    expect(await run(relay)).toMatchObject({ output: { total: 43 } });
    const more = await relay.webhook(body({ output: { total: 44 } }, ENDED + 2_000), { key: ACME.key });
    expect(more.json()).toMatchObject({ result: "updated" });
  });

  it("an unsigned webhook that Skyvern confirms waits as a disputed receipt, and takes the place of the lie", async () => {
    const { relay, settle } = await aRelay({}, [UMBRELLA, ACME], undefined, `skyvern: { confirm: true }\n${ROUTES}`);
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(aLie, { key: UMBRELLA.key });
    const answer = await relay.webhook(theTruth, { signature: null });
    expect(answer.json()).toMatchObject({ run_id: "tsk_1", result: "stored" });
    expect(await run(relay)).toMatchObject({ organization_id: "o_umbrella" });
    await settle();
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme" });
  });

  it("backfill takes a run of which only another organization's key had spoken", async () => {
    const { relay, settle, runtime } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(aLie, { key: UMBRELLA.key });
    const { config, standIns } = relay;
    const store = relay.app.store as Store;
    const organizations = config.keys.map(({ organization }) => organization);
    const settings = { redactKeys: [], routes: [], sinks: [], organizations, archives: false };
    const intake = createIntake({ ...settings, store, runtime, log: silentLog });
    const egress = createEgress({ allow: ["127.0.0.0/8"] });
    onTestFinished(() => egress.close());
    const client = createSkyvernClient({ baseUrl: standIns.skyvern.url, keys: config.keys, ...egress });
    const addresses = createAddresses(() => PUBLIC_URL);
    const tally = await backfill(
      {
        client,
        store,
        ingest: createIngest({ intake, addresses, runtime, log: silentLog, metrics: createMetrics(), nudge: () => {} }),
        addresses,
        scope: "all",
        runtime,
        signal: new AbortController().signal,
        progress: () => {},
      },
      { since: NOW - 86_400_000, until: NOW, workflow: [], endedBefore: NOW },
    );
    expect(tally).toMatchObject({ listed: 1, faults: [] });
    await settle();
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme" });
  });

  it("a round over Skyvern's list takes a run whose owner's webhook was lost, though another key spoke for it", async () => {
    const { relay, settle } = await aRelay();
    atSkyvernOf(relay, "o_acme");
    await relay.webhook(aLie, { key: UMBRELLA.key });
    await relay.app.reconcile();
    await settle();
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme" });
    expect(told(relay)).toHaveLength(1);
  });
});

describe("keys that do not say whose they are", () => {
  it("keys that do not say whose they are count as one organization", async () => {
    const keys = ["first-opaque-key", "second-opaque-key"].map((key) => ({ key, organization: "o_1" }));
    const { relay } = await aRelay({}, keys);
    await relay.webhook(theTruth, { key: "first-opaque-key" });
    const answer = await relay.webhook(body({ output: 2 }, ENDED + 1_000), { key: "second-opaque-key" });
    expect(answer.json()).toMatchObject({ result: "updated" });
  });

  it("keys that do not say whose they are belong to the organizations that relay.yaml names", async () => {
    const relay = await anApp(
      {},
      {
        file: `skyvern: { keys: [{ name: acme, key: key-of-acme, organization: o_acme },
          { name: umbrella, key: key-of-umbrella, organization: o_umbrella }] }`,
      },
    );
    await relay.webhook(theTruth, { key: "key-of-acme" });
    expect((await relay.webhook(aLie, { key: "key-of-umbrella" })).json()).toMatchObject({ result: "stored" });
    expect(await run(relay)).toMatchObject({ organization_id: "o_acme", output: { total: "THE TRUTH" } });
  });

  it("a key that does not say whose it is does not make a run that of an organization which has a key", async () => {
    const opaque = { key: "an-opaque-key", organization: "o_other" };
    const { relay } = await aRelay({}, [ACME, opaque]);
    await relay.webhook(body({ organization_id: "o_acme" }), { key: opaque.key });
    await relay.deliver();
    expect(await run(relay)).toMatchObject({ organization_id: null });
    expect(told(relay)).toEqual([]);
  });
});

it("a key that takes the place of a removed one goes on with that one's runs", async () => {
  const database = `sqlite:${join(aFolder(), "relay.db")}`;
  const before = await aRelay({ DATABASE_URL: database }, [{ key: "an-opaque-key", organization: "o_acme" }]);
  await before.relay.webhook(theTruth, { key: "an-opaque-key" });
  await before.relay.stop();
  const { relay } = await aRelay({ DATABASE_URL: database }, [ACME], before.runtime);
  const answer = await relay.webhook(body({ output: { total: 43 } }, ENDED + 1_000), { key: ACME.key });
  expect(answer.json()).toMatchObject({ result: "updated" });
});

describe("a run of another organization that names this one", () => {
  const aRun = (run_id: string, values: JsonObject): string => {
    const { payload } = atSkyvern({ id: run_id, fixture: "workflow_run.completed", endedAt: ENDED });
    return JSON.stringify({ ...payload, organization_id: undefined, ...values });
  };

  it("a run of another organization that names this one makes no link in it, and hides none", async () => {
    const { relay } = await aRelay();
    await relay.webhook(aRun("wr_1", {}), { key: ACME.key });
    await relay.webhook(aRun("wr_2", { parent_workflow_run_id: "wr_1" }), { key: ACME.key });
    const names = { parent_workflow_run_id: "wr_1", retried_from_workflow_run_id: "wr_1" };
    for (let i = 0; i < 120; i += 1) await relay.webhook(aRun(`wr_bad${i}`, names), { key: UMBRELLA.key });
    const child = { workflow_run_id: "wr_1", workflow_permanent_id: "wpid_2", status: "completed", outputs: {} };
    await relay.webhook(aRun("wr_parent", { output: { block: child } }), { key: UMBRELLA.key });
    expect(await relay.read("/v1/runs/wr_1")).toMatchObject({
      related: { parent: null, retried_by: null, children: ["wr_2"] },
    });
  });
});
