/** The outbox: claims due deliveries, records what came of them, and redelivers. */
import { sql } from "kysely";
import type { ArtifactsStatus, Circuit, Delivery, DeliveryReceipt, Outcome } from "../../domain/run.ts";
import { insertDeliveries } from "../receipts/accept.ts";
import { saveArtifacts } from "../receipts/artifacts.ts";
import { stateIn } from "../receipts/blocks.ts";
import type { WriteTransaction } from "../grouped.ts";
import { deliveriesThat } from "../history/find-runs.ts";
import { deliveryRow, isWaiting, parseReceipt, sameSubject, toDelivery } from "./rows.ts";
import { stateBlock } from "../history/page-size.ts";
import type { BulkSql } from "../bulk-sql.ts";
import type { Attempt, DeliveryFilter, FinishedTest } from "../contract/deliveries.ts";
import type { Claim, Claimed, FinishedAttempt, Queue, SharedClaim } from "../contract/outbox.ts";
import type { NewDelivery } from "../contract/receipts.ts";
import type { DeliveryRow, Db } from "../tables.ts";

export async function claimDue(rows: BulkSql, queue: Queue, claim: Claim): Promise<Claimed[]> {
  const { now, leaseMs, limit, except, shared } = claim;
  // Skips deliveries that another process is claiming right now. An ordered queue must not skip.
  if (queue.holdMs !== null || shared?.alone === true) await rows.lock("lane", queue.sink);
  if (shared && !(await mayGo(rows, queue, shared, now))) return [];
  const due = queue.holdMs === null ? `${FIRST_DUE}${rows.dialect === "postgres" ? SKIPPING : ""}` : HEAD;
  const bounds = queue.holdMs === null ? [limit] : [now + queue.holdMs];
  // Powers of two keep the number of different statements small.
  const places = except.length === 0 ? 0 : 2 ** Math.ceil(Math.log2(except.length));
  const claimed = await rows.query<DeliveryRow>(
    // MATERIALIZED: PostgreSQL might otherwise evaluate the due rows more than once and lock other rows each time.
    // A row that is still `sending`: its process died in the attempt, perhaps after the message had gone out.
    // `reclaimLeases` leaves it so, and makes it due.
    `with due as materialized (${due})
    update deliveries set state = 'sending', attempts = attempts + 1, next_attempt_at = ?,
      maybe_sent = case when state = 'sending' then 1 else maybe_sent end${shared ? ", leased_by = ?" : ""}
    where id in (select id from due where next_attempt_at <= ?)
      -- Said again: without it two workers on one database may both get a row.
      and state in ('pending', 'sending') and next_attempt_at <= ?
      ${places === 0 ? "" : `and id not in (${Array.from({ length: places }, () => "?").join(", ")})`}
    returning *`,
    [
      queue.sink,
      ...bounds,
      now + leaseMs,
      ...(shared ? [shared.holder] : []),
      now,
      now,
      ...except,
      ...Array<string>(places - except.length).fill(""),
    ],
  );
  if (shared && shared.everyMs > 0 && claimed.length > 0)
    await rows.query("update paces set next_at = ? where destination = ?", [now + shared.everyMs, shared.destination]);
  return withRuns(rows, claimed);
}

const SKIPPING = " for update of d skip locked";

/** True when other relays leave the sink free. The pace is locked until the transaction ends. */
async function mayGo(rows: BulkSql, { sink }: Queue, { alone, destination, everyMs }: SharedClaim, now: number) {
  const under = "select id from deliveries where sink = ? and state = 'sending' and next_attempt_at > ? limit 1";
  if (alone && (await rows.query(under, [sink, now])).length > 0) return false;
  const paced = everyMs > 0;
  if (paced)
    await rows.query("insert into paces (destination, next_at) values (?, 0) on conflict do nothing", [destination]);
  const slot = `select next_at from paces where destination = ?${paced ? " for update" : ""}`;
  const [row] = await rows.query<{ next_at: number }>(slot, [destination]);
  return row === undefined || row.next_at <= now;
}

export async function slotAt(rows: BulkSql, destination: string): Promise<number> {
  const [row] = await rows.query<{ next_at: number }>("select next_at from paces where destination = ?", [destination]);
  return row?.next_at ?? 0;
}

export const pause = (rows: BulkSql, destination: string, until: number): Promise<void> =>
  rows.insert(
    "paces",
    [{ destination, next_at: until }],
    `on conflict (destination) do update set next_at = excluded.next_at where paces.next_at < excluded.next_at`,
  );

