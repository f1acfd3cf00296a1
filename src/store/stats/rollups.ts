/**
 * What one transaction changes in the roll-ups and in the full-text index, and which changes it announces once it is
 * committed. The store's operations note it as they go; it is written once, at the end of their shared transaction, so
 * it always matches what was written. It takes few statements: many receipts add to a handful of rows, and hold them
 * only for the commit.
 */
import type { Insertable } from "kysely";
import { dayOf, hourOf } from "../../platform/time.ts";
import type { DeliveryState, Run } from "../../domain/run.ts";
import { bucketOf } from "./latency-buckets.ts";
import { indexedText } from "../search/search.ts";
import { sameSubject, toDelivery } from "../outbox/rows.ts";
import type { Change } from "../contract/changes.ts";
import type { BulkSql, IndexedWords } from "../bulk-sql.ts";
import { indexWords } from "../search/rebuild.ts";
import type { DeliveryRow, Db, Tables } from "../tables.ts";

/** Final states. */
const ENDS = new Set<string>(["delivered", "dead", "canceled"] satisfies DeliveryState[]);

export interface Ledger {
  /** A run changed from `before` (null: not known) to `after`. `seq` is its number in the order of arrival. */
  run(before: Run | null, after: Run, seq: number): void;
  /** A run was removed. The counts by time stay. */
  removed(run: Run, seq: number): void;
  /** Something that the API shows of a run changed. */
  changed(runId: string): void;
  /** A delivery was created. */
  made(row: DeliveryRow): void;
  /** A delivery changed its state. Its final state must be noted once. */
  moved(row: DeliveryRow): void;
  /** A dead delivery was canceled, as a later one to its sink arrived. */
  revived(row: DeliveryRow): void;
  /** A finished delivery was removed. Its duration stays counted. */
  dropped(row: Pick<DeliveryRow, "subject_id" | "sink" | "state" | "cause">): void;
  write(rows: BulkSql): Promise<void>;
  /** The changes to announce once the transaction is committed. */
  readonly changes: readonly Change[];
}

export function createLedger(): Ledger {
  const runs = new Map<string, Insertable<Tables["run_counts"]>>();
  const deliveries = new Map<string, Insertable<Tables["delivery_counts"]>>();
  const times = new Map<string, Insertable<Tables["delivery_times"]>>();
  const hours = new Map<number, Insertable<Tables["run_hours"]>>();
  const words: IndexedWords[] = [];
  const changes: Change[] = [];
  /** Runs that may have gained or lost a dead delivery. */
  const doubtful = new Set<string>();

  const countRun = ({ received_at, status }: Run, by: number): void => {
    add(runs, { grain: "hour", start: hourOf(received_at), status, count: by });
    add(runs, { grain: "day", start: dayOf(received_at), status, count: by });
  };
  const push = (row: DeliveryRow): void => {
    changes.push({ kind: "delivery", id: row.id, delivery: toDelivery(row) });
  };
  return {
    changes,
    run: (before, after, seq) => {
      const [old, now] = [before && indexedText(before), indexedText(after)];
      if (old !== now) words.push({ seq, before: old, after: now });
      if (before?.status === after.status && before.received_at === after.received_at) return;
      if (before) countRun(before, -1);
      countRun(after, 1);
      if (before?.received_at === after.received_at) return;
      const hour = hourOf(after.received_at);
      const known = hours.get(hour) ?? { hour, first_seq: seq, last_seq: seq };
      hours.set(hour, { hour, first_seq: Math.min(known.first_seq, seq), last_seq: Math.max(known.last_seq, seq) });
    },
    removed: (run, seq) => {
      words.push({ seq, before: indexedText(run), after: null });
    },
    changed: (runId) => {
      changes.push({ kind: "run", id: runId });
    },
    made: (row) => {
      add(deliveries, { sink: row.sink, state: row.cause === "test" ? "test" : "made", count: 1 });
      push(row);
    },
    moved: (row) => {
      const { sink, state, cause, created_at, delivered_at } = row;
      push(row);
      if (cause === "test") return;
      if (ENDS.has(state)) add(deliveries, { sink, state, count: 1 });
      // A first result replaces no dead delivery, so nearly every delivery skips this check.
      if (state === "dead" || (state === "delivered" && cause !== "result")) doubtful.add(row.subject_id);
      if (state !== "delivered" || delivered_at === null) return;
      const bucket = bucketOf(delivered_at - created_at);
      add(times, { grain: "hour", start: hourOf(delivered_at), sink, bucket, count: 1 });
      add(times, { grain: "day", start: dayOf(delivered_at), sink, bucket, count: 1 });
    },
    revived: (row) => {
      push(row);
      doubtful.add(row.subject_id);
      add(deliveries, { sink: row.sink, state: "dead", count: -1 });
      add(deliveries, { sink: row.sink, state: "canceled", count: 1 });
    },
    dropped: ({ subject_id, sink, state, cause }) => {
      if (state === "dead") doubtful.add(subject_id);
      add(deliveries, { sink, state: cause === "test" ? "test" : "made", count: -1 });
      if (cause !== "test" && ENDS.has(state)) add(deliveries, { sink, state, count: -1 });
    },
    write: async (rows) => {
      await indexWords(rows, words);
      // Every transaction updates the same few rows, so the lock comes first.
      if (runs.size + deliveries.size + hours.size + doubtful.size > 0) await rows.lock("ledger");
      await rows.insert("run_counts", inOrder(runs), added("run_counts", "grain, start, status"));
      await rows.insert("delivery_counts", inOrder(deliveries), added("delivery_counts", "sink, state"));
      await rows.insert("delivery_times", inOrder(times), added("delivery_times", "grain, start, sink, bucket"));
      await rows.insert("run_hours", [...hours.values()], WIDENED);
      await markDead(rows, [...doubtful].toSorted());
    },
  };
}

