/** What the roll-ups say. Nothing here reads a run, and of the deliveries only the oldest that waits. */
import type { Kysely } from "kysely";
import { DAY_MS, deliveryCounts, HOUR_MS } from "./ledger.ts";
import type { Backlog, Counts, Grain, Statistics } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export const GRAIN_MS: Record<Grain, number> = { hour: HOUR_MS, day: DAY_MS };

export async function statistics(db: Db, grain: Grain, since: number, until: number): Promise<Statistics> {
  const runs = await db
    .selectFrom("run_counts")
    .select(["start", "status", "count"])
    .where("grain", "=", grain)
    .where("start", ">=", since)
    .where("start", "<", until)
    .where("count", ">", 0)
    .orderBy("start")
    .orderBy("status")
    .execute();
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

export async function backlog(db: Db): Promise<Backlog[]> {
  const rows: Backlog[] = [];
  for (const [sink, { waiting }] of await deliveryCounts(db)) {
    // Ids sort by time: the first that waits is the oldest.
    const oldest = await db
      .selectFrom("deliveries")
      .select("created_at")
      .where("sink", "=", sink)
      .where("state", "in", ["pending", "sending"])
      .orderBy("id")
      .limit(1)
      .executeTakeFirst();
    if (oldest) rows.push({ sink, waiting, oldest: oldest.created_at });
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
      .executeTakeFirstOrThrow();
    const states = { pending: waiting - sending, sending, delivered, dead, canceled };
    for (const [state, count] of Object.entries(states)) if (count > 0) deliveries.push({ sink, state, count });
  }
  const { kept } = await db
    .selectFrom("receipts")
    .select(({ fn }) => fn.countAll<number>().as("kept"))
    .where("run_id", "is", null)
    .executeTakeFirstOrThrow();
  return { deliveries, kept };
}
