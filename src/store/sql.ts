import { isDeepStrictEqual } from "node:util";
import { sql, type Kysely, type Selectable } from "kysely";
import { parseJson } from "../json.ts";
import type {
  Artifact,
  ArtifactsStatus,
  Circuit,
  Delivery,
  DeliveryReceipt,
  Outcome,
  RunState,
  Source,
  Verdict,
} from "../run.ts";
import { TERMINAL_STATUSES } from "../run.ts";
import { copiesStore, queueArchiving } from "./copies.ts";
import type { Database } from "./database.ts";
import { eventRange, eventsAfter } from "./events.ts";
import { deliveriesThat, findDeliveries, findRuns } from "./find.ts";
import { createLedger, dayOf, type Ledger } from "./ledger.ts";
import { deliveryOf, isWaiting, receiptOf, stateOf } from "./rows.ts";
import { backlog, counts, countSightings, coverage, dailyCoverage, statistics } from "./statistics.ts";
import type {
  Accepted,
  Arrival,
  Attempt,
  Claim,
  Claimed,
  Decision,
  DeliveryFilter,
  FinishedAttempt,
  FinishedTest,
  Known,
  KnownArtifacts,
  KnownOutcome,
  NewDelivery,
  Queue,
  Receipt,
  Sighting,
  Store,
  StoredRun,
} from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;
/** A transaction, and what it changes beside its own rows. */
interface Change {
  tx: Db;
  ledger: Ledger;
}

