/** Runs, receipts and attempts as they are read. */
import type { Kysely } from "kysely";
import { parseJson } from "../json.ts";
import type { ArtifactsStatus, Outcome, Source, Verdict } from "../run.ts";
import { mapInTurns } from "../turns.ts";
import { artifactOf, artifactRows } from "./artifacts.ts";
import type { Database } from "./database.ts";
import { findRuns } from "./find.ts";
import { stateOf, storedState, type Stored } from "./states.ts";
import { pageLength, wholeRows } from "./run-page.ts";
import type { Attempt, Page, Receipt, RunFilter, RunPage, StoredRun } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export const runRows = ({ db, dialect }: Pick<Database, "db" | "dialect">) =>
  db.selectFrom("runs").select(["run_id", "artifacts_status", storedState(dialect).as("state")]);

export async function storedRuns(
  db: Db,
  rows: { run_id: string; artifacts_status: string; state: Stored }[],
): Promise<StoredRun[]> {
  if (rows.length === 0) return [];
  const listed = await artifactRows(
    db,
    rows.map(({ run_id }) => run_id),
  );
  const byRun = Map.groupBy(listed, ({ run_id }) => run_id);
  return mapInTurns(rows, (row) => ({
    state: stateOf(row.state),
    artifacts: (byRun.get(row.run_id) ?? []).map(artifactOf),
    status: row.artifacts_status as ArtifactsStatus,
  }));
}

export async function runPage(
  source: Pick<Database, "db" | "dialect">,
  filter: RunFilter,
  page: Page,
): Promise<RunPage> {
  const { db } = source;
  // One more says whether there are more.
  const found = await findRuns(source, filter, { ...page, limit: page.limit + 1 });
  const rows = found.slice(0, Math.min(page.limit, pageLength(found)));
  const last = rows.at(-1);
  const whole = await wholeRows(source, rows);
  return {
    runs: await storedRuns(
      db,
      whole.filter((row) => row !== null),
    ),
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
});

export async function attempts(db: Db, ids: readonly string[]): Promise<Attempt[]> {
  if (ids.length === 0) return [];
  const rows = await db
    .selectFrom("attempts")
    .selectAll()
    .where("delivery_id", "in", ids)
    .orderBy("started_at")
    .orderBy("n")
    .execute();
  return rows.map((row) => ({ ...row, outcome: row.outcome as Outcome["kind"] }));
}
