/**
 * Lists, newest first, in pages by key. Every list is read along an index in its order and stops when its page is full,
 * so its time does not grow with the number of rows. The comments name the index that serves each query.
 */
import {
  sql,
  type RawBuilder,
  type SelectExpression,
  type SelectQueryBuilder,
  type Selectable,
  type SqlBool,
} from "kysely";
import { DELIVERY_STATES } from "../../domain/run.ts";
import type { Database } from "../database.ts";
import { hourOf } from "../../platform/time.ts";
import { deliveryCounts } from "../stats/rollups.ts";
import { STATE_COLUMNS } from "./page-size.ts";
import { expandPrefixes, isRareText } from "../search/prefixes.ts";
import { isWaiting } from "../outbox/rows.ts";
import { buildQuery } from "../search/postgres.ts";
import { buildMatch } from "../search/search.ts";
import type { DeliveryFilter } from "../contract/deliveries.ts";
import type { Page, RunFilter } from "../contract/runs.ts";
import type { Db, Tables } from "../tables.ts";

/** What a list reads from. */
type QuerySource = Pick<Database, "db" | "dialect">;
type Runs = SelectQueryBuilder<Tables, "runs", object>;

/** `block` is null when the state is too large to come with the list. */
export interface StoredRunRow extends Pick<
  Selectable<Tables["runs"]>,
  "run_id" | "artifacts_status" | "artifacts" | "received_at"
> {
  block: Uint8Array | null;
  bytes: number | null;
}
const RUN_COLUMNS = [
  "runs.run_id",
  "runs.artifacts_status",
  "runs.artifacts",
  "runs.received_at",
  ...STATE_COLUMNS,
] as const;
export type ListItemRow = Pick<
  Selectable<Tables["runs"]>,
  "run_id" | "received_at" | "status" | "run_type" | "title" | "channel" | "workflow" | "list_item"
>;
/** Only as much of a text is read as lists show. */
const MAX_TITLE = 1_000;
const BRIEF_COLUMNS = [
  "runs.run_id",
  "runs.received_at",
  "runs.status",
  "runs.run_type",
  sql<string | null>`substr(runs.title, 1, ${sql.lit(MAX_TITLE)})`.as("title"),
  "runs.channel",
  "runs.workflow",
  "runs.list_item",
] as const;

export const findRuns = (source: QuerySource, filter: RunFilter, page: Page): Promise<StoredRunRow[]> =>
  find(source, { filter, page, columns: RUN_COLUMNS }) as Promise<StoredRunRow[]>;
/** The same runs without their states. */
export const findListItems = (source: QuerySource, filter: RunFilter, page: Page): Promise<ListItemRow[]> =>
  find(source, { filter, page, columns: BRIEF_COLUMNS }) as Promise<ListItemRow[]>;

interface Question {
  filter: RunFilter;
  page: Page;
  columns: readonly SelectExpression<Tables, "runs">[];
}

/**
 * Which index serves a filter:
 *
 * - Text and column values: the full-text index, which holds both, in the order of arrival.
 * - Times alone: the index of runs by time.
 * - Dead deliveries: their own index, in the order of their runs.
 * - A sink or another state that few deliveries have: those deliveries. One that many have: one of the indexes above,
 *   with a check of each run.
 */
async function find(source: QuerySource, question: Question): Promise<object[]> {
  const { filter, page, columns } = question;
  if (isImpossible(filter)) return [];
  const { db } = source;
  if (isDead(filter)) {
    const sinks = filter.sink ?? [...(await deliveryCounts(db)).keys()];
    if (sinks.length <= MAX_SINKS) return amongDead(source, question, sinks);
  }
  const match = await inWords(source, filter);
  if ((filter.sink || filter.delivery) && (await isRare(db, filter))) return amongDeliveries(source, question, match);
  if (match === null) {
    const rows = filtered(source, db.selectFrom("runs"), filter);
    return (page.after ? rows.where(olderThan("received_at", "run_id", page.after)) : rows)
      .select(columns)
      .orderBy("runs.received_at", "desc")
      .orderBy("runs.run_id", "desc")
      .limit(page.limit)
      .execute();
  }
  return inArrivalOrder(source, question, match);
}