/** The Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database): Store {
  const { db } = database;
  const write = <T>(work: (change: Change) => Promise<T>): Promise<T> =>
    database.transaction(async (tx) => {
      const ledger = createLedger();
      const result = await work({ tx, ledger });
      await ledger.write(tx);
      return result;
    });
  return {
    accept: (items) => write((change) => acceptAll(change, items)),
    adopt: (receiptId, status, run, now) => write((change) => adopt(change, receiptId, status, run, now)),
    claimDue: (queue, claim) => database.transaction((tx) => claimDue(tx, queue, claim)),
    nextDueAt: (queue, now) => nextDueAt(db, queue, now),
    record: (attempt) => write((change) => record(change, attempt)),
    expire: (sink, createdBefore, reason) => write((change) => expire(change, sink, createdBefore, reason)),
    shiftDue: async (byMs) => {
      const shifted = db
        .updateTable("deliveries")
        .set((row) => ({ next_attempt_at: row("next_attempt_at", "-", byMs) }));
      await shifted.where(isWaiting("deliveries")).execute();
    },
    circuits: () => circuits(db),
    saveCircuit: async (sink, circuit) => {
      await saveCircuit(db, sink, circuit);
    },
    takeOver: (now, waitMs = () => 0) => database.transaction((tx) => takeOver(tx, now, waitMs)),
    buryOrphans: (sinks, reason) => write((change) => buryOrphans(change, sinks, reason)),
    redeliverAll: (filter, make, options) => write((change) => redeliverAll(change, filter, make, options)),
    redeliver: (runId, deliveries, now) => write((change) => redeliver(change, runId, deliveries, now)),
    saveTest: (test) => write((change) => saveTest(change, test)),
    artifacts: (runId) => artifacts(db, runId),
    revise: (runId, decide, now) => write((change) => revise(change, runId, decide, now)),
    saveArtifacts: (runId, known, followUpAt) => write((change) => saveArtifacts(change, runId, known, followUpAt)),
    run: async (runId) => (await storedRuns(db, await runRows(db).where("run_id", "=", runId).execute()))[0] ?? null,
    runs: async (filter, page) => storedRuns(db, await findRuns(db, filter, page)),
    receipts: async (runId) =>
      (await receiptRows(db).where("run_id", "=", runId).orderBy("received_at").orderBy("id").execute()).map(
        receiptOfRow,
      ),
    keptReceipts: async (limit) =>
      (await receiptRows(db).where("run_id", "is", null).orderBy("received_at", "desc").limit(limit).execute()).map(
        receiptOfRow,
      ),
    body: async (receiptId) =>
      (await db.selectFrom("bodies").select("body").where("receipt_id", "=", receiptId).executeTakeFirst())?.body ??
      null,
    deliveries: async (filter, page) => (await findDeliveries(db, filter, page)).map(deliveryOf),
    attempts: (ids) => attempts(db, ids),
    dueFollowUps: (now, limit) => dueFollowUps(db, now, limit),
    nextFollowUpAt: async () =>
      (
        await db
          .selectFrom("runs")
          .select(({ fn }) => fn.min("follow_up_at").as("at"))
          .executeTakeFirst()
      )?.at ?? null,
    setFollowUp: async (runId, at, failures) => {
      const row = { follow_up_at: at, follow_ups: failures };
      await db.updateTable("runs").set(row).where("run_id", "=", runId).execute();
    },
    outcomes: (runIds) => outcomes(db, runIds),
    unfinished: (since, limit) => unfinished(db, since, limit),
    sight: (runs) => database.transaction((tx) => sight(tx, runs)),
    coverage: (since, until) => coverage(db, since, until),
    dailyCoverage: (since, until) => dailyCoverage(db, since, until),
    unrelayed: (query) => unrelayed(db, query),
    backlog: () => backlog(db),
    counts: () => counts(db),
    statistics: (grain, since, until) => statistics(db, grain, since, until),
    events: (page) => eventsAfter(db, page, (rows) => storedRuns(db, rows)),
    eventRange: () => eventRange(db),
    sighting: (runId) => sighting(db, runId),
    ...copiesStore(database),
    ping: async (now) => {
      await saveSetting(db, "last_ping", String(now));
    },
    setting: (name, initial) => setting(db, name, initial),
    close: () => database.close(),
  };
}

// --- accept ---------------------------------------------------------------------------------------------------------

async function acceptAll(change: Change, items: readonly Arrival[]): Promise<Accepted[]> {
  const answers: Accepted[] = [];
  for (const item of items) answers.push(await acceptOne(change, item));
  return answers;
}

async function acceptOne(change: Change, { receipt, run }: Arrival): Promise<Accepted> {
  const { tx } = change;
  const same = await countCopy(tx, receipt.bodyHash, receipt.receivedAt);
  if (same) {
    const verdict = same.run_id === null ? "kept" : "duplicate";
    return { verdict, runId: same.run_id, note: "the same bytes again", deliveries: 0 };
  }
  if (run === null) {
    await insertReceipt(tx, receipt, { runId: null, verdict: "kept", note: receipt.note, routing: null });
    return { verdict: "kept", runId: null, note: receipt.note, deliveries: 0 };
  }
  const known = await knownRun(tx, run.id);
  const decision = run.decide(known);
  await writeDecision(change, known, decision, receipt.receivedAt);
  await insertReceipt(tx, receipt, { runId: run.id, ...decision });
  return { verdict: decision.verdict, runId: run.id, note: decision.note, deliveries: decision.deliveries.length };
}

async function revise(
  change: Change,
  runId: string,
  decide: (known: Known) => Decision | null,
  now: number,
): Promise<boolean> {
  const known = await knownRun(change.tx, runId);
  const decision = known === null ? null : decide(known);
  if (decision === null) return false;
  await writeDecision(change, known, decision, now);
  return true;
}

async function adopt(
  change: Change,
  receiptId: string,
  reportedStatus: string,
  run: NonNullable<Arrival["run"]>,
  now: number,
): Promise<boolean> {
  const { tx } = change;
  const kept = tx.selectFrom("receipts").select("id").where("id", "=", receiptId).where("run_id", "is", null);
  if ((await kept.executeTakeFirst()) === undefined) return false;
  const known = await knownRun(tx, run.id);
  const decision = run.decide(known);
  await writeDecision(change, known, decision, now);
  await tx
    .updateTable("receipts")
    .set({ run_id: run.id, reported_status: reportedStatus, ...resultColumns(decision) })
    .where("id", "=", receiptId)
    .execute();
  return true;
}

const resultColumns = ({ verdict, note, routing }: Pick<Decision, "verdict" | "note" | "routing">) => ({
  verdict,
  note,
  routing: routing === null ? null : JSON.stringify(routing),
});

const countCopy = (tx: Db, bodyHash: string, now: number) =>
  tx
    .updateTable("receipts")
    .set((row) => ({ copies: row("copies", "+", 1), last_received_at: now }))
    .where("body_hash", "=", bodyHash)
    .returning("run_id")
    .executeTakeFirst();

async function knownRun(tx: Db, runId: string): Promise<Known | null> {
  const row = await tx.selectFrom("runs").select("state").where("run_id", "=", runId).executeTakeFirst();
  if (!row) return null;
  const deliveries = await tx
    .selectFrom("deliveries")
    .select(["id", "sink", "state", "attempts"])
    .where("run_id", "=", runId)
    .orderBy("id")
    .execute();
  return { state: stateOf(row.state), deliveries: deliveries as Known["deliveries"] };
}

async function writeDecision(change: Change, known: Known | null, decision: Decision, now: number): Promise<void> {
  const { tx, ledger } = change;
  const { run } = decision.state;
  const before = known?.state.run ?? null;
  const columns = {
    run_type: run.run_type,
    status: run.status,
    source: run.source,
    organization_id: run.organization_id,
    channel: run.channel,
    workflow: run.workflow?.permanent_id ?? null,
    title: run.title,
    received_at: run.received_at,
    state: JSON.stringify(decision.state),
    ...(decision.followUpAt === undefined ? {} : { follow_up_at: decision.followUpAt, follow_ups: 0 }),
  };
  const written =
    before === null
      ? tx
          .insertInto("runs")
          .values({
            run_id: run.run_id,
            artifacts_status: "pending",
            follow_up_at: null,
            doc: sql<number>`(select coalesce(max(doc), 0) + 1 from runs)`,
            ...columns,
          })
          .returning("doc")
      : tx.updateTable("runs").set(columns).where("run_id", "=", run.run_id).returning("doc");
  const doc = (await written.executeTakeFirstOrThrow()).doc ?? 0;
  ledger.run(before, run, doc);
  if (decision.verdict !== "duplicate") ledger.changed(run.run_id);
  if (decision.cancel.length > 0) {
    const canceled = await tx
      .updateTable("deliveries")
      .set({ state: "canceled", next_attempt_at: null })
      .where("id", "in", decision.cancel)
      .where("state", "=", "pending")
      .returningAll()
      .execute();
    for (const row of canceled) ledger.moved(row);
  }
  await insertDeliveries(change, decision.state, decision.deliveries, now);
  if (decision.archiveAt !== undefined) await queueArchiving(tx, run.run_id, decision.archiveAt);
}

async function insertDeliveries(
  { tx, ledger }: Change,
  state: RunState,
  fresh: readonly NewDelivery[],
  now: number,
): Promise<void> {
  if (fresh.length === 0) return;
  const rows = fresh.map((delivery) => ({
    ...delivery,
    run_id: state.run.run_id,
    revision: state.revision,
    state: "pending",
    attempts: 0,
    throttled: 0,
    next_attempt_at: now,
    maybe_sent: 0,
    last_error: null,
    created_at: now,
    delivered_at: null,
    receipt: null,
  }));
  await tx.insertInto("deliveries").values(rows).execute();
  for (const row of rows) ledger.made(row);
}

async function insertReceipt(
  tx: Db,
  receipt: Arrival["receipt"],
  result: Pick<Decision, "verdict" | "note" | "routing"> & { runId: string | null },
): Promise<void> {
  await tx
    .insertInto("receipts")
    .values({
      id: receipt.id,
      run_id: result.runId,
      body_hash: receipt.bodyHash,
      body_bytes: receipt.bodyBytes,
      ...resultColumns(result),
      reported_status: receipt.reportedStatus,
      source: receipt.source,
      channel: receipt.channel,
      key_name: receipt.keyName,
      sent_at: receipt.sentAt,
      received_at: receipt.receivedAt,
      copies: 1,
      last_received_at: receipt.receivedAt,
    })
    .execute();
  await tx.insertInto("bodies").values({ receipt_id: receipt.id, body: receipt.body }).execute();
}

// --- the outbox -----------------------------------------------------------------------------------------------------

async function claimDue(tx: Db, queue: Queue, { now, leaseMs, limit, except }: Claim): Promise<Claimed[]> {
  const due = queue.holdMs === null ? firstDue(tx, queue.sink).limit(limit) : head(tx, queue.sink, now + queue.holdMs);
  const rows = await tx
    .updateTable("deliveries")
    .set((row) => ({
      state: "sending",
      attempts: row("attempts", "+", 1),
      // Still `sending` when its lease ran out: the process died in the attempt, perhaps after the message had gone.
      maybe_sent: sql<number>`case when state = 'sending' then 1 else maybe_sent end`,
      next_attempt_at: now + leaseMs,
    }))
    .where("id", "in", tx.selectFrom(due.as("due")).select("due.id").where("due.next_attempt_at", "<=", now))
    // Said again: without it two workers on one database may both get a row.
    .where(isWaiting("deliveries"))
    .where("next_attempt_at", "<=", now)
    .where((where) => (except.length === 0 ? where.lit(true) : where("id", "not in", except)))
    .returningAll()
    .execute();
  return withRuns(tx, rows);
}

/** What waits for a sink, what is due first in front. */
const firstDue = (db: Db, sink: string) =>
  waiting(db, sink).where(nothingBefore).orderBy("d.next_attempt_at").orderBy("d.id");