/**
 * A correction waits until what it corrects has been delivered or is dead. The query lists the final states on purpose,
 * so that no partial index fits: PostgreSQL would choose one that it believes empty, and read everything that waits for
 * each row.
 */
const NOTHING_BEFORE = `not exists (select 1 from deliveries e where e.subject_id = d.subject_id and e.sink = d.sink
  and e.id < d.id and e.state not in ('delivered', 'dead', 'canceled'))`;

/**
 * The condition on pending deliveries of a sink. It writes the states out because SQLite uses a partial index only
 * where the query repeats its condition.
 */
const WAITING = `select d.id, d.next_attempt_at from deliveries d
  where d.sink = ? and d.state in ('pending', 'sending') and ${NOTHING_BEFORE}`;

/** The same, first due first. */
const FIRST_DUE = `${WAITING} order by d.next_attempt_at, d.id limit ?`;

/** The next delivery of an ordered queue. Deliveries that will be retried only after `holdMs` let others pass. */
const HEAD = `${WAITING} and (d.state = 'sending' or d.next_attempt_at <= ?) order by d.id limit 1`;

async function withRuns(rows: BulkSql, claimed: readonly DeliveryRow[]): Promise<Claimed[]> {
  if (claimed.length === 0) return [];
  const runIds = [...new Set(claimed.map(({ subject_id }) => subject_id))];
  const runs = await rows.find("runs", ["run_id", "artifacts_status", "state_receipt"], "run_id", runIds);
  const receipts = runs.map(({ state_receipt }) => state_receipt);
  const blocks = new Map(
    (await rows.find("receipts", ["id", "block"], "id", receipts)).map((row) => [row.id, row.block]),
  );
  // Only an update, a correction or a redelivery has an earlier message.
  const later = claimed.flatMap(({ cause, subject_id }) => (cause === "result" ? [] : [subject_id]));
  const columns = ["id", "subject_kind", "subject_id", "sink", "kind", "state", "receipt"] as const;
  const delivered = await rows.find("deliveries", columns, "subject_id", [...new Set(later)]);
  const byId = new Map(runs.map((run) => [run.run_id, run]));
  return claimed
    .toSorted((a, b) => (a.id < b.id ? -1 : 1))
    .flatMap((row): Claimed[] => {
      const run = byId.get(row.subject_id);
      const block = blocks.get(run?.state_receipt ?? "");
      // Retention keeps the run of a pending delivery (`free` in `retention.ts`). If it were gone nevertheless, the
      // others must go out.
      if (!run || !block) return [];
      return [
        {
          delivery: toDelivery(row),
          maybeSent: row.maybe_sent === 1,
          throttled: row.throttled,
          cutShort: row.attempts - 1 - row.ended,
          firstTriedAt: attemptsIn(row)[0]?.started_at ?? null,
          state: stateIn(block),
          artifactsStatus: run.artifacts_status as ArtifactsStatus,
          previous: previousReceipt(row, delivered),
        },
      ];
    });
}

function previousReceipt(
  row: DeliveryRow,
  delivered: readonly Pick<DeliveryRow, "id" | "subject_kind" | "subject_id" | "sink" | "kind" | "state" | "receipt">[],
): DeliveryReceipt | null {
  let last: (typeof delivered)[number] | null = null;
  for (const one of delivered) {
    const isSame =
      one.subject_kind === row.subject_kind &&
      one.subject_id === row.subject_id &&
      one.sink === row.sink &&
      one.kind === row.kind;
    if (isSame && one.id < row.id && one.state === "delivered" && (last === null || one.id > last.id)) last = one;
  }
  return parseReceipt(last?.receipt ?? null);
}

export async function nextDue(rows: BulkSql, queue: Queue, now: number): Promise<number | null> {
  const first = async (due: string, bound: number): Promise<number | null> => {
    const [waiting] = await rows.query<{ next_attempt_at: number }>(due, [queue.sink, bound]);
    return waiting?.next_attempt_at ?? null;
  };
  if (queue.holdMs === null) return first(FIRST_DUE, 1);
  // Every delivery in this ordered queue waits longer than it may hold up the others, so the first to come due is next.
  return (await first(HEAD, now + queue.holdMs)) ?? first(FIRST_DUE, 1);
}

