import type { Database } from "./database.ts";
import { grouped } from "./grouped.ts";
import { createOperations } from "./operations.ts";
import type { Deciding, FinishedAttempt, FoundArtifacts, Store } from "./store.ts";
import { catchUp } from "./words.ts";

export type SqlStore = Store & Deciding;

/** The Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database): SqlStore {
  const { record, saveArtifacts, runs, briefs, ...others } = createOperations(database);
  const save = grouped(async (found: readonly FoundArtifacts[]) => {
    await saveArtifacts(found);
    return found.map(() => {});
  });
  return {
    ...others,
    runs: async (filter, page) => {
      await catchUp(filter, others.indexWords);
      return runs(filter, page);
    },
    briefs: async (filter, page) => {
      await catchUp(filter, others.indexWords);
      return briefs(filter, page);
    },
    record: grouped((attempts: readonly FinishedAttempt[]) => record(attempts)),
    saveArtifacts: (runId, known, followUpAt) => save({ runId, known, followUpAt }),
  };
}
