/** What an attempt hands to its sink. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { createAttempt } from "../../src/deliver/attempt.ts";
import { silentLog } from "../../src/platform/log.ts";
import type { Report } from "../../src/domain/report.ts";
import type { Artifact } from "../../src/domain/run.ts";
import type { Sink } from "../../src/sinks/sink.ts";
import { openSqlite } from "../../src/store/database.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { Claimed } from "../../src/store/contract/outbox.ts";
import { aDelivery, anArrival, aRun } from "../support/a-run.ts";

const SINKS = ["crm", "erp"];
const FIRST: Artifact = { artifact_id: "a_1", type: "recording", created_at: 1 };
const SECOND: Artifact = { artifact_id: "a_2", type: "screenshot_final", created_at: 2 };

let store: ReturnType<typeof createSqlStore>;
beforeEach(async () => {
  const database = openSqlite(":memory:", { exclusive: true });
  await migrate(database);
  store = createSqlStore(database);
});
afterEach(() => store.close());

/** What each sink claims of a run that both are to be told of. */
async function claims(runId: string): Promise<Claimed[]> {
  const deliveries = SINKS.map((sink, i) => aDelivery(`${runId}_${i}`, sink));
  await store.accept([anArrival(aRun({ run_id: runId, received_at: 1 }), { decision: { deliveries } })]);
  const claim = { now: Date.now(), leaseMs: 60_000, limit: 9, except: [] };
  return (await Promise.all(SINKS.map((sink) => store.claimDue({ sink, holdMs: null }, claim)))).flat();
}

/** Links are numbered as they are made, so that those of two reports differ. */
function anAttempt(listed: () => Artifact[]) {
  const reports: Report[] = [];
  let links = 0;
  const attempt = createAttempt({
    enrich: async () => ({ known: { artifacts: listed(), status: "complete" } }),
    links: { run: (id) => `https://r/runs/${id}`, artifact: (id, key) => `https://r/${id}/${key}?n=${(links += 1)}` },
    timeoutMs: 5_000,
    log: silentLog,
  });
  const deliver: Sink["deliver"] = async ({ report }) => {
    reports.push(report);
    return { kind: "delivered", receipt: { status: 200 } };
  };
  const tell = (claimed: Claimed) =>
    attempt(claimed, { name: claimed.delivery.sink, kind: "http", deliver }, new AbortController().signal);
  return { tell, reports };
}

it("an attempt shows its sink what Skyvern lists of the run at that moment", async () => {
  let listed = [FIRST];
  const { tell, reports } = anAttempt(() => listed);
  const [first, second] = await claims("tsk_1");
  await tell(first as Claimed);
  listed = [FIRST, SECOND];
  await tell(second as Claimed);
  for (const claimed of await claims("tsk_2")) await tell(claimed);
  expect(reports.map(({ run_id, artifacts }) => [run_id, artifacts.length])).toEqual([
    ["tsk_1", 1],
    ["tsk_1", 2],
    ["tsk_2", 2],
    ["tsk_2", 2],
  ]);
});
