/** What was kept is read again at the next start: a newer release may understand it. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import type { JsonObject } from "../../src/platform/json.ts";
import { silentLog } from "../../src/platform/log.ts";
import { rereadUnrecognized, type RereadDeps } from "../../src/receive/reread.ts";
import type { IncomingReceipt } from "../../src/store/contract/receipts.ts";
import { openSqlite } from "../../src/store/database.ts";
import { openDatabase } from "../../src/store/open.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Store } from "../../src/store/store.ts";
import { aFolder, anApp, type TestApp } from "../support/app.ts";
import { FIXTURE_ORGANIZATION, fixtureBytes } from "../support/fixtures.ts";
import { aRuntime, NOW, whileLoopsRun } from "../support/runtime.ts";
import { until } from "../support/until.ts";

const EARLIER = NOW - 86_400_000;

/** Puts a body into the database as a release would that did not understand it. */
const keep = (relay: TestApp, body: Buffer, id = "rcp_old"): Promise<void> => keepAll(relay, [body], () => id);

async function keepAll({ config: { database } }: TestApp, bodies: readonly Buffer[], idOf = receiptId): Promise<void> {
  const store = createSqlStore(await openDatabase(database, "beside"));
  await store.accept(bodies.map((body, i) => unrecognized(idOf(i), body)));
  await store.close();
}

const unrecognized = (id: string, body: Buffer, receivedAt = EARLIER): IncomingReceipt => ({
  receipt: {
    id,
    bodyHash: createHash("sha256").update(body).digest("hex"),
    body,
    source: "webhook",
    channel: "billing",
    labels: { customer: "42" },
    keyName: "SKYVERN_API_KEY[1]",
    sentAt: null,
    reportedStatus: null,
    receivedAt,
    note: "not understood then",
  },
  run: null,
});

/** Two relays, one after the other, on one database. */
async function afterRestart(prepare: (relay: TestApp) => Promise<void>, standIns: readonly "http"[] = ["http"]) {
  const env = { DATABASE_URL: `sqlite:${join(aFolder(), "relay.db")}`, HOST: "127.0.0.1", PORT: "0" };
  const before = await anApp(env);
  await prepare(before);
  await before.stop();
  return anApp(env, { standIns, runtime: whileLoopsRun(aRuntime()) });
}

it("a body that is recognized now becomes a run of the time it came, and is delivered", async () => {
  const relay = await afterRestart((before) => keep(before, fixtureBytes("task_v1.completed")));
  expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [{ id: "rcp_old" }] });

  await adopt(relay);
  await until("it is delivered", async () => {
    const { data } = await relay.read<{ data: JsonObject[] }>("/v1/deliveries?state=delivered");
    return data.length === 1;
  });

  expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({ data: [] });
  expect(await relay.read("/v1/runs/tsk_565008666790408272")).toMatchObject({
    status: "completed",
    channel: "billing",
    labels: { customer: "42" },
    organization_id: FIXTURE_ORGANIZATION,
    received_at: new Date(EARLIER).toISOString(),
    receipts: [{ id: "rcp_old", verdict: "accepted", reported_status: "completed" }],
    deliveries: [{ sink: "http", state: "delivered" }],
  });
  expect(relay.standIns.http.requests).toHaveLength(1);
});

it("bodies are reread in the order they came, so that the later ones of a run settle against the earlier", async () => {
  const relay = await afterRestart(async (before) => {
    await keep(before, fixtureBytes("workflow_run.canceled-1-from-cancel-api"), "rcp_1");
    await keep(before, fixtureBytes("workflow_run.canceled-2-from-executor"), "rcp_2");
  });

  await adopt(relay);

  expect(await relay.read("/v1/runs/wr_565672965087113856")).toMatchObject({
    receipts: [
      { id: "rcp_1", verdict: "accepted" },
      { id: "rcp_2", verdict: "updated" },
    ],
  });
});

