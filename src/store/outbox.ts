/** The outbox: what is due, who has it, what came of it, and sending again. */
import { sql, type Kysely, type Selectable } from "kysely";
import type { Circuit, Delivery, DeliveryReceipt } from "../run.ts";
import { insertDeliveries } from "./accept.ts";
import type { Change } from "./change.ts";
import { deliveriesThat } from "./find.ts";
import { deliveryOf, isWaiting, receiptOf, stateOf } from "./rows.ts";
import type { Claim, Claimed, DeliveryFilter, FinishedAttempt, FinishedTest, NewDelivery, Queue } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export async function claimDue(tx: Db, queue: Queue, { now, leaseMs, limit, except }: Claim): Promise<Claimed[]> {
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

export async function nextDueAt(db: Db, queue: Queue, now: number): Promise<number | null> {
  const first = firstDue(db, queue.sink).limit(1);
  const next = queue.holdMs === null ? first : head(db, queue.sink, now + queue.holdMs);
  // An ordered queue in which everything waits longer than it would hold: the first that comes due.
  const row = (await next.executeTakeFirst()) ?? (await first.executeTakeFirst());
  return row?.next_attempt_at ?? null;
}

export async function record(change: Change, attempt: FinishedAttempt): Promise<boolean> {
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

export async function takeOver(tx: Db, now: number, waitMs: (cutShort: number) => number): Promise<number> {
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

export async function buryOrphans({ tx, ledger }: Change, sinks: readonly string[], reason: string): Promise<number> {
  const orphans = tx.updateTable("deliveries").set({ state: "dead", next_attempt_at: null, last_error: reason });
  const buried = await orphans
    .where(isWaiting("deliveries"))
    .where((where) => (sinks.length === 0 ? where.lit(true) : where("sink", "not in", sinks)))
    .returningAll()
    .execute();
  for (const row of buried) ledger.moved(row);
  return buried.length;
}

export async function expire(
  { tx, ledger }: Change,
  sink: string,
  createdBefore: number,
  reason: string,
): Promise<string[]> {
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

export async function circuits(db: Db): Promise<Map<string, Circuit>> {
  const rows = await db.selectFrom("circuits").selectAll().execute();
  return new Map(rows.map(({ sink, ...row }) => [sink, { ...row, state: row.state as Circuit["state"] }]));
}

export const saveCircuit = (db: Db, sink: string, circuit: Circuit) =>
  db
    .insertInto("circuits")
    .values({ sink, ...circuit })
    .onConflict((conflict) => conflict.column("sink").doUpdateSet(circuit))
    .execute();

export async function redeliverAll(
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

export async function redeliver(
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

export async function saveTest({ tx, ledger }: Change, test: FinishedTest): Promise<Delivery> {
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
