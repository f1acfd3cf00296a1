/** Reads the roll-ups. Nothing here reads a run or a delivery except open ones. */
import { sql } from "kysely";
import { TERMINAL_STATUSES } from "../../domain/run.ts";
import { DAY_MS, HOUR_MS } from "../../platform/time.ts";
import { deliveryCounts } from "./rollups.ts";
import type { Coverage } from "../contract/reconcile.ts";
import type { Backlog, Counts, DeliveryTimes, Grain, Statistics } from "../contract/stats.ts";
import { isWaiting } from "../outbox/rows.ts";
import type { Db } from "../tables.ts";

export const GRAIN_MS: Record<Grain, number> = { hour: HOUR_MS, day: DAY_MS };

export const runCounts = (db: Db, grain: Grain, since: number, until: number): Promise<Statistics["runs"]> =>
  db
    .selectFrom("run_counts")
    .select(["start", "status", "count"])
    .where("grain", "=", grain)
    .where("start", ">=", since)
    .where("start", "<", until)
    .where("count", ">", 0)
    .orderBy("start")
    .orderBy("status")
    .execute();

export async function statistics(db: Db, grain: Grain, since: number, until: number): Promise<Statistics> {
  const runs = await runCounts(db, grain, since, until);
  const times = await db
    .selectFrom("delivery_times")
    .select(({ fn }) => ["sink", "bucket", fn.sum<number>("count").as("count")])
    .where("grain", "=", grain)
    .where("start", ">=", since)
    .where("start", "<", until)
    .groupBy(["sink", "bucket"])
    .orderBy("sink")
    .orderBy("bucket")
    .execute();
  return { runs, times };
}

/** How long successful deliveries took, by hour or day. */
export const deliveryTimes = (db: Db, grain: Grain, since: number, until: number): Promise<DeliveryTimes[]> =>
  db
    .selectFrom("delivery_times")
    .select(["start", "sink", "bucket", "count"])
    .where("grain", "=", grain)
    .where("start", ">=", since)
    .where("start", "<", until)
    .orderBy("start")
    .orderBy("sink")
    .orderBy("bucket")
    .execute();

export async function backlog(db: Db): Promise<Backlog[]> {
  const rows: Backlog[] = [];
  for (const [sink, { waiting }] of await deliveryCounts(db)) {
    // Ids sort by time, so the first pending delivery is the oldest.
    const oldest = await db
      .selectFrom("deliveries")
      .select("created_at")
      .where("sink", "=", sink)
      .where(isWaiting("deliveries"))
      .orderBy("id")
      .limit(1)
      .executeTakeFirst();
    if (oldest) rows.push({ sink, size: waiting, oldest: oldest.created_at });
  }
  return rows;
}

export async function counts(db: Db): Promise<Counts> {
  const deliveries: Counts["deliveries"] = [];
  for (const [sink, { waiting, delivered, dead, canceled }] of await deliveryCounts(db)) {
    const { sending } = await db
      .selectFrom("deliveries")
      .select(({ fn }) => fn.countAll<number>().as("sending"))
      .where("sink", "=", sink)
      .where("state", "=", "sending")
      .where(isWaiting("deliveries"))
      .executeTakeFirstOrThrow();
    const states = { pending: waiting - sending, sending, delivered, dead, canceled };
    for (const [state, count] of Object.entries(states)) if (count > 0) deliveries.push({ sink, state, count });
  }
  const { unrecognized } = await db
    .selectFrom("receipts")
    .select(({ fn }) => fn.countAll<number>().as("unrecognized"))
    .where("run_id", "is", null)
    .executeTakeFirstOrThrow();
  return { deliveries, unrecognized };
}

// --- coverage -------------------------------------------------------------------------------------------------------

const isFinal = sql<boolean>`exists (select 1 from runs where runs.run_id = listed_runs.run_id
  and runs.status in (${sql.join(TERMINAL_STATUSES.map((status) => sql.lit(status)))}))`;

/** Counts new listed runs by day, and marks those of the open ones that are final by now. */
export async function countListedRuns(tx: Db, days: ReadonlyMap<number, number>): Promise<void> {
  for (const [day, count] of days)
    await tx
      .insertInto("listed_run_counts")
      .values({ day, count })
      .onConflict((conflict) =>
        conflict.column("day").doUpdateSet({ count: sql`listed_run_counts.count + excluded.count` }),
      )
      .execute();
  await sql`update listed_runs set settled = 1 where targets_this_relay = 1 and settled = 0 and ${isFinal}`.execute(tx);
}

/**
 * All listed runs, less those marked as having a dead delivery, less the few that are open: not known as final, or with
 * a pending delivery.
 */
export async function coverage(db: Db, since: number, until: number): Promise<Coverage[]> {
  const seen = await sql<Seen>`
    select created_at / ${sql.lit(DAY_MS)} * ${sql.lit(DAY_MS)} as day, count(*) as count,
      sum(dead) as dead from listed_runs
    where targets_this_relay = 1 and created_at >= ${since} and created_at < ${until} group by 1 order by 1`.execute(
    db,
  );
  return without(await openByDay(db, since, until), seen.rows);
}

/** The same for whole days, whose listed runs are already counted. */
export async function dailyCoverage(db: Db, since: number, until: number): Promise<Coverage[]> {
  const seen = await db
    .selectFrom("listed_run_counts")
    .selectAll()
    .where("day", ">=", since)
    .where("day", "<", until)
    .orderBy("day")
    .execute();
  return without(await openByDay(db, since, until + DAY_MS), seen);
}

interface Seen {
  day: number;
  count: number;
  dead: number;
}

const without = (open: ReadonlyMap<number, number>, seen: readonly Seen[]): Coverage[] =>
  seen.map(({ day, count, dead }) => ({
    day,
    seen: count,
    relayed: count - Number(dead) - (open.get(day) ?? 0),
  }));

async function openByDay(db: Db, since: number, until: number): Promise<Map<number, number>> {
  const { rows } = await sql<{ day: number; count: number }>`
    with open (run_id) as (
      select run_id from listed_runs where targets_this_relay = 1 and settled = 0 and not ${isFinal}
      union all
      select d.subject_id from delivery_counts c cross join deliveries d
      where c.state = 'made' and d.sink = c.sink and ${isWaiting("d")}
    )
    select s.created_at / ${sql.lit(DAY_MS)} * ${sql.lit(DAY_MS)} as day, count(distinct s.run_id) as count
    from open cross join listed_runs s
    where s.run_id = open.run_id and s.targets_this_relay = 1 and s.dead = 0 and s.created_at >= ${since} and s.created_at < ${until}
    group by 1`.execute(db);
  return new Map(rows.map(({ day, count }) => [day, count]));
}
