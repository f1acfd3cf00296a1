import type { Database } from "./database.ts";
import { grouped } from "./grouped.ts";
import { createOperations } from "./operations.ts";
import type { FinishedAttempt, FoundArtifacts } from "./contract/outbox.ts";
import type { Store } from "./store.ts";

/** Creates the Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database): Store {
  const { record, saveArtifacts, ...others } = createOperations(database);
  const save = grouped(async (found: readonly FoundArtifacts[]) => {
    await saveArtifacts(found);
    return found.map(() => {});
  });
  return {
    ...others,
    record: grouped((attempts: readonly FinishedAttempt[]) => record(attempts)),
    saveArtifacts: (runId, known, followUpAt) => save({ runId, known, followUpAt }),
  };
}
