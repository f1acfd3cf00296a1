/**
 * Removing what retention says is due. Each step looks at so many rows in the order of age and removes those that may go,
 * in one transaction, and says where the next one begins: whatever has to stay is passed over once, not met again and again.
 *
 * What stays for ever are counts by time (`run_counts`, `delivery_times`): how many runs failed in March names none of
 * them, and is asked for long after. What counts rows that are there (`delivery_counts`: backlog, dead) or is compared
 * with such rows (`sighting_counts`: coverage) is taken off with them.
 */
import { sql, type Kysely } from "kysely";
import { discard } from "./copies.ts";
import type { Change } from "./change.ts";
import type { Database } from "./database.ts";
import { dayOf } from "../platform/time.ts";
import { forgetWords } from "./search.ts";
import type { Dialect } from "./statements.ts";
import { removeBodies, removeStates } from "./states.ts";
import type { PruneStep, Pruned, Store } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export type PruneStore = Pick<
  Store,
  "pruneRuns" | "pruneBodies" | "pruneKept" | "pruneTests" | "pruneSightings" | "pruneEvents"
>;

/** `write` runs a change in a transaction; what only counts needs none. */
export function pruneStore(
  { db, dialect }: Pick<Database, "db" | "dialect">,
  write: <T>(work: (change: Change) => Promise<T>) => Promise<T>,
): PruneStore {
  const step = (act: (change: MayChange, step: PruneStep) => Promise<Pruned>) => (given: PruneStep) =>
    given.dryRun ? act({ tx: db, dialect }, given) : write((change) => act({ ...change, dialect }, given));
  return {
    pruneRuns: step(pruneRuns),
    pruneBodies: step(pruneBodies),
    pruneKept: step(pruneKept),
    pruneTests: step(pruneTests),
    pruneSightings: step(pruneSightings),
    pruneEvents: step(pruneEvents),
  };
}

/** Without a ledger nothing is written. */
type MayChange = Pick<Change, "tx"> & Partial<Change> & { dialect: Dialect };

/** Rows that belong to the runs of one step, at most, but for a single run that has more. */
const MAX_ROWS = 2_000;
/** Values in one statement. */
const MAX_VALUES = 5_000;

// --- runs -----------------------------------------------------------------------------------------------------------

async function pruneRuns({ tx, rows, ledger }: MayChange, step: PruneStep): Promise<Pruned> {
  const looked = await oldestRuns(tx, step);
  const all = looked.map(({ run_id }) => run_id);
  const ids = await asManyAsFit(tx, all);
  const last = looked[ids.length - 1];
  const isEnd = ids.length === all.length && all.length < step.limit;
  const next = last === undefined || isEnd ? null : placeOf(last.received_at, last.run_id);
  const held = new Set(step.hold);
  const loose = ids.filter((id) => !held.has(id));
  if (loose.length === 0) return { removed: 0, next };
  if (!rows || !ledger) return { removed: (await free(tx, loose, step.before)).length, next };
  // A receipt that is being taken for one of them is seen below, or waits until they are gone.
  await rows.find("runs", ["run_id"], "run_id", loose, "run_id");
  const due = await free(tx, loose, step.before);
  if (due.length > 0) await removeRuns({ tx, rows, ledger }, due, step.before);
  return { removed: due.length, next };
}

function oldestRuns(tx: Db, { before, after, limit }: PruneStep) {
  const rows = tx.selectFrom("runs").select(["run_id", "received_at"]).where("received_at", "<", before);
  return rows
    .where(beyond("received_at", "run_id", after))
    .orderBy("received_at")
    .orderBy("run_id")
    .limit(limit)
    .execute();
}

/** The first of these runs whose rows together are no more than a transaction should remove; at least one. */
async function asManyAsFit(tx: Db, ids: readonly string[]): Promise<string[]> {
  if (ids.length < 2) return [...ids];
  const { rows } = await sql<{ run_id: string; count: number }>`
    select run_id, count(*) as count from (
      select run_id from receipts where run_id in (${sql.join(ids)})
      union all select run_id from artifacts where run_id in (${sql.join(ids)})
      union all select run_id from deliveries where run_id in (${sql.join(ids)})
      union all select d.run_id from deliveries d join attempts a on a.delivery_id = d.id where d.run_id in (${sql.join(ids)})
    ) as parts group by run_id`.execute(tx);
  const counts = new Map(rows.map(({ run_id, count }) => [run_id, Number(count)]));
  let total = 0;
  const end = ids.findIndex((id, i) => (total += counts.get(id) ?? 0) > MAX_ROWS && i > 0);
  return end < 0 ? [...ids] : ids.slice(0, end);
}