/** The condition on rows of the full-text index; null when an ordinary index serves. */
async function inWords(source: QuerySource, filter: RunFilter): Promise<RawBuilder<SqlBool> | null> {
  const { db, dialect } = source;
  const match =
    dialect === "sqlite" ? buildMatch(filter, await expandPrefixes(db, filter.search ?? [])) : buildQuery(filter);
  if (match === null) return null;
  return dialect === "sqlite" ? sql`run_words match ${match}` : sql`run_words.words @@ ${match}::tsquery`;
}

/** Keeps SQLite from using an index. PostgreSQL knows how many rows each index would find. */
const unindexed = ({ dialect }: QuerySource, column: string) =>
  dialect === "sqlite" ? sql`+${sql.ref(column)}` : sql.ref(column);

const isImpossible = (filter: object): boolean =>
  Object.values(filter).some((value) => Array.isArray(value) && value.length === 0);

/** The full-text index is walked backwards by `seq`, the run's number in the order of arrival. */
async function inArrivalOrder(source: QuerySource, question: Question, match: RawBuilder<SqlBool>): Promise<object[]> {
  const { db } = source;
  const { filter, columns } = question;
  const { limit, after } = question.page;
  // CROSS JOIN makes SQLite keep this order, with the index outside.
  const joined = db
    .selectFrom("run_words")
    .crossJoin("runs")
    .whereRef("runs.seq", "=", "run_words.rowid") as unknown as Runs;
  let rows = filtered(source, joined, filter);
  const { since, until } = filter;
  if (since !== undefined) rows = rows.where(sql<boolean>`run_words.rowid >= ${firstSeqSince(since)}`);
  if (until !== undefined) rows = rows.where(sql<boolean>`run_words.rowid <= ${lastSeqUntil(until)}`);
  if (after) {
    const { seq } = (await db.selectFrom("runs").select("seq").where("run_id", "=", after.id).executeTakeFirst()) ?? {};
    rows = seq
      ? // Numbers reach SQLite as floats. FTS5 starts at a bound only when it is an integer; else it reads up to it.
        rows.where(sql<boolean>`run_words.rowid < cast(${seq} as bigint)`)
      : // The run that ended the last page was removed meanwhile, so the list continues by its time.
        rows
          .where(olderThan("runs.received_at", "runs.run_id", after))
          .where(sql<boolean>`run_words.rowid <= ${lastSeqUntil(after.at + 1)}`);
  }
  if (source.dialect === "postgres") return nearThenFar(db, { rows, match, question });
  rows = rows.where(match);
  const found = rows.select(columns);
  // Where some words are in nearly every run, FTS5 finds a place much faster forwards, so when few runs match, all of
  // them are read.
  if (source.dialect === "sqlite" && filter.search && (await isRareText(db, filter.search)))
    return (await found.orderBy(sql`run_words.rowid`).execute()).toReversed().slice(0, limit);
  return found
    .orderBy(sql`run_words.rowid`, "desc")
    .limit(limit)
    .execute();
}

/** How many runs PostgreSQL examines one by one. */
const NEAR = 2_000;

/**
 * PostgreSQL cannot tell that a word is rare, and would examine all runs to fill a page with it. So the newest runs are
 * examined first, where a page of common words fills up soon; after them the index answers for all others, which are
 * then few.
 */