/** The delivery whose turn it is in an ordered queue; those to be tried again only after `holdUntil` let others pass. */
const head = (db: Db, sink: string, holdUntil: number) =>
  waiting(db, sink)
    .where((where) => where.or([where("d.state", "=", "sending"), where("d.next_attempt_at", "<=", holdUntil)]))
    .where(nothingBefore)
    .orderBy("d.id")
    .limit(1);

const waiting = (db: Db, sink: string) =>
  db
    .selectFrom("deliveries as d")
    .select(["d.id", "d.next_attempt_at"])
    .where("d.sink", "=", sink)
    .where(isWaiting("d"));

/** A correction waits until what it corrects has been delivered or is dead. */
const nothingBefore = sql<boolean>`not exists (select 1 from deliveries e where e.run_id = d.run_id and e.sink = d.sink
  and e.id < d.id and e.state in ('pending', 'sending'))`;

async function withRuns(tx: Db, rows: Selectable<Tables["deliveries"]>[]): Promise<Claimed[]> {
  const claimed: Claimed[] = [];
  for (const row of rows.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    const run = await tx.selectFrom("runs").select("state").where("run_id", "=", row.run_id).executeTakeFirst();
    if (!run) continue;
    const { ended, firstAt } = await pastAttempts(tx, row.id);
    claimed.push({
      delivery: deliveryOf(row),
      maybeSent: row.maybe_sent === 1,
      throttled: row.throttled,
      cutShort: row.attempts - 1 - ended,
      firstTriedAt: firstAt,
      state: stateOf(run.state),
      previous: await previousReceipt(tx, row),
    });
  }
  return claimed;
}