/** Records the attempts in order, and answers for each whether it still had its lease. */
export async function recordAll(
  transaction: WriteTransaction,
  attempts: readonly FinishedAttempt[],
): Promise<boolean[]> {
  const { rows, ledger } = transaction;
  // Runs are locked before their deliveries, as everywhere.
  await saveArtifacts(
    transaction,
    attempts.flatMap(({ found }) => found ?? []),
  );
  await rows.lockDeliveries(attempts.map(({ deliveryId }) => deliveryId));
  const written = await rows.update("deliveries", attempts.map(afterAttempt), {
    set: AFTER_ATTEMPT,
    where: "deliveries.id = v.id and deliveries.state = 'sending' and deliveries.attempts = v.attempts",
    returning: true,
  });
  const circuits = new Map(attempts.map(({ sink, circuit }) => [sink, circuit]));
  await saveCircuits(rows, circuits);
  const byAttempt = new Map(written.map((row) => [attemptKey(row.id, row.attempts), row]));
  for (const row of written) ledger.moved(row);
  const delivered = written.filter(({ state, cause }) => state === "delivered" && cause !== "test");
  await cancelObsolete(transaction, delivered);
  await cancelMadeGood(transaction, delivered);
  return attempts.map(({ deliveryId, n }) => byAttempt.has(attemptKey(deliveryId, n)));
}

const attemptKey = (deliveryId: string, n: number): string => `${deliveryId} ${n}`;

// --- the log of attempts --------------------------------------------------------------------------------------------

/**
 * The finished attempts of a delivery as the column `log` holds them: JSON lists, one a line, each with a line feed at
 * its end.
 */
type LoggedAttempt = [n: number, startedAt: number, finishedAt: number, outcome: Outcome["kind"], reason?: string];

const logged = ({ n, startedAt, finishedAt, outcome }: AttemptToLog): string =>
  `${JSON.stringify([n, startedAt, finishedAt, outcome.kind, ...(outcome.reason === undefined ? [] : [outcome.reason])])}\n`;

type AttemptToLog = Pick<FinishedAttempt, "n" | "startedAt" | "finishedAt" | "outcome">;

/** Oldest attempt first. */
export const attemptsIn = ({ id, log }: Pick<DeliveryRow, "id" | "log">): Attempt[] =>
  (log ?? "")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [n, started_at, finished_at, outcome, reason = null] = JSON.parse(line) as LoggedAttempt;
      return { delivery_id: id, n, started_at, finished_at, outcome, reason };
    });

/** Cancels what waits for the sinks of delivered messages and shows no later revision than those did. */
async function cancelObsolete({ rows, ledger }: WriteTransaction, delivered: readonly DeliveryRow[]): Promise<void> {
  const canceled = await rows.update(
    "deliveries",
    delivered
      .filter(({ subject_kind }) => subject_kind === "run")
      .map(({ id, subject_id, sink, revision }) => ({ id, subject_id, sink, revision })),
    {
      set: "state = 'canceled', next_attempt_at = null",
      where: `deliveries.subject_id = v.subject_id and deliveries.sink = v.sink and deliveries.id > v.id
        and deliveries.state = 'pending' and deliveries.cause in ('update', 'correction')
        and deliveries.revision <= v.revision`,
      returning: true,
    },
  );
  for (const row of canceled) ledger.moved(row);
}

/** Cancels dead deliveries that a later one to the same sink made good. Nothing is dead before a first result. */
async function cancelMadeGood({ rows, ledger }: WriteTransaction, delivered: readonly DeliveryRow[]): Promise<void> {
  const madeGood = await rows.update(
    "deliveries",
    delivered
      .filter(({ cause }) => cause !== "result")
      .map(({ id, subject_kind, subject_id, sink, revision }) => ({ id, subject_kind, subject_id, sink, revision })),
    {
      set: "state = 'canceled'",
      where: `${sameSubject("deliveries", "v")} and deliveries.sink = v.sink and deliveries.id < v.id
        and deliveries.state = 'dead'`,
      returning: true,
    },
  );
  for (const row of madeGood) ledger.revived(row);
}

