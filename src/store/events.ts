/** The event stream as it is kept: what changed, in the order of commits. */
import type { Kysely, Selectable } from "kysely";
import type { Delivery, DeliveryReceipt } from "../run.ts";
import { deliveryOf } from "./rows.ts";
import type { EventPage, StoredEvent, StoredRun } from "./store.ts";
import type { Database } from "./database.ts";
import { pageLength, stateColumns, wholeRows, type WholeRow } from "./run-page.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

/** Ids of the first and last event kept, both 0 when there is none. */
export async function eventRange(db: Db): Promise<{ first: number; last: number }> {
  // Each by itself, as SQLite looks either up in the index, and walks through all for both.
  const range = await db
    .selectNoFrom(({ selectFrom }) => [
      selectFrom("events")
        .select(({ fn }) => fn.min("id").as("id"))
        .as("first"),
      selectFrom("events")
        .select(({ fn }) => fn.max("id").as("id"))
        .as("last"),
    ])
    .executeTakeFirstOrThrow();
  return { first: range.first ?? 0, last: range.last ?? 0 };
}

/** Which runs something changed about after an event, oldest first, each once; without reading any of them. */
export async function changesAfter(
  db: Db,
  { after, limit }: { after: number; limit: number },
): Promise<{ runIds: string[]; last: number }> {
  const rows = await db
    .selectFrom("events")
    .select(["id", "run_id"])
    .where("id", ">", after)
    .orderBy("id")
    .limit(limit)
    .execute();
  return { runIds: [...new Set(rows.map(({ run_id }) => run_id))], last: rows.at(-1)?.id ?? after };
}

/** What never changes of a delivery, and so is told of by its own row. */
const ofDelivery = [
  "deliveries.id as delivery_id",
  "deliveries.run_id as delivery_run_id",
  "deliveries.sink",
  "deliveries.kind",
  "deliveries.cause",
  "deliveries.created_at",
] as const;

interface OfDelivery {
  delivery_id: string;
  delivery_run_id: string;
  sink: string;
  kind: string;
  cause: string;
  created_at: number;
}

/** The rest, as an event keeps it; what ends in nothing is left out. */
export function toldOf(row: Selectable<Tables["deliveries"]>): string {
  const { state, attempts, revision, next_attempt_at, last_error, delivered_at, receipt } = deliveryOf(row);
  const told: Told = [state, attempts, revision, next_attempt_at, last_error, delivered_at, receipt];
  return JSON.stringify(told.slice(0, told.findLastIndex((value) => value !== null) + 1));
}

type Told = [
  Delivery["state"],
  attempts: number,
  revision: number,
  nextAttemptAt?: number | null,
  lastError?: string | null,
  deliveredAt?: number | null,
  receipt?: DeliveryReceipt | null,
];

function deliveryThen(row: OfDelivery, told: string): Delivery {
  const [state, attempts, revision, nextAt = null, lastError = null, deliveredAt = null, receipt = null] = JSON.parse(
    told,
  ) as Told;
  return {
    id: row.delivery_id,
    run_id: row.delivery_run_id,
    revision,
    sink: row.sink,
    kind: row.kind,
    cause: row.cause as Delivery["cause"],
    state,
    attempts,
    next_attempt_at: nextAt,
    last_error: lastError,
    created_at: row.created_at,
    delivered_at: deliveredAt,
    receipt,
  };
}

/**
 * The events after one, oldest first. Of a run there is its state now, read with the event or after it; of a delivery its
 * state then. An event of a run or delivery that was removed since is passed over.
 */
export async function eventsAfter(
  { db, dialect }: Pick<Database, "db" | "dialect">,
  { after, limit }: { after: number; limit: number },
  runsOf: (rows: WholeRow[]) => Promise<StoredRun[]>,
): Promise<EventPage> {
  const found = await db
    .selectFrom("events")
    .leftJoin("runs", (join) => join.onRef("runs.run_id", "=", "events.run_id").on("events.kind", "=", "run"))
    .leftJoin("deliveries", "deliveries.id", "events.delivery")
    .select(["events.id", "events.told", "runs.run_id", "runs.artifacts_status", ...stateColumns(dialect)])
    .select(ofDelivery)
    .where("events.id", ">", after)
    .orderBy("events.id")
    .limit(limit)
    .execute();
  const rows = found.slice(0, pageLength(found));
  const ofRuns = rows.flatMap(({ id, run_id, artifacts_status, state }) =>
    run_id === null || artifacts_status === null ? [] : [{ id, run_id, artifacts_status, state }],
  );
  const whole = (await wholeRows({ db, dialect }, ofRuns)).flatMap((row, i) =>
    row ? [{ ...row, id: ofRuns[i]?.id ?? 0 }] : [],
  );
  const runs = await runsOf(whole);
  const byId = new Map(whole.map(({ id }, i) => [id, runs[i]]));
  const events = rows.flatMap(({ id, told, ...row }): StoredEvent[] => {
    if (told !== null && row.delivery_id !== null)
      return [{ id, kind: "delivery", delivery: deliveryThen(row as OfDelivery, told) }];
    const run = byId.get(id);
    return run ? [{ id, kind: "run", run }] : [];
  });
  return { events, first: rows[0]?.id ?? null, last: rows.at(-1)?.id ?? after };
}