it("every body is reread, and listed page by page, however many there are", async () => {
  const bodies = Array.from({ length: 1_200 }, (_, i) => Buffer.from(i % 2 === 0 ? `[${i}]` : aBodyOf(`tsk_${i}`)));
  const relay = await afterRestart((before) => keepAll(before, bodies), []);
  const cursors = [""];
  const listed: string[] = [];
  for (const cursor of cursors) {
    const { data, next_cursor: next } = await relay.read<{ data: { id: string }[]; next_cursor?: string | null }>(
      `/v1/receipts/unrecognized?limit=200${cursor}`,
    );
    listed.push(...data.map(({ id }) => id));
    if (next) cursors.push(`&cursor=${next}`);
  }
  expect(listed).toEqual(bodies.map((_, i) => receiptId(i)).toReversed());

  await adopt(relay);

  expect(await relay.app.store.counts()).toMatchObject({ unrecognized: 600 });
  expect(await relay.read("/v1/runs/tsk_1")).toMatchObject({ status: "completed" });
});

const aBodyOf = (id: string): string => JSON.stringify({ run_id: id, status: "completed" });
const receiptId = (i: number): string => `rcp_${String(i).padStart(5, "0")}`;

it("what arrives while bodies are reread keeps none of them from being reread", async () => {
  const stored = Array.from({ length: 1_200 }, (_, i) => receiptId(i));
  const reread = await rereadAll(stored, async (n, store) => {
    if (n === 0) await store.accept(Array.from({ length: 5 }, (_, i) => aReceipt(2_000 + i)));
  });
  expect(reread).toEqual(stored);
});

it("a relay that stops rereads no further", async () => {
  const stopping = new AbortController();
  const stored = Array.from({ length: 5 }, (_, i) => receiptId(i));
  expect(await rereadAll(stored, (n) => void (n === 1 && stopping.abort()), stopping.signal)).toEqual([
    receiptId(0),
    receiptId(1),
  ]);
});

/** The ids of what is reread, in order. `during` is called at each, with its number from 0. */
async function rereadAll(
  stored: readonly string[],
  during: (n: number, store: Store) => void | Promise<void>,
  signal = new AbortController().signal,
): Promise<string[]> {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  onTestFinished(() => store.close());
  await store.accept(stored.map((_, i) => aReceipt(i)));
  const seen: string[] = [];
  const intake: RereadDeps["intake"] = {
    reread: async ({ receiptId: id }) => {
      await during(seen.push(id) - 1, store);
      return { kind: "unchanged" };
    },
  };
  const deps = { store, intake, organizationOf: () => null, runtime: { now: () => NOW }, log: silentLog };
  await rereadUnrecognized(deps, signal);
  return seen;
}

const aReceipt = (i: number): IncomingReceipt => unrecognized(receiptId(i), Buffer.from(`[${i}]`), EARLIER + i);

it.each([
  ["is not JSON", Buffer.from("{")],
  ["is no run", Buffer.from("[]")],
  ["asks for a one-time code", fixtureBytes("not-a-run.totp-request")],
  ["is no UTF-8", Buffer.from([...Buffer.from('{"run_id":"tsk_1","status":"completed","prompt":"'), 0xff, 0x22, 0x7d])],
])("an unrecognized body that %s stays stored, at every start", async (_what, body) => {
  const relay = await afterRestart((before) => keep(before, body));

  await adopt(relay);

  expect(await relay.read("/v1/runs")).toMatchObject({ data: [] as JsonObject[] });
  expect(await relay.read("/v1/receipts/unrecognized")).toMatchObject({
    data: [{ id: "rcp_old", verdict: "unrecognized" }],
  });
});

it("a webhook with the bytes of an adopted receipt is a duplicate", async () => {
  const relay = await afterRestart((before) => keep(before, fixtureBytes("task_v1.completed")));
  await adopt(relay);
  expect((await relay.webhook(fixtureBytes("task_v1.completed"))).json()).toEqual({
    run_id: "tsk_565008666790408272",
    result: "duplicate",
  });
});

/** What follows a start; it listens on a free port, which nobody uses here. */
async function adopt({ app, start }: TestApp): Promise<void> {
  await start();
  await app.runJob("reread");
}
