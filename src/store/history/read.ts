/** Reads runs, receipts and attempts. */
import { parseJson } from "../../platform/json.ts";
import type { Source, Verdict } from "../../domain/run.ts";
import { mapInTurns } from "../../platform/yielding.ts";
import { artifactsIn } from "../receipts/artifacts.ts";
import { stateIn, unpackBlock } from "../receipts/blocks.ts";
import type { Database } from "../database.ts";
import { findRuns, newerThan, olderThan } from "./find-runs.ts";
import { attemptsIn } from "../outbox/outbox.ts";
import { pageLength, stateBlock, wholeRows, type WholeRow } from "./page-size.ts";
import type { Attempt } from "../contract/deliveries.ts";
import type { Receipt } from "../contract/receipts.ts";
import type { Page, RunFilter, RunPage, StoredRun } from "../contract/runs.ts";
import type { Db, Tables } from "../tables.ts";

export const runRows = (db: Db) =>
  db.selectFrom("runs").select(["run_id", "artifacts_status", "artifacts", stateBlock.as("block")]);

export const storedRuns = (rows: readonly WholeRow[]): Promise<StoredRun[]> =>
  mapInTurns(rows, (row) => ({ state: stateIn(row.block), ...artifactsIn(row) }));

export async function runPage(
  source: Pick<Database, "db" | "dialect">,
  filter: RunFilter,
  page: Page,
): Promise<RunPage> {
  // One more row shows whether there are more.
  const found = await findRuns(source, filter, { ...page, limit: page.limit + 1 });
  const rows = found.slice(0, Math.min(page.limit, pageLength(found)));
  const last = rows.at(-1);
  const whole = await wholeRows(source, rows);
  return {
    runs: await storedRuns(whole.filter((row) => row !== null)),
    next: last && rows.length < found.length ? { at: last.received_at, id: last.run_id } : null,
  };
}

const RECEIPT_COLUMNS = [
  "id",
  "run_id",
  "verdict",
  "note",
  "routing",
  "reported_status",
  "source",
  "channel",
  "labels",
  "key_name",
  "body_hash",
  "body_bytes",
  "sent_at",
  "received_at",
  "copies",
  "last_received_at",
] as const;

export const receiptRows = (db: Db) => db.selectFrom("receipts").select(RECEIPT_COLUMNS);

export const receiptOfRow = (row: Pick<Tables["receipts"], (typeof RECEIPT_COLUMNS)[number]>): Receipt => ({
  ...row,
  verdict: row.verdict as Verdict,
  source: row.source as Source,
  routing: row.routing === null ? null : parseJson(row.routing),
  labels: row.labels === null ? null : (parseJson(row.labels) as Receipt["labels"]),
});

/** Those of no run, newest first unless `oldestFirst`. */
export async function unrecognizedReceipts(
  db: Db,
  { after, limit, oldestFirst = false }: Page & { oldestFirst?: boolean },
): Promise<Receipt[]> {
  const rows = receiptRows(db).where("run_id", "is", null);
  const beyond = oldestFirst ? newerThan : olderThan;
  const rest = after ? rows.where(beyond("received_at", "id", after)) : rows;
  const order = oldestFirst ? "asc" : "desc";
  const found = await rest.orderBy("received_at", order).orderBy("id", order).limit(limit).execute();
  return found.map(receiptOfRow);
}

/** The masked body of one receipt; null when it is gone. */
export async function readBody(db: Db, receiptId: string): Promise<Uint8Array | null> {
  const row = await db.selectFrom("receipts").select("block").where("id", "=", receiptId).executeTakeFirst();
  return row?.block ? unpackBlock(row.block).body : null;
}

/** In the order in which the attempts began. */
export async function attempts(db: Db, ids: readonly string[]): Promise<Attempt[]> {
  if (ids.length === 0) return [];
  const rows = await db.selectFrom("deliveries").select(["id", "log"]).where("id", "in", ids).orderBy("id").execute();
  return rows.flatMap(attemptsIn).toSorted((a, b) => a.started_at - b.started_at || a.n - b.n);
}