async function previousReceipt(tx: Db, row: Selectable<Tables["deliveries"]>): Promise<DeliveryReceipt | null> {
  const previous = await tx
    .selectFrom("deliveries")
    .select("receipt")
    .where("run_id", "=", row.run_id)
    .where("sink", "=", row.sink)
    .where("id", "<", row.id)
    .where("state", "=", "delivered")
    .orderBy("id", "desc")
    .limit(1)
    .executeTakeFirst();
  return receiptOf(previous?.receipt ?? null);
}

async function nextDueAt(db: Db, queue: Queue, now: number): Promise<number | null> {
  const first = firstDue(db, queue.sink).limit(1);
  const next = queue.holdMs === null ? first : head(db, queue.sink, now + queue.holdMs);
  // An ordered queue in which everything waits longer than it would hold: the first that comes due.
  const row = (await next.executeTakeFirst()) ?? (await first.executeTakeFirst());
  return row?.next_attempt_at ?? null;
}

async function record(change: Change, attempt: FinishedAttempt): Promise<boolean> {
  const { tx, ledger } = change;
  const { outcome } = attempt;
  const row = await tx
    .updateTable("deliveries")
    .set(afterAttempt(attempt))
    .where("id", "=", attempt.deliveryId)
    .where("state", "=", "sending")
    .where("attempts", "=", attempt.n)
    .returningAll()
    .executeTakeFirst();
  await saveCircuit(tx, attempt.sink, attempt.circuit);
  if (row === undefined) return false;
  ledger.moved(row);
  if (outcome.kind === "delivered") await cancelTold(change, row);
  await tx
    .insertInto("attempts")
    .values({
      delivery_id: attempt.deliveryId,
      n: attempt.n,
      started_at: attempt.startedAt,
      finished_at: attempt.finishedAt,
      outcome: outcome.kind,
      reason: outcome.kind === "delivered" ? null : outcome.reason,
    })
    .execute();
  return true;
}