/** The columns that an attempt changes; null leaves a column as it is, except the due time and the last error. */
function afterAttempt(attempt: FinishedAttempt) {
  const { outcome } = attempt;
  const delivered = outcome.kind === "delivered";
  return {
    id: attempt.deliveryId,
    attempts: attempt.n,
    state: outcome.kind === "retry" ? "pending" : outcome.kind,
    revision: delivered ? attempt.revision : null,
    next_attempt_at: outcome.kind === "retry" ? attempt.nextAttemptAt : null,
    delivered_at: delivered ? attempt.finishedAt : null,
    last_error: outcome.reason ?? null,
    receipt: outcome.kind !== "dead" && outcome.receipt ? JSON.stringify(outcome.receipt) : null,
    maybe_sent: outcome.kind === "retry" && outcome.unknown === true ? 1 : 0,
    throttled: outcome.kind === "retry" && outcome.throttled === true ? 1 : 0,
    log: logged(attempt),
  };
}

const AFTER_ATTEMPT = `state = v.state, revision = coalesce(v.revision, deliveries.revision),
  next_attempt_at = v.next_attempt_at, delivered_at = coalesce(v.delivered_at, deliveries.delivered_at),
  last_error = v.last_error, receipt = coalesce(v.receipt, deliveries.receipt),
  maybe_sent = case when v.maybe_sent = 1 then 1 else deliveries.maybe_sent end,
  throttled = deliveries.throttled + v.throttled, ended = deliveries.ended + 1,
  log = coalesce(deliveries.log, '') || v.log`;

export async function reclaimLeases(
  tx: Db,
  now: number,
  waitsMs: readonly number[] = [],
  holders?: readonly string[],
): Promise<number> {
  let leased = tx.selectFrom("deliveries").selectAll().where("state", "=", "sending").where(isWaiting("deliveries"));
  if (holders) leased = leased.where(sql<boolean>`leased_by in (${sql.join(holders)})`);
  const reclaimed = await leased.execute();
  for (const { id, attempts: begun, ended, next_attempt_at: leasedUntil } of reclaimed) {
    const cutShort = begun - ended;
    const due = now + (waitsMs[cutShort - 1] ?? waitsMs.at(-1) ?? 0);
    // The state stays `sending`, so that the claim sees that an attempt was cut short. A wait that has begun is not
    // made longer.
    // Skips rows that another relay has claimed since.
    await sql`update deliveries set next_attempt_at = ${Math.min(due, leasedUntil ?? due)}
      ${holders ? sql`, leased_by = null` : sql``}
      where id = ${id} and state = 'sending' and attempts = ${begun}`.execute(tx);
  }
  return reclaimed.length;
}

export async function release(tx: Db, ids: readonly string[], now: number): Promise<void> {
  if (ids.length === 0) return;
  await released(tx, now).where("id", "in", ids).execute();
}

export async function releaseUnconfirmed(
  tx: Db,
  holder: string,
  except: readonly string[],
  now: number,
): Promise<number> {
  let lost = released(tx, now).where(sql<boolean>`leased_by = ${holder}`);
  if (except.length > 0) lost = lost.where("id", "not in", except);
  return (await lost.returning("id").execute()).length;
}

/** A claim that never started leaves the row as it was before. Only PostgreSQL has the column that names the holder. */
const released = (tx: Db, now: number) =>
  tx
    .updateTable("deliveries")
    .set((row) => ({ state: "pending", attempts: row("attempts", "-", 1), next_attempt_at: now }))
    .where("state", "=", "sending");

export async function deadLetterOrphans(
  { tx, ledger }: WriteTransaction,
  sinks: readonly string[],
  reason: string,
  now: number,
): Promise<number> {
  const orphans = tx.updateTable("deliveries").set({ state: "dead", next_attempt_at: null, last_error: reason });
  const dead = await orphans
    .where(isWaiting("deliveries"))
    .where((where) => where.or([where("state", "=", "pending"), where("next_attempt_at", "<=", now)]))
    .where((where) => (sinks.length === 0 ? where.lit(true) : where("sink", "not in", sinks)))
    .returningAll()
    .execute();
  for (const row of dead) ledger.moved(row);
  return dead.length;
}

export async function expire(
  { tx, ledger }: WriteTransaction,
  sink: string,
  createdBefore: number,
  reason: string,
): Promise<string[]> {
  const expired = await tx
    .updateTable("deliveries")
    .set({ state: "dead", next_attempt_at: null, last_error: reason })
    .where("sink", "=", sink)
    .where("state", "=", "pending")
    .where(isWaiting("deliveries"))
    .where("created_at", "<", createdBefore)
    .where("ended", ">", 0)
    .returningAll()
    .execute();
  for (const row of expired) ledger.moved(row);
  return expired.map(({ id }) => id);
}

