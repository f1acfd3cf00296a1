/** Compares Skyvern's own list with what is known here. */
import { sql } from "kysely";
import { TERMINAL_STATUSES } from "../../domain/run.ts";
import { storedRuns } from "../history/read.ts";
import { dayOf } from "../../platform/time.ts";
import { markDead } from "../stats/rollups.ts";
import { stateBlock } from "../history/page-size.ts";
import { sameSubject } from "../outbox/rows.ts";
import { stateIn } from "./blocks.ts";
import type { BulkSql } from "../bulk-sql.ts";
import { countListedRuns } from "../stats/read.ts";
import type { KnownOutcome, ListedRun, ReconcileStore } from "../contract/reconcile.ts";
import type { Db } from "../tables.ts";

export async function dueFollowUps(db: Db, now: number, limit: number) {
  const rows = await db
    .selectFrom("runs")
    .select(["run_id", "artifacts_status", "artifacts", stateBlock.as("block"), "follow_ups"])
    .where("follow_up_at", "<=", now)
    .orderBy("follow_up_at")
    .limit(limit)
    .execute();
  const runs = await storedRuns(rows);
  return runs.map((run, i) => ({ run, failures: rows[i]?.follow_ups ?? 0 }));
}

export async function setFollowUp(
  tx: Db,
  runId: string,
  { at, failures, since }: Parameters<ReconcileStore["setFollowUp"]>[1],
): Promise<void> {
  await tx
    .updateTable("runs")
    .set({ follow_up_at: at, follow_ups: failures })
    .where("run_id", "=", runId)
    // A dispute that came while Skyvern was asked has planned a follow-up of its own.
    .where(({ not, exists, selectFrom }) =>
      not(
        exists(
          selectFrom("receipts")
            .select("id")
            .where("run_id", "=", runId)
            .where("verdict", "=", "disputed")
            .where("received_at", ">=", since),
        ),
      ),
    )
    .execute();
}

export async function outcomes(db: Db, runIds: readonly string[]): Promise<Map<string, KnownOutcome>> {
  if (runIds.length === 0) return new Map();
  const rows = await db
    .selectFrom("runs")
    .select(["run_id", "status", stateBlock.as("block")])
    .where("run_id", "in", runIds)
    .execute();
  return new Map(
    rows.map(({ run_id, status, block }) => {
      const { run, owners } = stateIn(block);
      return [run_id, { status, reportedStatus: run.reported_status, attempt: run.attempt, owners }];
    }),
  );
}

export async function unfinished(db: Db, since: number, limit: number) {
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

export async function recordListedRuns(tx: Db, db: BulkSql, runs: readonly ListedRun[]): Promise<void> {
  // The lock comes first: a transaction that marks a delivery as dead holds it while it looks for the run here.
  await db.lock("ledger");
  const rows = new Map(
    runs.map(({ runId, createdAt, seenAt, targetsThisRelay }) => [
      runId,
      { run_id: runId, created_at: createdAt, seen_at: seenAt, targets_this_relay: targetsThisRelay ? 1 : 0 },
    ]),
  );
  const all = [...rows.values()];
  const days = new Map<number, number>();
  const fresh: string[] = [];
  for (let i = 0; i < all.length; i += 500) {
    const changed = await tx
      .insertInto("listed_runs")
      .values(all.slice(i, i + 500))
      .onConflict((conflict) =>
        conflict
          .column("run_id")
          .doUpdateSet({ targets_this_relay: 1 })
          .where("listed_runs.targets_this_relay", "=", 0)
          .where(sql<boolean>`excluded.targets_this_relay = 1`),
      )
      .returning(["run_id", "created_at", "targets_this_relay"])
      .execute();
    for (const { run_id, created_at, targets_this_relay } of changed) {
      if (targets_this_relay !== 1) continue;
      const day = dayOf(created_at);
      days.set(day, (days.get(day) ?? 0) + 1);
      fresh.push(run_id);
    }
  }
  await countListedRuns(tx, days);
  await markDead(db, fresh);
}

/** A run is relayed when it is settled and none of its deliveries is pending or dead. */
const isRelayed = sql<boolean>`(exists (select 1 from runs r where r.run_id = listed_runs.run_id
    and r.status in (${sql.join(TERMINAL_STATUSES)}))
  and not exists (select 1 from deliveries d where d.subject_id = listed_runs.run_id
    and (d.state in ('pending', 'sending') or d.state = 'dead' and not exists (select 1 from deliveries l
      where ${sql.raw(sameSubject("l", "d"))} and l.sink = d.sink
        and l.id > d.id and l.state = 'delivered'))))`;

export async function listedRun(db: Db, runId: string) {
  const row = await db.selectFrom("listed_runs").selectAll().where("run_id", "=", runId).executeTakeFirst();
  return row
    ? { createdAt: row.created_at, seenAt: row.seen_at, targetsThisRelay: row.targets_this_relay === 1 }
    : null;
}

export async function unrelayed(
  db: Db,
  query: { since: number; seenBefore: number; limit: number },
): Promise<string[]> {
  const rows = await db
    .selectFrom("listed_runs")
    .select("run_id")
    .where(sql<boolean>`targets_this_relay = 1`)
    .where("created_at", ">=", query.since)
    .where("seen_at", "<", query.seenBefore)
    .where(sql<boolean>`not ${isRelayed}`)
    .orderBy("created_at")
    .limit(query.limit)
    .execute();
  return rows.map(({ run_id }) => run_id);
}