const WIDENED = `on conflict (hour) do update set
  first_seq = case when excluded.first_seq < run_hours.first_seq then excluded.first_seq else run_hours.first_seq end,
  last_seq = case when excluded.last_seq > run_hours.last_seq then excluded.last_seq else run_hours.last_seq end`;

/**
 * Marks listed runs that have a dead delivery without a later success, and counts them by day. The caller holds the
 * ledger's lock.
 */
export async function markDead(rows: BulkSql, runIds: readonly string[]): Promise<void> {
  const changed = await rows.update(
    "listed_runs",
    runIds.map((run_id) => ({ run_id })),
    {
      set: "dead = 1 - listed_runs.dead",
      where: `listed_runs.run_id = v.run_id and listed_runs.targets_this_relay = 1 and listed_runs.dead <> ${HAS_DEAD}`,
      returning: true,
    },
  );
  const days = new Map<number, number>();
  for (const { created_at, dead } of changed) {
    const day = dayOf(created_at);
    days.set(day, (days.get(day) ?? 0) + (dead === 1 ? 1 : -1));
  }
  await rows.insert(
    "listed_run_counts",
    [...days].toSorted(([a], [b]) => a - b).map(([day, dead]) => ({ day, count: 0, dead })),
    "on conflict (day) do update set dead = listed_run_counts.dead + excluded.dead",
  );
}

const HAS_DEAD = `case when exists (select 1 from deliveries d where d.subject_id = v.run_id and d.state = 'dead'
  and not exists (select 1 from deliveries l
    where ${sameSubject("l", "d")} and l.sink = d.sink and l.id > d.id and l.state = 'delivered'))
  then 1 else 0 end`;

/** Adds to a row that is there already. */
function add<Row extends { count: number }>(rows: Map<string, Row>, row: Row): void {
  const { count, ...key } = row;
  const name = JSON.stringify(Object.values(key));
  const known = rows.get(name);
  if (known) known.count += count;
  else rows.set(name, row);
}

const inOrder = <Row>(rows: Map<string, Row>): Row[] =>
  [...rows].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);

const added = (table: "run_counts" | "delivery_counts" | "delivery_times", key: string): string =>
  `on conflict (${key}) do update set count = ${table}.count + excluded.count`;

export interface DeliveryCounts {
  made: number;
  waiting: number;
  delivered: number;
  dead: number;
  canceled: number;
}

/** Counts by sink, for each that ever had a delivery. Tests do not count. */
export async function deliveryCounts(db: Db): Promise<Map<string, DeliveryCounts>> {
  const counts = new Map<string, DeliveryCounts>();
  for (const { sink, state, count } of await db.selectFrom("delivery_counts").selectAll().orderBy("sink").execute()) {
    const known = counts.get(sink) ?? { made: 0, waiting: 0, delivered: 0, dead: 0, canceled: 0 };
    if (state === "made" || state === "delivered" || state === "dead" || state === "canceled") known[state] = count;
    known.waiting = known.made - known.delivered - known.dead - known.canceled;
    counts.set(sink, known);
  }
  return counts;
}
