/**
 * What lists show of a run: short whatever the run holds. It is a column of its own, so that a page of runs of megabytes
 * each is read in kilobytes.
 */
import { sql, type Kysely } from "kysely";
import type { DeliveryState, Run } from "../run.ts";
import type { Database } from "./database.ts";
import { findBriefs } from "./find.ts";
import type { Page, RunBrief, RunFilter } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;
type Kept = Omit<RunBrief, "run_id" | "received_at" | "told">;

/** UTF-16 units of any one text. */
const MAX_TEXT = 240;

/** The column's value. */
export function briefOf(run: Run): string {
  const { status, run_type, title, prompt, channel, workflow, url, failure, started_at, finished_at } = run;
  const took = started_at !== null && finished_at !== null ? Math.max(0, finished_at - started_at) : null;
  const kept: Kept = {
    status: short(status) ?? "",
    run_type: short(run_type) ?? "",
    title: short(title) ?? short(prompt),
    channel: short(channel),
    // Whole or not at all: it is what a list is filtered by.
    workflow: (workflow?.permanent_id?.length ?? MAX_TEXT) < MAX_TEXT ? (workflow?.permanent_id ?? null) : null,
    site: url === null || !URL.canParse(url) ? null : short(new URL(url).hostname),
    reason: short(failure?.reason ?? null),
    duration_ms: took,
  };
  return JSON.stringify(kept);
}

/** Null for what is blank. */
function short(text: string | null): string | null {
  const start = (text ?? "").trimStart();
  return start === "" ? null : start.slice(0, MAX_TEXT).toWellFormed();
}

/** A page of the list, with what the newest delivery to each sink came to, by the sink's name. */
export async function briefs(
  source: Pick<Database, "db" | "dialect">,
  filter: RunFilter,
  page: Page,
): Promise<RunBrief[]> {
  const { db } = source;
  const rows = await findBriefs(source, filter, page);
  const told = Map.groupBy(
    await lastWords(
      db,
      rows.map(({ run_id }) => run_id),
    ),
    ({ run_id }) => run_id,
  );
  return rows.map(({ run_id, received_at, brief }) => ({
    ...(JSON.parse(brief) as Kept),
    run_id,
    received_at,
    told: (told.get(run_id) ?? []).map(({ sink, state }) => ({ sink, state: state as DeliveryState })),
  }));
}

async function lastWords(db: Db, runIds: readonly string[]) {
  if (runIds.length === 0) return [];
  return db
    .selectFrom("deliveries")
    .select(["run_id", "sink", "state"])
    .where("run_id", "in", runIds)
    .where(
      sql<boolean>`not exists (select 1 from deliveries l
        where l.run_id = deliveries.run_id and l.sink = deliveries.sink and l.id > deliveries.id)`,
    )
    .orderBy("sink")
    .execute();
}