/** What waits for the sink of a delivery that arrived, and says no more than that one did. */
async function cancelTold({ tx, ledger }: Change, told: Selectable<Tables["deliveries"]>): Promise<void> {
  const canceled = await tx
    .updateTable("deliveries")
    .set({ state: "canceled", next_attempt_at: null })
    .where("run_id", "=", told.run_id)
    .where("sink", "=", told.sink)
    .where("id", ">", told.id)
    .where("state", "=", "pending")
    .where("cause", "in", ["update", "correction"])
    .where("revision", "<=", told.revision)
    .returningAll()
    .execute();
  for (const row of canceled) ledger.moved(row);
}

function afterAttempt({ outcome, finishedAt, nextAttemptAt, revision }: FinishedAttempt) {
  switch (outcome.kind) {
    case "delivered":
      return {
        state: "delivered",
        revision,
        next_attempt_at: null,
        delivered_at: finishedAt,
        last_error: null,
        receipt: JSON.stringify(outcome.receipt),
      };
    case "retry":
      return {
        state: "pending",
        next_attempt_at: nextAttemptAt,
        last_error: outcome.reason,
        ...(outcome.unknown === true ? { maybe_sent: 1 } : {}),
        ...(outcome.throttled === true ? { throttled: sql<number>`throttled + 1` } : {}),
      };
    case "dead":
      return { state: "dead", next_attempt_at: null, last_error: outcome.reason };
  }
}

async function takeOver(tx: Db, now: number, waitMs: (cutShort: number) => number): Promise<number> {
  const taken = await tx.selectFrom("deliveries").selectAll().where("state", "=", "sending").execute();
  for (const { id, attempts: begun, next_attempt_at: leasedUntil } of taken) {
    const due = now + waitMs(begun - (await pastAttempts(tx, id)).ended);
    // The state stays `sending`, so that the claim knows that an attempt was cut short. Who waits already waits no longer.
    await tx
      .updateTable("deliveries")
      .set({ next_attempt_at: Math.min(due, leasedUntil ?? due) })
      .where("id", "=", id)
      .execute();
  }
  return taken.length;
}

/** How many attempts of a delivery were seen to end, and when the first of them began. */
async function pastAttempts(db: Db, deliveryId: string): Promise<{ ended: number; firstAt: number | null }> {
  const past = db
    .selectFrom("attempts")
    .select(({ fn }) => [fn.countAll<number>().as("ended"), fn.min("started_at").as("firstAt")]);
  return past.where("delivery_id", "=", deliveryId).executeTakeFirstOrThrow();
}

async function buryOrphans({ tx, ledger }: Change, sinks: readonly string[], reason: string): Promise<number> {
  const orphans = tx.updateTable("deliveries").set({ state: "dead", next_attempt_at: null, last_error: reason });
  const buried = await orphans
    .where(isWaiting("deliveries"))
    .where((where) => (sinks.length === 0 ? where.lit(true) : where("sink", "not in", sinks)))
    .returningAll()
    .execute();
  for (const row of buried) ledger.moved(row);
  return buried.length;
}