/** Those for which nothing waits, and nothing came or was sent again since. */
async function free(tx: Db, ids: readonly string[], before: number): Promise<string[]> {
  const rows = await tx
    .selectFrom("runs")
    .select("run_id")
    .where("run_id", "in", ids)
    .where(
      sql<boolean>`not exists (select 1 from receipts r where r.run_id = runs.run_id and r.last_received_at >= ${before})`,
    )
    .where(
      sql<boolean>`not exists (select 1 from deliveries d where d.run_id = runs.run_id
        and (d.state in ('pending', 'sending') or d.created_at >= ${before}))`,
    )
    .execute();
  return rows.map(({ run_id }) => run_id);
}

async function removeRuns(change: Change, ids: readonly string[], now: number): Promise<void> {
  const { tx, rows } = change;
  const deliveries = await tx.selectFrom("deliveries").select("id").where("run_id", "in", ids).execute();
  await removeDeliveries(change, deliveries.map(idOf));
  const receipts = await tx.deleteFrom("receipts").where("run_id", "in", ids).returning("id").execute();
  await dropBodies(tx, rows.dialect, receipts.map(idOf));
  await tx.deleteFrom("artifacts").where("run_id", "in", ids).execute();
  await tx.deleteFrom("archiving").where("run_id", "in", ids).execute();
  const copies = await tx.deleteFrom("copies").where("run_id", "in", ids).returning("sha256").execute();
  const hashes = copies.map(({ sha256 }) => sha256);
  await discard(tx, hashes, now);
  // Nobody writes words of a run that is on its way out.
  await rows.lock("words");
  await forgetWords(tx, ids);
  await removeStates(tx, rows.dialect, ids);
  await tx.deleteFrom("runs").where("run_id", "in", ids).execute();
}

async function removeDeliveries({ tx, ledger }: Pick<Change, "tx" | "ledger">, ids: readonly string[]): Promise<void> {
  for (const some of chunksOf(ids)) {
    const rows = await tx
      .deleteFrom("deliveries")
      .where("id", "in", some)
      .returning(["run_id", "sink", "state", "cause"])
      .execute();
    for (const row of rows) ledger.dropped(row);
    await tx.deleteFrom("attempts").where("delivery_id", "in", some).execute();
  }
}

async function dropBodies(tx: Db, dialect: Dialect, receiptIds: readonly string[]): Promise<void> {
  for (const some of chunksOf(receiptIds)) await removeBodies(tx, dialect, some);
}

/** Where a step ended, and what lies beyond it. */
const placeOf = (at: number, id: string): string => JSON.stringify([at, id]);
function beyond(at: string, id: string, place: string | null) {
  if (place === null) return sql<boolean>`1 = 1`;
  const [time, last] = JSON.parse(place) as [number, string];
  return sql<boolean>`(${sql.ref(at)}, ${sql.ref(id)}) > (${time}, ${last})`;
}

const idOf = <Id>({ id }: { id: Id }): Id => id;

function* chunksOf(ids: readonly string[]): Generator<readonly string[]> {
  for (let i = 0; i < ids.length; i += MAX_VALUES) yield ids.slice(i, i + MAX_VALUES);
}

// --- what belongs to no run, or outlives one ------------------------------------------------------------------------

/**
 * Along the ids, which sort by time: the first body that is young ends it. Kept ones stay, nothing else has what they say. On SQLite first
 * the packed ones.
 */
async function pruneBodies({ tx, ledger, dialect }: MayChange, step: PruneStep): Promise<Pruned> {
  const begin = [dialect === "sqlite" ? "packed_bodies" : "bodies", ""];
  const [table, from] = (step.after === null ? begin : JSON.parse(step.after)) as ["packed_bodies" | "bodies", string];
  const looked = await tx
    .selectFrom(`${table as "bodies"} as b`)
    .innerJoin("receipts", "receipts.id", "b.receipt_id")
    .select(["receipts.id", "receipts.run_id", "receipts.received_at"])
    .where("b.receipt_id", ">", from)
    .orderBy("b.receipt_id")
    .limit(step.limit)
    .execute();
  const held = new Set(step.hold);
  const due = looked.filter(
    ({ run_id, received_at }) => run_id !== null && !held.has(run_id) && received_at < step.before,
  );
  if (ledger) await dropBodies(tx, dialect, due.map(idOf));
  const last = looked.at(-1);
  const isEnd = looked.length < step.limit || last === undefined || last.received_at >= step.before;
  if (!isEnd) return { removed: due.length, next: JSON.stringify([table, last.id]) };
  return { removed: due.length, next: table === "packed_bodies" ? JSON.stringify(["bodies", ""]) : null };
}

