/** The Store's part for the archive: which runs are to be copied, and what has been. */
import type { Database } from "./database.ts";
import type { Rows } from "./statements.ts";
import type { Copy, Store } from "./store.ts";
import type { Tables } from "./tables.ts";

/** Runs are to be copied from a time on; what was to be done about them before is forgotten. */
export async function queueArchiving(rows: Rows, dueAt: ReadonlyMap<string, number>): Promise<void> {
  await rows.insert(
    "archiving",
    [...dueAt].map(([run_id, due_at]) => ({ run_id, due_at, failures: 0 })),
    "on conflict (run_id) do update set due_at = excluded.due_at, failures = 0",
  );
}

export type CopiesStore = Pick<Store, "dueArchiving" | "setArchiving" | "saveCopy" | "copies" | "copy" | "copiedBytes">;

export function copiesStore({ db }: Database): CopiesStore {
  return {
    dueArchiving: async (now, limit) => {
      const due = db.selectFrom("archiving").select(["run_id", "due_at", "failures"]).where("due_at", "<=", now);
      const rows = await due.orderBy("due_at").limit(limit).execute();
      return rows.map(({ run_id, due_at, failures }) => ({ runId: run_id, dueAt: due_at, failures }));
    },
    setArchiving: async ({ runId, dueAt }, next) => {
      // One that was queued anew meanwhile stays queued.
      const same = <T extends { where(column: "run_id" | "due_at", is: "=", value: string | number): T }>(
        query: T,
      ): T => query.where("run_id", "=", runId).where("due_at", "=", dueAt);
      if (next === null) await same(db.deleteFrom("archiving")).execute();
      else await same(db.updateTable("archiving").set({ due_at: next.at, failures: next.failures })).execute();
    },
    saveCopy: async ({ runId, key, ...copy }) => {
      const row = { sha256: copy.sha256, type: copy.type, bytes: copy.bytes, copied_at: copy.copiedAt };
      await db
        .insertInto("copies")
        .values({ run_id: runId, artifact: key, ...row })
        .onConflict((conflict) => conflict.columns(["run_id", "artifact"]).doUpdateSet(row))
        .execute();
    },
    copies: async (runId) =>
      (await db.selectFrom("copies").selectAll().where("run_id", "=", runId).execute()).map(copyOf),
    copy: async (runId, key) => {
      const of = db.selectFrom("copies").selectAll().where("run_id", "=", runId).where("artifact", "=", key);
      const row = await of.executeTakeFirst();
      return row ? copyOf(row) : null;
    },
    copiedBytes: async () => {
      const distinct = db.selectFrom("copies").select(["sha256", "bytes"]).distinct().as("files");
      const sum = db.selectFrom(distinct).select(({ fn }) => fn.sum<number | null>("files.bytes").as("bytes"));
      return Number((await sum.executeTakeFirst())?.bytes ?? 0);
    },
  };
}

const copyOf = ({ run_id, artifact, sha256, type, bytes, copied_at }: Tables["copies"]): Copy => ({
  runId: run_id,
  key: artifact,
  sha256,
  type,
  bytes,
  copiedAt: copied_at,
});