async function nearThenFar(
  db: Db,
  { rows, match, question }: { rows: Runs; match: RawBuilder<SqlBool>; question: Question },
): Promise<object[]> {
  const { columns, page, filter } = question;
  const { after } = page;
  const until = after ? after.at + 1 : filter.until;
  const newest = until === undefined ? sql<number>`(select max(rowid) from run_words)` : lastSeqUntil(until);
  const top = after ? sql<number>`coalesce((select seq from runs where run_id = ${after.id}), ${newest})` : newest;
  const [bound] = (await sql<{ seq: number | null }>`select ${top} - ${sql.lit(NEAR)} as seq`.execute(db)).rows;
  const far = sql<number>`${bound?.seq ?? 0}::bigint`;
  const take = (found: Runs, limit: number) =>
    found
      .select(columns)
      .orderBy(sql`run_words.rowid`, "desc")
      .limit(limit)
      .execute();
  // IS TRUE keeps the planner off the index, where a prefix may match all ids.
  const near = await take(rows.where(sql<boolean>`run_words.rowid > ${far} and (${match}) is true`), page.limit);
  if (near.length === page.limit) return near;
  // Everything the index finds is fetched by itself: with an ORDER BY, PostgreSQL would walk the runs instead.
  const found = sql`array(select rowid from run_words where ${match} and rowid <= ${far} offset 0)`;
  return [
    ...near,
    ...(await take(rows.where(sql<boolean>`run_words.rowid = any(${found})`), page.limit - near.length)),
  ];
}

/**
 * Bounds of `seq` for a span of time. Numbers grow with the time of arrival except where clocks were set back, so
 * `run_hours` gives the bounds and the times themselves are compared as well.
 */
const firstSeqSince = (since: number) =>
  sql<number>`(select min(first_seq) from run_hours where hour >= ${hourOf(since)})`;
const lastSeqUntil = (until: number) => sql<number>`(select max(last_seq) from run_hours where hour < ${until})`;

function filtered(source: QuerySource, rows: Runs, filter: RunFilter): Runs {
  let query = rows;
  if (filter.status) query = query.where("status", "in", filter.status);
  if (filter.run_type) query = query.where("run_type", "in", filter.run_type);
  if (filter.organization) query = query.where("organization_id", "in", filter.organization);
  if (filter.channel) query = query.where("channel", "in", filter.channel);
  if (filter.source) query = query.where("source", "in", filter.source);
  if (filter.since !== undefined) query = query.where("received_at", ">=", filter.since);
  if (filter.until !== undefined) query = query.where("received_at", "<", filter.until);
  const { workflow, sink, delivery } = filter;
  if (workflow)
    query = query.where((where) => where.or([where("workflow", "in", workflow), where("title", "in", workflow)]));
  if (sink || delivery) {
    query = query.where(({ exists, selectFrom }) => {
      let withDelivery = selectFrom("deliveries").select("id").whereRef("deliveries.subject_id", "=", "runs.run_id");
      if (sink) withDelivery = withDelivery.where("deliveries.sink", "in", sink);
      // Looks deliveries up by their run, of which there are few, not by state, of which there may be a million.
      if (delivery)
        withDelivery = withDelivery.where(
          sql<boolean>`${unindexed(source, "deliveries.state")} in (${sql.join(delivery)})`,
        );
      return exists(withDelivery);
    });
  }
  return query;
}

/**
 * Up to this many deliveries are read and their runs sorted. Beyond it runs are walked, since then one in some hundred
 * fits.
 */
const RARE = 5_000;

async function isRare(db: Db, { sink, delivery }: RunFilter): Promise<boolean> {
  const known = await deliveryCounts(db);
  let count = 0;
  for (const [name, { made, waiting, delivered, dead, canceled }] of known) {
    if (sink && !sink.includes(name)) continue;
    // Waiting deliveries are not counted by state.
    const counts = { pending: waiting, sending: waiting, delivered, dead, canceled };
    count += delivery ? delivery.reduce((sum, state) => sum + (counts[state as keyof typeof counts] ?? 0), 0) : made;
  }
  return count <= RARE;
}

