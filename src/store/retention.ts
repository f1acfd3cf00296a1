/**
 * Removes what retention says is due. Each step examines a number of rows in the order of age, removes those that may
 * go, in one transaction, and returns where the next step begins: a row that has to stay is passed once and not met
 * again.
 *
 * Counts by time (`run_counts`, `delivery_times`) stay for ever: how many runs failed in March names none of them, and
 * is asked for long after. Counts of existing rows (`delivery_counts`: backlog, dead), and counts that are compared
 * with such rows (`listed_run_counts`: coverage), shrink with them.
 */
import { sql, type SelectQueryBuilder } from "kysely";
import { discard } from "./archive.ts";
import type { Write, WriteTransaction } from "./grouped.ts";
import type { Database } from "./database.ts";
import { newerThan } from "./history/find-runs.ts";
import { dayOf } from "../platform/time.ts";
import { saveSetting, setting } from "./key-values.ts";
import { packBlock, stateIn, unpackBlock } from "./receipts/blocks.ts";
import { stateBlock } from "./history/page-size.ts";
import type { PruneStep, Pruned, RetentionStore } from "./contract/retention.ts";
import type { Db } from "./tables.ts";

/** A dry run only counts, and needs no transaction. */
export function pruneStore({ db }: Pick<Database, "db">, write: Write): RetentionStore {
  const step = (act: (change: MayChange, step: PruneStep) => Promise<Pruned>) => (given: PruneStep) =>
    given.dryRun ? act({ tx: db }, given) : write((change) => act(change, given));
  return {
    pruneRuns: step(pruneRuns),
    pruneBodies: step(pruneBodies),
    pruneUnrecognized: step(pruneUnrecognized),
    pruneTests: step(pruneTests),
    pruneListedRuns: step(pruneListedRuns),
  };
}

/** Without a ledger the step writes nothing. */
type MayChange = Pick<WriteTransaction, "tx"> & Partial<WriteTransaction>;

/** The most rows that belong to the runs of one step; a single run may have more. */
const MAX_ROWS = 2_000;
/** The most values in one statement. */
const MAX_VALUES = 5_000;

// --- runs -----------------------------------------------------------------------------------------------------------

async function pruneRuns({ tx, rows, ledger }: MayChange, step: PruneStep): Promise<Pruned> {
  const looked = await oldestRuns(tx, step);
  const all = looked.map(({ run_id }) => run_id);
  const ids = await asManyAsFit(tx, all);
  const last = looked[ids.length - 1];
  const isEnd = ids.length === all.length && all.length < step.limit;
  const next = last === undefined || isEnd ? null : formatPlace(last.received_at, last.run_id);
  const held = new Set(step.hold);
  const loose = ids.filter((id) => !held.has(id));
  if (loose.length === 0) return { removed: 0, next };
  if (!rows || !ledger) return { removed: (await free(tx, loose, step.before)).length, next };
  // A receipt that is being accepted for one of these runs is seen below, or waits until they are gone.
  await rows.find("runs", ["run_id"], "run_id", loose, "run_id");
  const due = await free(tx, loose, step.before);
  if (due.length > 0) await removeRuns({ tx, rows, ledger }, due, step.before);
  return { removed: due.length, next };
}

function oldestRuns(tx: Db, step: PruneStep) {
  const rows = tx.selectFrom("runs").select(["run_id", "received_at"]).where("received_at", "<", step.before);
  return oldest(rows, ["received_at", "run_id"], step);
}

/** The first of these runs whose rows together fit into one transaction; at least one. */
async function asManyAsFit(tx: Db, ids: readonly string[]): Promise<string[]> {
  if (ids.length < 2) return [...ids];
  const { rows } = await sql<{ run_id: string; count: number }>`
    select run_id, count(*) as count from (
      select run_id from receipts where run_id in (${sql.join(ids)})
      union all select subject_id as run_id from deliveries where subject_id in (${sql.join(ids)})
    ) as parts group by run_id`.execute(tx);
  const counts = new Map(rows.map(({ run_id, count }) => [run_id, Number(count)]));
  let total = 0;
  const end = ids.findIndex((id, i) => (total += counts.get(id) ?? 0) > MAX_ROWS && i > 0);
  return end < 0 ? [...ids] : ids.slice(0, end);
}

