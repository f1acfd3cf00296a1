/** The artifacts that Skyvern's API listed for a run. */
import { isDeepStrictEqual } from "node:util";
import type { ArtifactsStatus } from "../../domain/run.ts";
import type { WriteTransaction } from "../grouped.ts";
import type { BulkSql } from "../bulk-sql.ts";
import type { FoundArtifacts } from "../contract/outbox.ts";
import type { KnownArtifacts } from "../contract/runs.ts";
import type { Tables } from "../tables.ts";

/** The column holds JSON: the artifacts, and the timeline where there is one. */
type StoredArtifacts = Omit<KnownArtifacts, "status">;

export function artifactsIn(row: Pick<Tables["runs"], "artifacts"> & { artifacts_status: string }): KnownArtifacts {
  const said = row.artifacts === null ? { artifacts: [] } : (JSON.parse(row.artifacts) as StoredArtifacts);
  return { ...said, status: row.artifacts_status as ArtifactsStatus };
}

const stored = ({ status: _status, ...said }: KnownArtifacts): string => JSON.stringify(said satisfies StoredArtifacts);

export async function artifacts(rows: BulkSql, runId: string): Promise<KnownArtifacts> {
  const [run] = await rows.find("runs", ["artifacts", "artifacts_status"], "run_id", [runId]);
  return artifactsIn(run ?? { artifacts: null, artifacts_status: "pending" });
}

/**
 * The last list of each run counts, but the first time to ask again. Nothing is saved for a run that was pruned
 * meanwhile.
 */
export async function saveArtifacts(
  { rows, ledger }: WriteTransaction,
  found: readonly FoundArtifacts[],
): Promise<void> {
  if (found.length === 0) return;
  const byRun = new Map<string, FoundArtifacts>();
  for (const one of found)
    byRun.set(one.runId, { ...one, followUpAt: byRun.get(one.runId)?.followUpAt ?? one.followUpAt });
  const columns = ["run_id", "artifacts", "artifacts_status"] as const;
  const runs = await rows.find("runs", columns, "run_id", [...byRun.keys()], "run_id");
  const noted: { run_id: string; artifacts: string; artifacts_status: string; follow_up_at: number | null }[] = [];
  for (const run of runs) {
    const { known, followUpAt } = byRun.get(run.run_id) as FoundArtifacts;
    const isNew = !isDeepStrictEqual(artifactsIn(run), known);
    if (!isNew && followUpAt === null) continue;
    if (isNew) ledger.changed(run.run_id);
    noted.push({
      run_id: run.run_id,
      artifacts: stored(known),
      artifacts_status: known.status,
      follow_up_at: followUpAt,
    });
  }
  await rows.update("runs", noted, { set: FOUND, where: "runs.run_id = v.run_id" });
}

/** A follow-up that was planned or given up stays so. */
const FOUND = `artifacts = v.artifacts, artifacts_status = v.artifacts_status,
  follow_up_at = case when runs.follow_up_at is null and runs.follow_ups = 0 then v.follow_up_at else runs.follow_up_at end`;
