/** The event stream as it is kept: what changed, in the order of commits. */
import type { Kysely } from "kysely";
import type { Delivery } from "../run.ts";
import type { EventPage, StoredEvent, StoredRun } from "./store.ts";
import { pageLength, STATE_COLUMNS, wholeRows, type WholeRow } from "./run-page.ts";
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

/**
 * The events after one, oldest first. Of a run there is its state now, read with the event or after it; of a delivery its
 * state then. An event of a run that was removed since is passed over.
 */
export async function eventsAfter(
  db: Db,
  { after, limit }: { after: number; limit: number },
  runsOf: (rows: WholeRow[]) => Promise<StoredRun[]>,
): Promise<EventPage> {
  const found = await db
    .selectFrom("events")
    .leftJoin("runs", (join) => join.onRef("runs.run_id", "=", "events.run_id").on("events.kind", "=", "run"))
    .select(["events.id", "events.delivery", "runs.run_id", "runs.artifacts_status", ...STATE_COLUMNS])
    .where("events.id", ">", after)
    .orderBy("events.id")
    .limit(limit)
    .execute();
  const rows = found.slice(0, pageLength(found));
  const ofRuns = rows.flatMap(({ id, run_id, artifacts_status, state }) =>
    run_id === null || artifacts_status === null ? [] : [{ id, run_id, artifacts_status, state }],
  );
  const whole = (await wholeRows(db, ofRuns)).flatMap((row, i) => (row ? [{ ...row, id: ofRuns[i]?.id ?? 0 }] : []));
  const runs = await runsOf(whole);
  const byId = new Map(whole.map(({ id }, i) => [id, runs[i]]));
  const events = rows.flatMap(({ id, delivery }): StoredEvent[] => {
    if (delivery !== null) return [{ id, kind: "delivery", delivery: JSON.parse(delivery) as Delivery }];
    const run = byId.get(id);
    return run ? [{ id, kind: "run", run }] : [];
  });
  return { events, first: rows[0]?.id ?? null, last: rows.at(-1)?.id ?? after };
}