/** Runs for which nothing waits and nothing came or was redelivered since. */
async function free(tx: Db, ids: readonly string[], before: number): Promise<string[]> {
  const rows = await tx
    .selectFrom("runs")
    .select("run_id")
    .where("run_id", "in", ids)
    .where(
      sql<boolean>`not exists (select 1 from receipts r where r.run_id = runs.run_id and r.last_received_at >= ${before})`,
    )
    .where(
      sql<boolean>`not exists (select 1 from deliveries d where d.subject_id = runs.run_id
        and (d.state in ('pending', 'sending') or d.created_at >= ${before}))`,
    )
    .execute();
  return rows.map(({ run_id }) => run_id);
}

async function removeRuns(transaction: WriteTransaction, ids: readonly string[], now: number): Promise<void> {
  const { tx, ledger } = transaction;
  const runs = await tx
    .selectFrom("runs")
    .select(["seq", stateBlock.as("block")])
    .where("run_id", "in", ids)
    .execute();
  for (const { seq, block } of runs) ledger.removed(stateIn(block).run, seq);
  const deliveries = await tx.selectFrom("deliveries").select("id").where("subject_id", "in", ids).execute();
  await removeDeliveries(transaction, deliveries.map(idOf));
  await tx.deleteFrom("receipts").where("run_id", "in", ids).execute();
  await tx.deleteFrom("archiving").where("run_id", "in", ids).execute();
  const copies = await tx.deleteFrom("copies").where("run_id", "in", ids).returning("sha256").execute();
  const hashes = copies.map(({ sha256 }) => sha256);
  await discard(tx, hashes, now);
  await tx.deleteFrom("runs").where("run_id", "in", ids).execute();
}

async function removeDeliveries(
  { tx, ledger }: Pick<WriteTransaction, "tx" | "ledger">,
  ids: readonly string[],
): Promise<void> {
  for (const some of chunk(ids)) {
    const rows = await tx
      .deleteFrom("deliveries")
      .where("id", "in", some)
      .returning(["subject_id", "sink", "state", "cause"])
      .execute();
    for (const row of rows) ledger.dropped(row);
  }
}

/** The place where a step ended. */
const formatPlace = (at: number, id: string): string => JSON.stringify([at, id]);

/** The first of these rows beyond a place, by time and id. */
function oldest<DB, Table extends keyof DB, Row>(
  rows: SelectQueryBuilder<DB, Table, Row>,
  [at, id]: [at: string, id: string],
  { after, limit }: Pick<PruneStep, "after" | "limit">,
) {
  const ordered = rows.orderBy(sql.ref(at)).orderBy(sql.ref(id)).limit(limit);
  if (after === null) return ordered.execute();
  const [time, last] = JSON.parse(after) as [number, string];
  return ordered.where(newerThan(at, id, { at: time, id: last })).execute();
}

const idOf = <Id>({ id }: { id: Id }): Id => id;

function* chunk(ids: readonly string[]): Generator<readonly string[]> {
  for (let i = 0; i < ids.length; i += MAX_VALUES) yield ids.slice(i, i + MAX_VALUES);
}

// --- what belongs to no run, or outlives one ------------------------------------------------------------------------

/**
 * Walks along the ids, which sort by time, so the first young receipt ends it. Unrecognized bodies stay whole, as
 * nothing else holds what they say. A run's state stays too: the same transaction writes it without the body.
 */
async function pruneBodies({ tx, rows }: MayChange, step: PruneStep): Promise<Pruned> {
  const after = step.after ?? (await bodiesPrunedTo(tx, step.hold));
  const looked = await tx
    .selectFrom("receipts")
    .leftJoin("runs", (join) =>
      join.onRef("runs.run_id", "=", "receipts.run_id").onRef("runs.state_receipt", "=", "receipts.id"),
    )
    .select(["receipts.id", "receipts.run_id", "receipts.received_at", "receipts.block", "runs.seq"])
    .where("receipts.id", ">", after)
    .orderBy("receipts.id")
    .limit(step.limit)
    .execute();
  const held = new Set(step.hold);
  let removed = 0;
  for (const { id, run_id, received_at, block, seq } of looked) {
    if (run_id === null || held.has(run_id) || received_at >= step.before || block === null) continue;
    const { state, body } = unpackBlock(block);
    if (body === null) continue;
    removed += 1;
    const left = seq === null || state === null ? null : packBlock(state, null);
    await rows?.update("receipts", [{ id, block: left }], { set: "block = v.block", where: "receipts.id = v.id" });
  }
  const young = looked.findIndex(({ received_at }) => received_at >= step.before);
  const last = young < 0 ? looked.at(-1) : looked[young - 1];
  if (rows && last) await saveSetting(tx, BODIES_PRUNED, JSON.stringify({ after: last.id, hold: step.hold }));
  return { removed, next: young >= 0 || looked.length < step.limit || !last ? null : last.id };
}

