/**
 * What lists show of a run. It is short whatever the run holds, so a page of multi-megabyte runs is read in kilobytes.
 * The column `list_item` holds what has no column of its own.
 */
import { sql } from "kysely";
import type { DeliveryState, Run } from "../../domain/run.ts";
import type { Database } from "../database.ts";
import { findListItems } from "./find-runs.ts";
import type { Page, RunListItem, RunFilter } from "../contract/runs.ts";
import type { Db } from "../tables.ts";

/** `prompt` stands in for a missing title. */
interface ListItem {
  prompt?: string;
  site?: string;
  reason?: string;
  duration_ms?: number;
}

/** The most UTF-16 units of a single text. */
const MAX_TEXT = 240;

/** The value of the column, without nulls. */
export function toListItem({ title, prompt, url, failure, started_at, finished_at }: Run): string {
  const took = started_at !== null && finished_at !== null ? Math.max(0, finished_at - started_at) : null;
  const item = {
    prompt: shorten(title) === null ? shorten(prompt) : null,
    site: url === null || !URL.canParse(url) ? null : shorten(new URL(url).hostname),
    reason: shorten(failure?.reason ?? null),
    duration_ms: took,
  };
  return JSON.stringify(Object.fromEntries(Object.entries(item).filter(([, value]) => value !== null)));
}

/** Null for a blank text. */
function shorten(text: string | null): string | null {
  const start = (text ?? "").trimStart();
  return start === "" ? null : start.slice(0, MAX_TEXT).toWellFormed();
}

/** A page of the list, with the newest delivery to each sink, by the sink's name. */
export async function listItems(
  source: Pick<Database, "db" | "dialect">,
  filter: RunFilter,
  page: Page,
): Promise<RunListItem[]> {
  const { db } = source;
  const rows = await findListItems(source, filter, page);
  const ids = rows.map(({ run_id }) => run_id);
  const newest = Map.groupBy(await lastWords(db, ids), ({ subject_id }) => subject_id);
  return rows.map((row) => {
    const { prompt = null, site = null, reason = null, duration_ms = null } = JSON.parse(row.list_item) as ListItem;
    return {
      run_id: row.run_id,
      received_at: row.received_at,
      status: shorten(row.status) ?? "",
      run_type: shorten(row.run_type) ?? "",
      title: shorten(row.title) ?? prompt,
      channel: shorten(row.channel),
      // Keeps the value whole or drops it, because lists filter by it.
      workflow: (row.workflow?.length ?? MAX_TEXT) < MAX_TEXT ? row.workflow : null,
      site,
      reason,
      duration_ms,
      deliveries: (newest.get(row.run_id) ?? []).map(({ sink, state }) => ({ sink, state: state as DeliveryState })),
    };
  });
}

async function lastWords(db: Db, runIds: readonly string[]) {
  if (runIds.length === 0) return [];
  return db
    .selectFrom("deliveries")
    .select(["subject_id", "sink", "state"])
    .where("subject_id", "in", runIds)
    .where("subject_kind", "=", "run")
    .where(
      sql<boolean>`not exists (select 1 from deliveries l
        where l.subject_id = deliveries.subject_id and l.sink = deliveries.sink and l.subject_kind = 'run'
          and l.id > deliveries.id)`,
    )
    .orderBy("sink")
    .execute();
}
