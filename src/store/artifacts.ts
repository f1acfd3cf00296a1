/** What Skyvern's API listed for a run. */
import { isDeepStrictEqual } from "node:util";
import type { Kysely } from "kysely";
import type { Artifact, ArtifactsStatus } from "../run.ts";
import type { Change } from "./change.ts";
import type { Rows } from "./statements.ts";
import type { FoundArtifacts, KnownArtifacts } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export async function artifacts(rows: Rows, runId: string): Promise<KnownArtifacts> {
  const [run] = await rows.find("runs", ["artifacts_status"], "run_id", [runId]);
  const listed = await rows.find("artifacts", [...COLUMNS], "run_id", [runId]);
  return { artifacts: inOrder(listed), status: (run?.artifacts_status ?? "pending") as ArtifactsStatus };
}

const COLUMNS = ["run_id", "position", "artifact_id", "type", "created_at"] as const;

const inOrder = (rows: readonly Tables["artifacts"][]): Artifact[] =>
  rows.toSorted((a, b) => a.position - b.position).map(artifactOf);

export const artifactRows = (db: Db, runIds: readonly string[]) =>
  db.selectFrom("artifacts").selectAll().where("run_id", "in", runIds).orderBy("run_id").orderBy("position").execute();

export const artifactOf = ({ artifact_id, type, created_at }: Tables["artifacts"]): Artifact => ({
  artifact_id,
  type,
  created_at,
});

/** The last word on each run counts; when to ask again is the first. Of a run that was pruned meanwhile nothing is kept. */
export async function saveArtifacts({ rows, ledger }: Change, found: readonly FoundArtifacts[]): Promise<void> {
  if (found.length === 0) return;
  const byRun = new Map<string, FoundArtifacts>();
  for (const one of found)
    byRun.set(one.runId, { ...one, followUpAt: byRun.get(one.runId)?.followUpAt ?? one.followUpAt });
  const [runs, listed] = await Promise.all([
    rows.find("runs", ["run_id", "artifacts_status"], "run_id", [...byRun.keys()], "run_id"),
    rows.find("artifacts", [...COLUMNS], "run_id", [...byRun.keys()]),
  ]);
  const before = Map.groupBy(listed, ({ run_id }) => run_id);
  const status = new Map(runs.map((row) => [row.run_id, row.artifacts_status]));
  const fresh: Tables["artifacts"][] = [];
  const noted: { run_id: string; artifacts_status: string; follow_up_at: number | null }[] = [];
  for (const { runId, known, followUpAt } of byRun.values()) {
    if (!status.has(runId)) continue;
    const had = inOrder(before.get(runId) ?? []);
    const isNew = !isDeepStrictEqual({ artifacts: had, status: status.get(runId) }, known);
    if (isNew || followUpAt !== null)
      noted.push({ run_id: runId, artifacts_status: known.status, follow_up_at: followUpAt });
    if (!isNew) continue;
    ledger.changed(runId);
    if (had.length > 0) await rows.query("delete from artifacts where run_id = ?", [runId]);
    fresh.push(...known.artifacts.map((artifact, position) => artifactRow(runId, artifact, position)));
  }
  await rows.update("runs", noted, { set: FOUND, where: "runs.run_id = v.run_id" });
  await rows.insert("artifacts", fresh);
}

/** When to ask again stays as it is once it was planned or given up. */
const FOUND = `artifacts_status = v.artifacts_status,
  follow_up_at = case when runs.follow_up_at is null and runs.follow_ups = 0 then v.follow_up_at else runs.follow_up_at end`;

const artifactRow = (
  run_id: string,
  { artifact_id, type, created_at }: Artifact,
  position: number,
): Tables["artifacts"] => ({ run_id, position, artifact_id, type, created_at });
