/** A bug in settling or routing costs nobody a result: the bytes are kept, and a release without the bug reads them. */
import { expect, it, onTestFinished } from "vitest";
import { silentLog } from "../../src/platform/log.ts";
import { createMetrics } from "../../src/telemetry/metrics.ts";
import { createIntake, type IntakeDeps } from "../../src/receive/intake.ts";
import { createReceiver } from "../../src/receive/receive.ts";
import { rereadUnrecognized } from "../../src/receive/reread.ts";
import { Secret } from "../../src/platform/secret.ts";
import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import { FIXTURE_KEY, signatureOf, verifiedWebhook } from "../support/fixtures.ts";
import { aRuntime } from "../support/runtime.ts";

it("a body that crashes settling is stored, others that came with it are accepted, and a start survives it", async () => {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  onTestFinished(() => store.close());
  const runtime = aRuntime();
  let hasBug = true;
  const logged: string[] = [];
  const intaking: IntakeDeps = {
    redactKeys: [],
    routes: [],
    archives: false,
    organizations: [null],
    sinks: [
      {
        get name(): string {
          if (hasBug && crashing) throw new TypeError("a bug");
          return "http";
        },
        kind: "http",
        updates: false,
      },
    ],
    store,
    runtime,
    log: { ...silentLog, error: (event, fields) => void logged.push(`${event} ${String(fields?.["run_id"])}`) },
  };
  const { log } = intaking;
  // The decisions are made in the order of arrival: the second one crashes.
  let crashing = false;
  const accept: typeof store.accept = (items) =>
    store.accept(
      items.map((item) => ({
        ...item,
        run: item.run && {
          id: item.run.id,
          decide: (known) => {
            crashing = item.run?.id === "tsk_2";
            return item.run?.decide(known) as never;
          },
        },
      })),
    );
  const keys = [{ name: "key", key: new Secret(FIXTURE_KEY), organization: null }];
  const receiver = createReceiver(
    {
      keys: () => keys,
      intake: createIntake({ ...intaking, store: { ...store, accept } }),
      runtime,
      log,
      metrics: createMetrics(),
      nudge: () => {},
      tryOut: () => {},
    },
    null,
  );
  const receive = (id: string) => {
    const bytes = Buffer.from(JSON.stringify({ run_id: id, status: "completed" }));
    return receiver.receive({
      bytes,
      signature: signatureOf(bytes),
      sentAt: null,
      channel: null,
      query: null,
      from: "127.0.0.1",
    });
  };

  expect(await Promise.all(["tsk_1", "tsk_2", "tsk_3"].map(receive))).toMatchObject([
    { verdict: "accepted", runId: "tsk_1" },
    { verdict: "unrecognized", runId: null },
    { verdict: "accepted", runId: "tsk_3" },
  ]);
  expect(logged).toEqual(["webhook.crashed tsk_2"]);
  expect(await store.unrecognizedReceipts({ limit: 10 })).toMatchObject([
    { note: "internal error in the relay; see its log" },
  ]);

  const unrecognized = { store, intake: createIntake(intaking), organizationOf: () => null, runtime, log };
  crashing = true;
  expect(await rereadUnrecognized(unrecognized, new AbortController().signal)).toBe(0);
  expect(await store.run("tsk_2")).toBeNull();
  hasBug = false;
  expect(await rereadUnrecognized(unrecognized, new AbortController().signal)).toBe(1);
  expect(await store.deliveries({ runId: "tsk_2" }, { limit: 10 })).toMatchObject([{ sink: "http", state: "pending" }]);
});

it("a body that crashes settling and cannot be stored is refused, and others that came with it are not accepted again", async () => {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  const store = createSqlStore(database);
  onTestFinished(() => store.close());
  // What deciding crashes on, the store then cannot keep.
  const accept: typeof store.accept = async (items) => {
    if (items.some(({ run }) => run === null)) throw new TypeError("another bug");
    return store.accept(
      items.map((item) => ({
        ...item,
        run: item.run && {
          id: item.run.id,
          decide: (known) => {
            if (item.run?.id === "tsk_2") throw new TypeError("a bug");
            return item.run?.decide(known) as never;
          },
        },
      })),
    );
  };
  const sinks = [{ name: "http", kind: "http", updates: false }];
  const parts = { redactKeys: [], routes: [], archives: false, organizations: [null], sinks, runtime: aRuntime() };
  const intake = createIntake({ ...parts, store: { ...store, accept }, log: silentLog });
  const webhooks = ["tsk_1", "tsk_2", "tsk_3"].map((id) =>
    verifiedWebhook(JSON.stringify({ run_id: id, status: "completed" })),
  );
  expect(await Promise.allSettled(webhooks.map((one) => intake.webhook(one, 1_000)))).toMatchObject([
    { value: { verdict: "accepted" } },
    { reason: new TypeError("a bug") },
    { value: { verdict: "accepted" } },
  ]);
});