async function amongDeliveries(
  source: QuerySource,
  question: Question,
  match: RawBuilder<SqlBool> | null,
): Promise<object[]> {
  const { db } = source;
  const { filter, page, columns } = question;
  const { sink, delivery, ...rest } = filter;
  const sinks = sink ?? [...(await deliveryCounts(db)).keys()];
  if (sinks.length === 0) return [];
  const states = delivery ?? DELIVERY_STATES;
  // Each half of the union has an index.
  const halves = [states.filter(isWaitingState), states.filter((state) => !isWaitingState(state))].filter(
    ({ length }) => length > 0,
  );
  const withDelivery = halves.map(
    (state) =>
      sql`select * from (${deliveriesThat(db.selectFrom("deliveries").select("subject_id"), { sink: sinks, state })}) as half`,
  );
  let rows = filtered(source, db.selectFrom("runs"), rest).where(
    "runs.run_id",
    "in",
    sql<string>`(${unionAll(withDelivery)})`,
  );
  if (match !== null)
    rows = rows.where(sql<boolean>`exists (select 1 from run_words where ${match} and run_words.rowid = runs.seq)`);
  if (page.after) rows = rows.where(olderThan("runs.received_at", "runs.run_id", page.after));
  // Sorts ids only, which is cheaper than walking all runs in order.
  const found = rows
    .select("runs.run_id")
    .orderBy(unindexed(source, "runs.received_at"), "desc")
    .orderBy(unindexed(source, "runs.run_id"), "desc")
    .limit(page.limit);
  return inOrderOfTime(source, columns, sql`${found}`);
}

/** What `filtered` compares with columns. All else is asked of the word index, which may be the rarer of the two. */
const BY_COLUMN = new Set([
  "status",
  "run_type",
  "organization",
  "channel",
  "source",
  "since",
  "until",
  "workflow",
  "sink",
  "delivery",
] as const satisfies readonly (keyof RunFilter)[]) as ReadonlySet<string>;

const isDead = (filter: RunFilter): boolean =>
  filter.delivery?.length === 1 &&
  filter.delivery[0] === "dead" &&
  Object.entries(filter).every(([name, asked]) => asked === undefined || BY_COLUMN.has(name));

/** SQLite joins at most 500 selects. */
const MAX_SINKS = 400;

/** Takes the newest page of each sink, and the newest of those. */
async function amongDead(source: QuerySource, question: Question, sinks: readonly string[]): Promise<object[]> {
  if (sinks.length === 0) return [];
  const { db } = source;
  const { columns, page } = question;
  const { sink: _sink, delivery: _dead, since, until, ...rest } = question.filter;
  const pages = sinks.map((sink) => {
    let dead = db
      .selectFrom("deliveries")
      .select(["subject_at", "subject_id"])
      .distinct()
      .where("sink", "=", sink)
      .where(sql<boolean>`state = 'dead'`);
    if (since !== undefined) dead = dead.where("subject_at", ">=", since);
    if (until !== undefined) dead = dead.where("subject_at", "<", until);
    if (page.after) dead = dead.where(olderThan("subject_at", "subject_id", page.after));
    if (Object.keys(rest).length > 0)
      dead = dead.where(({ exists, selectFrom }) => {
        const own = selectFrom("runs").whereRef("runs.run_id", "=", "deliveries.subject_id");
        return exists(filtered(source, own as unknown as Runs, rest).select("runs.run_id"));
      });
    const newest = dead.orderBy("subject_at", "desc").orderBy("subject_id", "desc").limit(page.limit);
    return sql`select * from (${newest}) as newest`;
  });
  const found = sql`select distinct subject_at, subject_id from (${sql.join(pages, sql` union all `)}) as dead
    order by subject_at desc, subject_id desc limit ${page.limit}`;
  return inOrderOfTime(source, columns, sql`select subject_id from (${found}) as found`);
}

/** Reads a few runs, given as a select of their ids. The planner must not walk all runs to get their order. */
const inOrderOfTime = (
  source: QuerySource,
  columns: Question["columns"],
  found: RawBuilder<unknown>,
): Promise<object[]> =>
  source.db
    .selectFrom("runs")
    .where("runs.run_id", "in", sql<string>`(${found})`)
    .select(columns)
    .orderBy(unindexed(source, "runs.received_at"), "desc")
    .orderBy(unindexed(source, "runs.run_id"), "desc")
    .execute();

