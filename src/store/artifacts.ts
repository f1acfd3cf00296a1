/** What Skyvern's API listed for a run. */
import { isDeepStrictEqual } from "node:util";
import type { Kysely } from "kysely";
import type { Artifact, ArtifactsStatus } from "../run.ts";
import type { Change } from "./change.ts";
import type { KnownArtifacts } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export async function artifacts(db: Db, runId: string): Promise<KnownArtifacts> {
  const run = await db.selectFrom("runs").select("artifacts_status").where("run_id", "=", runId).executeTakeFirst();
  const rows = await artifactRows(db, [runId]);
  return { artifacts: rows.map(artifactOf), status: (run?.artifacts_status ?? "pending") as ArtifactsStatus };
}

export const artifactRows = (db: Db, runIds: readonly string[]) =>
  db.selectFrom("artifacts").selectAll().where("run_id", "in", runIds).orderBy("run_id").orderBy("position").execute();

export const artifactOf = ({ artifact_id, type, created_at }: Tables["artifacts"]): Artifact => ({
  artifact_id,
  type,
  created_at,
});

export async function saveArtifacts(
  { tx, ledger }: Change,
  runId: string,
  known: KnownArtifacts,
  followUpAt: number | null,
): Promise<void> {
  if (followUpAt !== null) {
    const unplanned = tx.updateTable("runs").set({ follow_up_at: followUpAt }).where("run_id", "=", runId);
    await unplanned.where("follow_up_at", "is", null).where("follow_ups", "=", 0).execute();
  }
  if (isDeepStrictEqual(await artifacts(tx, runId), known)) return;
  ledger.changed(runId);
  await tx.updateTable("runs").set({ artifacts_status: known.status }).where("run_id", "=", runId).execute();
  await tx.deleteFrom("artifacts").where("run_id", "=", runId).execute();
  if (known.artifacts.length === 0) return;
  const rows = known.artifacts.map(({ artifact_id, type, created_at }, position) => ({
    run_id: runId,
    position,
    artifact_id,
    type,
    created_at,
  }));
  // SQLite allows some thousand values in one statement.
  for (let i = 0; i < rows.length; i += 500)
    await tx
      .insertInto("artifacts")
      .values(rows.slice(i, i + 500))
      .execute();
}