async function pruneKept({ tx, ledger, dialect }: MayChange, { before, after, limit }: PruneStep): Promise<Pruned> {
  const rows = tx.selectFrom("receipts").select(["id", "received_at"]).where("run_id", "is", null);
  const due = await rows
    .where(beyond("received_at", "id", after))
    .where("received_at", "<", before)
    .where("last_received_at", "<", before)
    .orderBy("received_at")
    .orderBy("id")
    .limit(limit)
    .execute();
  const ids = due.map(idOf);
  const last = due.at(-1);
  if (ledger && ids.length > 0) {
    // Said again: it may have been understood meanwhile.
    const removed = tx.deleteFrom("receipts").where("id", "in", ids).where("run_id", "is", null).returning("id");
    await dropBodies(tx, dialect, (await removed.execute()).map(idOf));
  }
  const isEnd = ids.length < limit || last === undefined;
  return { removed: ids.length, next: isEnd ? null : placeOf(last.received_at, last.id) };
}

/** Deliveries that a test of a sink made. Those of runs go with their runs. */
async function pruneTests({ tx, ledger }: MayChange, { before, after, limit }: PruneStep): Promise<Pruned> {
  const rows = tx.selectFrom("deliveries").select(["id", "cause", "created_at"]).where("created_at", "<", before);
  const looked = await rows
    .where(beyond("created_at", "id", after))
    .orderBy("created_at")
    .orderBy("id")
    .limit(limit)
    .execute();
  const due = looked.filter(({ cause }) => cause === "test").map(idOf);
  if (ledger) await removeDeliveries({ tx, ledger }, due);
  const last = looked.at(-1);
  const isEnd = looked.length < limit || last === undefined;
  return { removed: due.length, next: isEnd ? null : placeOf(last.created_at, last.id) };
}

/** By the time of creation at Skyvern, which is before the run was received. */
async function pruneSightings({ tx, ledger }: MayChange, { before, after, limit, hold }: PruneStep): Promise<Pruned> {
  const held = new Set(hold);
  // The two halves have an index each.
  const [mine, from] = after === null ? [1, null] : (JSON.parse(after) as [0 | 1, string | null]);
  const rows = tx
    .selectFrom("sightings")
    .select(["run_id", "created_at"])
    .where(sql<boolean>`mine = ${sql.lit(mine)}`)
    .where("created_at", "<", before);
  const looked = await rows
    .where(beyond("created_at", "run_id", from))
    .orderBy("created_at")
    .orderBy("run_id")
    .limit(limit)
    .execute();
  const due = looked.filter(({ run_id }) => !held.has(run_id));
  if (ledger && due.length > 0) {
    const ids = due.map(({ run_id }) => run_id);
    const gone = await tx
      .deleteFrom("sightings")
      .where("run_id", "in", ids)
      .returning(["created_at", "mine", "dead"])
      .execute();
    const days = Map.groupBy(
      gone.filter((row) => row.mine === 1),
      ({ created_at }) => dayOf(created_at),
    );
    for (const [day, those] of [...days].toSorted(([a], [b]) => a - b))
      await tx
        .updateTable("sighting_counts")
        .set((row) => ({
          count: row("count", "-", those.length),
          dead: row("dead", "-", those.filter(({ dead }) => dead === 1).length),
        }))
        .where("day", "=", day)
        .execute();
    await tx.deleteFrom("sighting_counts").where("count", "<=", 0).where("day", "<=", before).execute();
  }
  const last = looked.at(-1);
  if (looked.length === limit && last)
    return { removed: due.length, next: JSON.stringify([mine, placeOf(last.created_at, last.run_id)]) };
  return { removed: due.length, next: mine === 1 ? JSON.stringify([0, null]) : null };
}

/**
 * What the event stream still keeps of deliveries that are gone is blanked. The events themselves stay, as their ids have
 * no gaps: one of a delivery or a run that is not there is passed over by every reader.
 */
async function pruneEvents({ tx, ledger }: MayChange, { before, after, limit }: PruneStep): Promise<Pruned> {
  const looked = await tx
    .selectFrom("events")
    .leftJoin("deliveries", "deliveries.id", "events.delivery")
    .select(["events.id", "deliveries.created_at"])
    .where("events.delivery", "is not", null)
    .where("events.id", ">", after === null ? 0 : Number(after))
    .orderBy("events.id")
    .limit(limit)
    .execute();
  const due = looked.filter(({ created_at: at }) => at === null).map(({ id }) => id);
  if (ledger && due.length > 0)
    await tx.updateTable("events").set({ delivery: null, told: null }).where("id", "in", due).execute();
  const last = looked.at(-1);
  // They came in the order of time, nearly: behind the first young one there is nothing to look for.
  const isEnd =
    looked.length < limit || looked.some(({ created_at: at }) => at !== null && at >= before) || last === undefined;
  return { removed: due.length, next: isEnd ? null : String(last.id) };
}
