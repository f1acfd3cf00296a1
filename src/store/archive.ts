/** The archive's part of the Store: runs whose artifacts are to be copied, and the copies made so far. */
import type { Write } from "./grouped.ts";
import type { BulkSql } from "./bulk-sql.ts";
import type { ArchiveStore, Copy } from "./contract/archive.ts";
import type { Db, Tables } from "./tables.ts";

/** Queues runs for copying at a given time; this replaces an earlier entry of the same run. */
export async function queueArchiving(rows: BulkSql, dueAt: ReadonlyMap<string, number>): Promise<void> {
  await rows.insert(
    "archiving",
    [...dueAt].map(([run_id, due_at]) => ({ run_id, due_at, failures: 0 })),
    "on conflict (run_id) do update set due_at = excluded.due_at, failures = 0",
  );
}

/** Selects those of these hashes that no copy needs any more; their bytes are to be removed. */
export async function discard(tx: Db, hashes: readonly string[], now: number): Promise<void> {
  if (hashes.length === 0) return;
  const needed = await tx.selectFrom("copies").select("sha256").distinct().where("sha256", "in", hashes).execute();
  const rest = new Set(hashes);
  for (const { sha256 } of needed) rest.delete(sha256);
  if (rest.size === 0) return;
  await tx
    .insertInto("discarded")
    .values([...rest].map((sha256) => ({ sha256, due_at: now })))
    .onConflict((conflict) => conflict.column("sha256").doNothing())
    .execute();
}

export function copiesStore(db: Db, write: Write): ArchiveStore {
  return {
    dueArchiving: async (now, limit) => {
      const due = db.selectFrom("archiving").select(["run_id", "due_at", "failures"]).where("due_at", "<=", now);
      const rows = await due.orderBy("due_at").limit(limit).execute();
      return rows.map(({ run_id, due_at, failures }) => ({ runId: run_id, dueAt: due_at, failures }));
    },
    setArchiving: ({ runId, dueAt }, next) =>
      write(async ({ tx }) => {
        // An entry that was queued again meanwhile stays queued.
        const same = <T extends { where(column: "run_id" | "due_at", is: "=", value: string | number): T }>(
          query: T,
        ): T => query.where("run_id", "=", runId).where("due_at", "=", dueAt);
        if (next === null) await same(tx.deleteFrom("archiving")).execute();
        else await same(tx.updateTable("archiving").set({ due_at: next.at, failures: next.failures })).execute();
      }),
    saveCopy: ({ runId, key, ...copy }) =>
      write(async ({ tx, rows }) => {
        // The run was pruned while it was being copied. Without this row nothing would ever remove the bytes.
        const runs = await rows.find("runs", ["run_id"], "run_id", [runId], "run_id");
        if (runs.length === 0) return discard(tx, [copy.sha256], copy.copiedAt);
        const older = await ofArtifact(tx, runId, key).executeTakeFirst();
        const row = { sha256: copy.sha256, type: copy.type, bytes: copy.bytes, copied_at: copy.copiedAt };
        await tx
          .insertInto("copies")
          .values({ run_id: runId, artifact: key, ...row })
          .onConflict((conflict) => conflict.columns(["run_id", "artifact"]).doUpdateSet(row))
          .execute();
        await tx.deleteFrom("discarded").where("sha256", "=", copy.sha256).execute();
        if (older) await discard(tx, [older.sha256], copy.copiedAt);
      }),
    copies: async (runId) =>
      (await db.selectFrom("copies").selectAll().where("run_id", "=", runId).execute()).map(toCopy),
    copy: async (runId, key) => {
      const row = await ofArtifact(db, runId, key).executeTakeFirst();
      return row ? toCopy(row) : null;
    },
    copiedBytes: async () => {
      const distinct = db.selectFrom("copies").select(["sha256", "bytes"]).distinct().as("files");
      const sum = db.selectFrom(distinct).select(({ fn }) => fn.sum<number | null>("files.bytes").as("bytes"));
      return Number((await sum.executeTakeFirst())?.bytes ?? 0);
    },
    discarded: async (now, limit) => {
      const rows = db.selectFrom("discarded").select("sha256").where("due_at", "<=", now);
      return (await rows.orderBy("due_at").limit(limit).execute()).map(({ sha256 }) => sha256);
    },
    setDiscarded: (sha256, at) =>
      write(async ({ tx }) => {
        if (at === null) await tx.deleteFrom("discarded").where("sha256", "=", sha256).execute();
        else await tx.updateTable("discarded").set({ due_at: at }).where("sha256", "=", sha256).execute();
      }),
  };
}

const ofArtifact = (db: Db, runId: string, key: string) =>
  db.selectFrom("copies").selectAll().where("run_id", "=", runId).where("artifact", "=", key);

const toCopy = ({ run_id, artifact, sha256, type, bytes, copied_at }: Tables["copies"]): Copy => ({
  runId: run_id,
  key: artifact,
  sha256,
  type,
  bytes,
  copiedAt: copied_at,
});