/**
 * The setting that records up to which receipt bodies were removed and which runs were held back, so that each is
 * examined once.
 */
const BODIES_PRUNED = "bodies_pruned";

async function bodiesPrunedTo(tx: Db, hold: readonly string[]): Promise<string> {
  const saved = await setting(tx, BODIES_PRUNED);
  if (saved === null) return "";
  const { after, hold: held } = JSON.parse(saved) as { after: string; hold: string[] };
  return held.every((id) => hold.includes(id)) ? after : "";
}

async function pruneUnrecognized({ tx, ledger }: MayChange, { before, after, limit }: PruneStep): Promise<Pruned> {
  const rows = tx.selectFrom("receipts").select(["id", "received_at"]).where("run_id", "is", null);
  const old = rows.where("received_at", "<", before).where("last_received_at", "<", before);
  const due = await oldest(old, ["received_at", "id"], { after, limit });
  const ids = due.map(idOf);
  const last = due.at(-1);
  if (ledger && ids.length > 0) {
    // The condition is repeated because the receipt may have been understood meanwhile.
    await tx.deleteFrom("receipts").where("id", "in", ids).where("run_id", "is", null).execute();
  }
  const isEnd = ids.length < limit || last === undefined;
  return { removed: ids.length, next: isEnd ? null : formatPlace(last.received_at, last.id) };
}

/** Deliveries of sink tests. Deliveries of runs are removed with their runs. */
async function pruneTests({ tx, ledger }: MayChange, { before, after, limit }: PruneStep): Promise<Pruned> {
  const rows = tx.selectFrom("deliveries").select(["id", "cause", "created_at"]).where("created_at", "<", before);
  const looked = await oldest(rows, ["created_at", "id"], { after, limit });
  const due = looked.filter(({ cause }) => cause === "test").map(idOf);
  if (ledger) await removeDeliveries({ tx, ledger }, due);
  const last = looked.at(-1);
  const isEnd = looked.length < limit || last === undefined;
  return { removed: due.length, next: isEnd ? null : formatPlace(last.created_at, last.id) };
}

/** Ordered by the time of creation at Skyvern, which is before the run was received. */
async function pruneListedRuns({ tx, ledger }: MayChange, { before, after, limit, hold }: PruneStep): Promise<Pruned> {
  const held = new Set(hold);
  // Each half has an index.
  const [mine, from] = after === null ? [1, null] : (JSON.parse(after) as [0 | 1, string | null]);
  const rows = tx
    .selectFrom("listed_runs")
    .select(["run_id", "created_at"])
    .where(sql<boolean>`targets_this_relay = ${sql.lit(mine)}`)
    .where("created_at", "<", before);
  const looked = await oldest(rows, ["created_at", "run_id"], { after: from, limit });
  const due = looked.filter(({ run_id }) => !held.has(run_id));
  if (ledger && due.length > 0) {
    const ids = due.map(({ run_id }) => run_id);
    const gone = await tx
      .deleteFrom("listed_runs")
      .where("run_id", "in", ids)
      .returning(["created_at", "targets_this_relay", "dead"])
      .execute();
    const days = Map.groupBy(
      gone.filter((row) => row.targets_this_relay === 1),
      ({ created_at }) => dayOf(created_at),
    );
    for (const [day, those] of [...days].toSorted(([a], [b]) => a - b))
      await tx
        .updateTable("listed_run_counts")
        .set((row) => ({
          count: row("count", "-", those.length),
          dead: row("dead", "-", those.filter(({ dead }) => dead === 1).length),
        }))
        .where("day", "=", day)
        .execute();
    await tx.deleteFrom("listed_run_counts").where("count", "<=", 0).where("day", "<=", before).execute();
  }
  const last = looked.at(-1);
  if (looked.length === limit && last)
    return { removed: due.length, next: JSON.stringify([mine, formatPlace(last.created_at, last.run_id)]) };
  return { removed: due.length, next: mine === 1 ? JSON.stringify([0, null]) : null };
}