async function expire({ tx, ledger }: Change, sink: string, createdBefore: number, reason: string): Promise<string[]> {
  const expired = await tx
    .updateTable("deliveries")
    .set({ state: "dead", next_attempt_at: null, last_error: reason })
    .where("sink", "=", sink)
    .where("state", "=", "pending")
    .where("created_at", "<", createdBefore)
    .returningAll()
    .execute();
  for (const row of expired) ledger.moved(row);
  return expired.map(({ id }) => id);
}

async function circuits(db: Db): Promise<Map<string, Circuit>> {
  const rows = await db.selectFrom("circuits").selectAll().execute();
  return new Map(rows.map(({ sink, ...row }) => [sink, { ...row, state: row.state as Circuit["state"] }]));
}

const saveCircuit = (db: Db, sink: string, circuit: Circuit) =>
  db
    .insertInto("circuits")
    .values({ sink, ...circuit })
    .onConflict((conflict) => conflict.column("sink").doUpdateSet(circuit))
    .execute();

async function redeliverAll(
  change: Change,
  filter: DeliveryFilter,
  make: (delivery: { sink: string; kind: string }) => NewDelivery,
  { now, limit, dryRun }: { now: number; limit: number; dryRun: boolean },
): Promise<number> {
  const rows = await deliveriesThat(change.tx.selectFrom("deliveries"), filter)
    // Nothing was owed to anybody by a test.
    .where("cause", "!=", "test")
    // The last word on each run and sink, so that what was made good since is not sent once more.
    .where(
      sql<boolean>`not exists (select 1 from deliveries e where e.run_id = deliveries.run_id
        and e.sink = deliveries.sink and (e.id > deliveries.id or e.state in ('pending', 'sending')))`,
    )
    .select(["run_id", "sink", "kind"])
    .orderBy("id")
    .limit(limit)
    .execute();
  if (dryRun) return rows.length;
  for (const { run_id: runId, ...target } of rows) await redeliver(change, runId, [make(target)], now);
  return rows.length;
}

async function redeliver(
  change: Change,
  runId: string,
  fresh: readonly NewDelivery[],
  now: number,
): Promise<Delivery[] | null> {
  const { tx } = change;
  const row = await tx.selectFrom("runs").select("state").where("run_id", "=", runId).executeTakeFirst();
  if (!row) return null;
  await insertDeliveries(change, stateOf(row.state), fresh, now);
  const ids = fresh.map(({ id }) => id);
  if (ids.length === 0) return [];
  const rows = await tx.selectFrom("deliveries").selectAll().where("id", "in", ids).orderBy("id").execute();
  return rows.map(deliveryOf);
}

async function saveTest({ tx, ledger }: Change, test: FinishedTest): Promise<Delivery> {
  const { startedAt, finishedAt, outcome } = test;
  const delivered = outcome.kind === "delivered";
  const row = {
    id: test.deliveryId,
    run_id: test.runId,
    revision: 1,
    sink: test.sink,
    kind: test.kind,
    cause: "test",
    // Not dead: a test that failed is owed to nobody.
    state: delivered ? "delivered" : "canceled",
    attempts: 1,
    throttled: 0,
    next_attempt_at: null,
    maybe_sent: 0,
    last_error: delivered ? null : outcome.reason,
    created_at: startedAt,
    delivered_at: delivered ? finishedAt : null,
    receipt: delivered ? JSON.stringify(outcome.receipt) : null,
  };
  await tx.insertInto("deliveries").values(row).execute();
  await tx
    .insertInto("attempts")
    .values({
      delivery_id: row.id,
      n: 1,
      started_at: startedAt,
      finished_at: finishedAt,
      outcome: outcome.kind,
      reason: row.last_error,
    })
    .execute();
  ledger.made(row);
  return deliveryOf(row);
}

