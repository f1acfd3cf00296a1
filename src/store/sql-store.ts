import { acceptAll, adopt, revise } from "./receipts/accept.ts";
import { artifacts, saveArtifacts } from "./receipts/artifacts.ts";
import { listItems } from "./history/list-items.ts";
import { ChangeRing, unreadChange } from "./history/changes.ts";
import { copiesStore } from "./archive.ts";
import type { Database } from "./database.ts";
import { findDeliveries } from "./history/find-runs.ts";
import {
  attempts,
  readBody,
  receiptOfRow,
  receiptRows,
  runPage,
  runRows,
  storedRuns,
  unrecognizedReceipts,
} from "./history/read.ts";
import { createWrite, grouped, type Write } from "./grouped.ts";
import {
  deadLetterOrphans,
  circuits,
  claimDue,
  nextDue,
  expire,
  pause,
  recordAll,
  redeliver,
  redeliverable,
  redeliverAll,
  saveCircuits,
  saveTest,
  slotAt,
  reclaimLeases,
  release,
  releaseUnconfirmed,
} from "./outbox/outbox.ts";
import { pruneStore } from "./retention.ts";
import { searchFault } from "./search/prefixes.ts";
import { toDelivery, isWaiting } from "./outbox/rows.ts";
import { initializeSetting, saveSetting, setting } from "./key-values.ts";
import {
  dueFollowUps,
  outcomes,
  recordListedRuns,
  listedRun,
  setFollowUp,
  unfinished,
  unrelayed,
} from "./receipts/listed-runs.ts";
import { shrink } from "./sqlite/vacuum.ts";
import { backlog, counts, coverage, dailyCoverage, deliveryTimes, runCounts, statistics } from "./stats/read.ts";
import type { DeliveryStore } from "./contract/deliveries.ts";
import type { FinishedAttempt, FoundArtifacts, OutboxStore } from "./contract/outbox.ts";
import type { ReceiptStore } from "./contract/receipts.ts";
import type { ReconcileStore } from "./contract/reconcile.ts";
import type { RunStore } from "./contract/runs.ts";
import type { StatsStore } from "./contract/stats.ts";
import type { UpkeepStore } from "./contract/upkeep.ts";
import type { Store } from "./store.ts";
import { rebuildWords } from "./search/rebuild.ts";

export interface SqlStoreOptions {
  /**
   * Records of attempts share a transaction with all others of so long, ms. Default 50; nothing for a test whose clock
   * is its own. Nobody waits for one: the sink's slot is free already, and delivery is at least once. Under load eight
   * records share the commit that one had.
   */
  recordsRestMs?: number;
}

/** Creates the Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database, { recordsRestMs = 50 }: SqlStoreOptions = {}): Store {
  const { db } = database;
  const ring = new ChangeRing();
  const write = createWrite(database, (changes) => {
    ring.push(changes);
    if (changes.length > 0) database.notifyPeers?.(changes.map(({ kind, id }) => ({ kind, id })));
  });
  const upToDate = (): ChangeRing => {
    const foreign = database.foreignChanges();
    if (foreign === null) ring.reset();
    else ring.push(foreign.map(unreadChange));
    return ring;
  };
  const ways: Ways = { database, db, write, upToDate };
  return {
    ...receiptOperations(ways),
    ...runOperations(ways),
    ...outboxOperations(ways, recordsRestMs),
    ...deliveryOperations(ways),
    ...reconcileOperations(ways),
    ...statsOperations(ways),
    ...upkeepOperations(ways),
    ...copiesStore(db, write),
    ...pruneStore(database, write),
  };
}

/** How operations come to the database. */
interface Ways {
  database: Database;
  db: Database["db"];
  write: Write;
  /** The ring, with what other processes have changed. */
  upToDate: () => ChangeRing;
}

const receiptOperations = ({ db, write }: Ways): ReceiptStore => ({
  accept: (items) => write((change) => acceptAll(change, items)),
  adopt: (receiptId, status, run, now) => write((change) => adopt(change, receiptId, status, run, now)),
  revise: (runId, decide, now) => write((change) => revise(change, runId, decide, now)),
  receipt: async (id) => (await receiptRows(db).where("id", "=", id).execute()).map(receiptOfRow)[0] ?? null,
  receipts: async (runId) =>
    (await receiptRows(db).where("run_id", "=", runId).orderBy("received_at").orderBy("id").execute()).map(
      receiptOfRow,
    ),
  unrecognizedReceipts: (page) => unrecognizedReceipts(db, page),
  body: (receiptId) => readBody(db, receiptId),
});

const runOperations = ({ database, db, write, upToDate }: Ways): RunStore => ({
  run: async (runId) => (await storedRuns(await runRows(db).where("run_id", "=", runId).execute()))[0] ?? null,
  runs: (filter, page) => runPage(database, filter, page),
  listItems: (filter, page) => listItems(database, filter, page),
  searchFault: async (search) => (database.dialect === "sqlite" ? searchFault(db, search) : null),
  artifacts: (runId) => database.read((rows) => artifacts(rows, runId)),
  saveArtifacts: savingArtifacts(write),
  lastChange: () => upToDate().last,
  changes: ({ after, limit }) => upToDate().after(after, limit),
});