// --- deliveries -----------------------------------------------------------------------------------------------------

/** Up to this many pairs of sink and state are queried one by one. */
const MAX_PAIRS = 400;
/** A Durable Object's SQLite joins at most this many selects. */
const MAX_UNION = 5;

function unionAll(selects: readonly RawBuilder<unknown>[]): RawBuilder<unknown> {
  if (selects.length <= MAX_UNION) return sql.join([...selects], sql` union all `);
  const parts = Array.from({ length: Math.ceil(selects.length / MAX_UNION) }, (_none, i) => {
    const part = selects.slice(i * MAX_UNION, (i + 1) * MAX_UNION);
    return sql`select * from (${unionAll(part)}) as part`;
  });
  return unionAll(parts);
}

/** For given sinks or states: takes the newest of each pair by the index on both, and the newest of those. */
export async function findDeliveries(
  db: Db,
  filter: DeliveryFilter,
  page: Page,
): Promise<Selectable<Tables["deliveries"]>[]> {
  if (isImpossible(filter)) return [];
  const { sink, state, runId } = filter;
  let rows = db.selectFrom("deliveries").selectAll();
  if ((sink || state) && runId === undefined) {
    const sinks = sink ?? [...(await deliveryCounts(db)).keys()];
    const pairs = sinks.flatMap((name) => (state ?? DELIVERY_STATES).map((one) => [name, one] as const));
    if (pairs.length === 0) return [];
    if (pairs.length <= MAX_PAIRS) {
      const newest = pairs.map(
        ([name, one]) =>
          sql`select * from (${inPage(
            deliveriesThat(db.selectFrom("deliveries").select("id"), { ...filter, sink: [name], state: [one] }),
            page,
          )}) as newest`,
      );
      rows = rows.where("id", "in", sql<string>`(${unionAll(newest)})`);
      return inPage(rows, page).execute();
    }
  }
  return inPage(deliveriesThat(rows, filter), page).execute();
}

const isWaitingState = (state: string): boolean => state === "pending" || state === "sending";

/**
 * The condition of the partial index that covers these states, if one does: SQLite uses a partial index only where the
 * query repeats its condition.
 */
function chooseIndex(states: readonly string[]) {
  if (states.every(isWaitingState)) return isWaiting("deliveries");
  if (states.some(isWaitingState)) return sql<boolean>`true`;
  return sql<boolean>`deliveries.state in ('delivered', 'dead', 'canceled')`;
}

const inPage = <O>(rows: SelectQueryBuilder<Tables, "deliveries", O>, { after, limit }: Page) =>
  (after ? rows.where(olderThan("created_at", "id", after)) : rows)
    .orderBy("created_at", "desc")
    .orderBy("id", "desc")
    .limit(limit);

export function deliveriesThat<O>(rows: SelectQueryBuilder<Tables, "deliveries", O>, filter: DeliveryFilter) {
  let query = rows;
  if (filter.state) query = query.where("state", "in", filter.state).where(chooseIndex(filter.state));
  if (filter.sink) query = query.where("sink", "in", filter.sink);
  if (filter.runId !== undefined) query = query.where("subject_id", "=", filter.runId);
  if (filter.since !== undefined) query = query.where("created_at", ">=", filter.since);
  if (filter.until !== undefined) query = query.where("created_at", "<", filter.until);
  return query;
}

/** Newest first, the id decides between rows of one millisecond. */
export const olderThan = (at: string, id: string, after: { at: number; id: string }) =>
  sql<boolean>`(${sql.ref(at)}, ${sql.ref(id)}) < (${after.at}, ${after.id})`;

/** Oldest first, the id decides likewise. */
export const newerThan = (at: string, id: string, after: { at: number; id: string }) =>
  sql<boolean>`(${sql.ref(at)}, ${sql.ref(id)}) > (${after.at}, ${after.id})`;