// --- artifacts ------------------------------------------------------------------------------------------------------

async function artifacts(db: Db, runId: string): Promise<KnownArtifacts> {
  const run = await db.selectFrom("runs").select("artifacts_status").where("run_id", "=", runId).executeTakeFirst();
  const rows = await artifactRows(db, [runId]);
  return { artifacts: rows.map(artifactOf), status: (run?.artifacts_status ?? "pending") as ArtifactsStatus };
}

const artifactRows = (db: Db, runIds: readonly string[]) =>
  db.selectFrom("artifacts").selectAll().where("run_id", "in", runIds).orderBy("run_id").orderBy("position").execute();

const artifactOf = ({ artifact_id, type, created_at }: Tables["artifacts"]): Artifact => ({
  artifact_id,
  type,
  created_at,
});

async function saveArtifacts(
  { tx, ledger }: Change,
  runId: string,
  known: KnownArtifacts,
  followUpAt: number | null,
): Promise<void> {
  if (followUpAt !== null) {
    const unplanned = tx.updateTable("runs").set({ follow_up_at: followUpAt }).where("run_id", "=", runId);
    await unplanned.where("follow_up_at", "is", null).where("follow_ups", "=", 0).execute();
  }
  if (isDeepStrictEqual(await artifacts(tx, runId), known)) return;
  ledger.changed(runId);
  await tx.updateTable("runs").set({ artifacts_status: known.status }).where("run_id", "=", runId).execute();
  await tx.deleteFrom("artifacts").where("run_id", "=", runId).execute();
  if (known.artifacts.length === 0) return;
  const rows = known.artifacts.map(({ artifact_id, type, created_at }, position) => ({
    run_id: runId,
    position,
    artifact_id,
    type,
    created_at,
  }));
  // SQLite allows some thousand values in one statement.
  for (let i = 0; i < rows.length; i += 500)
    await tx
      .insertInto("artifacts")
      .values(rows.slice(i, i + 500))
      .execute();
}

// --- history --------------------------------------------------------------------------------------------------------

const runRows = (db: Db) => db.selectFrom("runs").select(["run_id", "artifacts_status", "state"]);

async function storedRuns(
  db: Db,
  rows: { run_id: string; artifacts_status: string; state: string }[],
): Promise<StoredRun[]> {
  if (rows.length === 0) return [];
  const listed = await artifactRows(
    db,
    rows.map(({ run_id }) => run_id),
  );
  const byRun = Map.groupBy(listed, ({ run_id }) => run_id);
  return rows.map((row) => ({
    state: stateOf(row.state),
    artifacts: (byRun.get(row.run_id) ?? []).map(artifactOf),
    status: row.artifacts_status as ArtifactsStatus,
  }));
}

const RECEIPT_COLUMNS = [
  "id",
  "run_id",
  "verdict",
  "note",
  "routing",
  "reported_status",
  "source",
  "channel",
  "key_name",
  "body_hash",
  "body_bytes",
  "sent_at",
  "received_at",
  "copies",
  "last_received_at",
] as const;

const receiptRows = (db: Db) => db.selectFrom("receipts").select(RECEIPT_COLUMNS);

const receiptOfRow = (row: Pick<Tables["receipts"], (typeof RECEIPT_COLUMNS)[number]>): Receipt => ({
  ...row,
  verdict: row.verdict as Verdict,
  source: row.source as Source,
  routing: row.routing === null ? null : parseJson(row.routing),
});

async function attempts(db: Db, ids: readonly string[]): Promise<Attempt[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom("attempts")
    .selectAll()
    .where("delivery_id", "in", ids)
    .orderBy("started_at")
    .orderBy("n")
    .execute();
  return rows.map((row) => ({ ...row, outcome: row.outcome as Outcome["kind"] }));
}

// --- what Skyvern says ----------------------------------------------------------------------------------------------