export async function circuits(db: Db): Promise<Map<string, Circuit>> {
  const rows = await db.selectFrom("circuits").selectAll().execute();
  return new Map(rows.map(({ sink, ...row }) => [sink, { ...row, state: row.state as Circuit["state"] }]));
}

export const saveCircuits = (rows: BulkSql, circuits: ReadonlyMap<string, Circuit>): Promise<void> =>
  rows.insert(
    "circuits",
    // All relays lock in one order, so that two relays on one database never deadlock.
    [...circuits]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([sink, circuit]) => ({
        sink,
        state: circuit.state,
        failures: circuit.failures,
        openings: circuit.openings,
        until: circuit.until,
        reason: circuit.reason,
        last_success_at: circuit.last_success_at,
        last_failure_at: circuit.last_failure_at,
      })),
    `on conflict (sink) do update set state = excluded.state, failures = excluded.failures, openings = excluded.openings,
      until = excluded.until, reason = excluded.reason, last_success_at = excluded.last_success_at,
      last_failure_at = excluded.last_failure_at`,
  );

export async function redeliverAll(
  transaction: WriteTransaction,
  filter: DeliveryFilter,
  ids: readonly string[],
  now: number,
): Promise<number> {
  await transaction.rows.lock("redelivery");
  const rows = await redeliverable(transaction.tx, filter, ids.length);
  for (const [i, { subject_id: runId, subject_kind: subject, revision, ...target }] of rows.entries()) {
    const about = subject === "attempt" ? { runAttempt: revision } : {};
    await redeliver(transaction, runId, [{ id: ids[i] ?? "", ...target, ...about, cause: "redelivery" }], now);
  }
  return rows.length;
}

/** The deliveries to redeliver, oldest first. */
export const redeliverable = (db: Db, filter: DeliveryFilter, limit: number) =>
  deliveriesThat(db.selectFrom("deliveries"), filter)
    // Nothing was owed to anybody by a test.
    .where("cause", "!=", "test")
    // The last word on each subject and sink, so that what was made good since is not sent once more.
    .where(
      sql<boolean>`not exists (select 1 from deliveries e where ${sql.raw(sameSubject("e", "deliveries"))}
        and e.sink = deliveries.sink and (e.id > deliveries.id or e.state in ('pending', 'sending')))`,
    )
    .select(["subject_kind", "subject_id", "revision", "sink", "kind"])
    .orderBy("id")
    .limit(limit)
    .execute();

export async function redeliver(
  transaction: WriteTransaction,
  runId: string,
  fresh: readonly NewDelivery[],
  now: number,
): Promise<Delivery[] | null> {
  const { tx } = transaction;
  const row = await tx.selectFrom("runs").select(stateBlock.as("block")).where("run_id", "=", runId).executeTakeFirst();
  if (!row) return null;
  const state = stateIn(row.block);
  await insertDeliveries(
    transaction,
    fresh.map((delivery) => deliveryRow(state, delivery, now)),
  );
  const ids = fresh.map(({ id }) => id);
  if (ids.length === 0) return [];
  const rows = await tx.selectFrom("deliveries").selectAll().where("id", "in", ids).orderBy("id").execute();
  return rows.map(toDelivery);
}

export async function saveTest({ tx, ledger }: WriteTransaction, test: FinishedTest): Promise<Delivery> {
  const { startedAt, finishedAt, outcome } = test;
  const delivered = outcome.kind === "delivered";
  const row: DeliveryRow = {
    id: test.deliveryId,
    subject_kind: "run",
    subject_id: test.runId,
    revision: 1,
    sink: test.sink,
    kind: test.kind,
    cause: "test",
    // A failed test is canceled, not dead: no result was lost.
    state: delivered ? "delivered" : "canceled",
    attempts: 1,
    ended: 1,
    throttled: 0,
    next_attempt_at: null,
    maybe_sent: 0,
    last_error: delivered ? null : outcome.reason,
    created_at: startedAt,
    subject_at: startedAt,
    delivered_at: delivered ? finishedAt : null,
    receipt: delivered ? JSON.stringify(outcome.receipt) : null,
    log: logged({ n: 1, startedAt, finishedAt, outcome }),
  };
  await tx.insertInto("deliveries").values(row).execute();
  ledger.made(row);
  return toDelivery(row);
}