/** The lists that are found in one turn of the event loop are saved together. */
function savingArtifacts(write: Write): RunStore["saveArtifacts"] {
  const save = grouped(async (found: readonly FoundArtifacts[]) => {
    await write((change) => saveArtifacts(change, found));
    return found.map(() => {});
  });
  return (runId, known, followUpAt) => save({ runId, known, followUpAt });
}

const outboxOperations = ({ database, db, write }: Ways, recordsRestMs: number): OutboxStore => ({
  claimDue: (queue, claim) => write(({ rows }) => claimDue(rows, queue, claim)),
  nextDue: (queue, now) => database.read((rows) => nextDue(rows, queue, now)),
  release: (ids, now) => write(({ tx }) => release(tx, ids, now)),
  record: grouped((attempts: readonly FinishedAttempt[]) => write((change) => recordAll(change, attempts)), {
    restMs: recordsRestMs,
  }),
  expire: (sink, createdBefore, reason) => write((change) => expire(change, sink, createdBefore, reason)),
  shiftDue: (byMs) =>
    write(async ({ tx }) => {
      const shifted = tx
        .updateTable("deliveries")
        .set((row) => ({ next_attempt_at: row("next_attempt_at", "-", byMs) }));
      await shifted.where(isWaiting("deliveries")).execute();
    }),
  circuits: () => circuits(db),
  saveCircuit: (sink, circuit) => write(({ rows }) => saveCircuits(rows, new Map([[sink, circuit]]))),
  releaseUnconfirmed: (holder, except, now) => write(({ tx }) => releaseUnconfirmed(tx, holder, except, now)),
  slotAt: (destination) => database.read((rows) => slotAt(rows, destination)),
  pause: (destination, until) => write(({ rows }) => pause(rows, destination, until)),
  reclaimLeases: (now, waitsMs, holders) => write(({ tx }) => reclaimLeases(tx, now, waitsMs, holders)),
  deadLetterOrphans: (sinks, reason, now = Number.MAX_SAFE_INTEGER) =>
    write((change) => deadLetterOrphans(change, sinks, reason, now)),
});

const deliveryOperations = ({ db, write }: Ways): DeliveryStore => ({
  deliveries: async (filter, page) => (await findDeliveries(db, filter, page)).map(toDelivery),
  delivery: async (id) => {
    const row = await db.selectFrom("deliveries").selectAll().where("id", "=", id).executeTakeFirst();
    return row ? toDelivery(row) : null;
  },
  attempts: (ids) => attempts(db, ids),
  redeliver: (runId, deliveries, now) => write((change) => redeliver(change, runId, deliveries, now)),
  redeliverAll: (filter, ids, now) => write((change) => redeliverAll(change, filter, ids, now)),
  redeliverable: async (filter, limit) => (await redeliverable(db, filter, limit)).length,
  saveTest: (test) => write((change) => saveTest(change, test)),
});

const reconcileOperations = ({ db, write }: Ways): ReconcileStore => ({
  dueFollowUps: (now, limit) => dueFollowUps(db, now, limit),
  nextFollowUpAt: async () =>
    (
      await db
        .selectFrom("runs")
        .select(({ fn }) => fn.min("follow_up_at").as("at"))
        // Without this condition SQLite reads every run: the index holds none whose time is null.
        .where("follow_up_at", "is not", null)
        .executeTakeFirst()
    )?.at ?? null,
  setFollowUp: (runId, plan) => write(({ tx }) => setFollowUp(tx, runId, plan)),
  outcomes: (runIds) => outcomes(db, runIds),
  unfinished: (since, limit) => unfinished(db, since, limit),
  recordListedRuns: (runs) => write(({ tx, rows }) => recordListedRuns(tx, rows, runs)),
  listedRun: (runId) => listedRun(db, runId),
  coverage: (since, until) => coverage(db, since, until),
  dailyCoverage: (since, until) => dailyCoverage(db, since, until),
  unrelayed: (query) => unrelayed(db, query),
});

const statsOperations = ({ db }: Ways): StatsStore => ({
  backlog: () => backlog(db),
  counts: () => counts(db),
  runCounts: (grain, since, until) => runCounts(db, grain, since, until),
  statistics: (grain, since, until) => statistics(db, grain, since, until),
  deliveryTimes: (grain, since, until) => deliveryTimes(db, grain, since, until),
});

const upkeepOperations = ({ database, db, write }: Ways): UpkeepStore => ({
  setting: async (name, initial) =>
    (await setting(db, name)) ?? write(({ tx }) => initializeSetting(tx, name, initial)),
  saveSetting: (name, value) => write(({ tx }) => saveSetting(tx, name, value)),
  ping: (now) => write(({ tx }) => saveSetting(tx, "last_ping", String(now))),
  rebuildWords: (limit) => write(({ rows }) => rebuildWords(rows, limit)),
  shrink: (pages) => shrink(database, pages),
  emptyLog: async () => (await database.emptyLog?.()) ?? true,
  close: () => database.close(),
});