async function dueFollowUps(db: Db, now: number, limit: number) {
  const rows = await db
    .selectFrom("runs")
    .select(["run_id", "artifacts_status", "state", "follow_ups"])
    .where("follow_up_at", "<=", now)
    .orderBy("follow_up_at")
    .limit(limit)
    .execute();
  const runs = await storedRuns(db, rows);
  return runs.map((run, i) => ({ run, failures: rows[i]?.follow_ups ?? 0 }));
}

async function outcomes(db: Db, runIds: readonly string[]): Promise<Map<string, KnownOutcome>> {
  if (runIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("runs")
    .select(["run_id", "status", "state"])
    .where("run_id", "in", runIds)
    .execute();
  return new Map(
    rows.map(({ run_id, status, state }) => [run_id, { status, reportedStatus: stateOf(state).run.reported_status }]),
  );
}

async function unfinished(db: Db, since: number, limit: number) {
  const rows = await db
    .selectFrom("runs")
    .select(["run_id as runId", "organization_id as organization"])
    .where("received_at", ">=", since)
    .where("status", "not in", TERMINAL_STATUSES)
    .orderBy("received_at")
    .limit(limit)
    .execute();
  return rows;
}

async function sight(tx: Db, runs: readonly Sighting[]): Promise<void> {
  const rows = new Map(
    runs.map(({ runId, createdAt, seenAt, mine }) => [
      runId,
      { run_id: runId, created_at: createdAt, seen_at: seenAt, mine: mine ? 1 : 0 },
    ]),
  );
  const all = [...rows.values()];
  const days = new Map<number, number>();
  for (let i = 0; i < all.length; i += 500) {
    const news = await tx
      .insertInto("sightings")
      .values(all.slice(i, i + 500))
      .onConflict((conflict) =>
        conflict
          .column("run_id")
          .doUpdateSet({ mine: 1 })
          .where("sightings.mine", "=", 0)
          .where(sql<boolean>`excluded.mine = 1`),
      )
      .returning(["created_at", "mine"])
      .execute();
    for (const { created_at, mine } of news) {
      const day = dayOf(created_at);
      if (mine === 1) days.set(day, (days.get(day) ?? 0) + 1);
    }
  }
  await countSightings(tx, days);
}

/** Settled, and no delivery waits or is dead. */
const isRelayed = sql<boolean>`(exists (select 1 from runs r where r.run_id = sightings.run_id
    and r.status in (${sql.join(TERMINAL_STATUSES)}))
  and not exists (select 1 from deliveries d where d.run_id = sightings.run_id
    and (d.state in ('pending', 'sending') or d.state = 'dead' and not exists (select 1 from deliveries l
      where l.run_id = d.run_id and l.sink = d.sink and l.id > d.id and l.state = 'delivered'))))`;

async function sighting(db: Db, runId: string) {
  const row = await db.selectFrom("sightings").selectAll().where("run_id", "=", runId).executeTakeFirst();
  return row ? { createdAt: row.created_at, seenAt: row.seen_at, mine: row.mine === 1 } : null;
}

async function unrelayed(db: Db, query: { since: number; seenBefore: number; limit: number }): Promise<string[]> {
  const rows = await db
    .selectFrom("sightings")
    .select("run_id")
    .where(sql<boolean>`mine = 1`)
    .where("created_at", ">=", query.since)
    .where("seen_at", "<", query.seenBefore)
    .where(sql<boolean>`not ${isRelayed}`)
    .orderBy("created_at")
    .limit(query.limit)
    .execute();
  return rows.map(({ run_id }) => run_id);
}

// --- settings -------------------------------------------------------------------------------------------------------

async function setting(db: Db, name: string, initial: string): Promise<string> {
  await db
    .insertInto("settings")
    .values({ name, value: initial })
    .onConflict((conflict) => conflict.column("name").doNothing())
    .execute();
  const row = await db.selectFrom("settings").select("value").where("name", "=", name).executeTakeFirstOrThrow();
  return row.value;
}

const saveSetting = (db: Db, name: string, value: string) =>
  db
    .insertInto("settings")
    .values({ name, value })
    .onConflict((conflict) => conflict.column("name").doUpdateSet({ value }))
    .execute();
