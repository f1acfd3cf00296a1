import type { Database } from "./database.ts";
import { grouped } from "./grouped.ts";
import { createOperations } from "./operations.ts";
import type { FinishedAttempt, FoundArtifacts } from "./contract/outbox.ts";
import type { Store } from "./store.ts";

/**
 * Records of attempts share a transaction with all others of so long, ms. Nobody waits for one: the sink's slot is free
 * already, and delivery is at least once. Under load eight records share the commit that one had.
 */
const RECORDS_REST_MS = 50;

/** Creates the Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database): Store {
  const { record, saveArtifacts, ...others } = createOperations(database);
  const save = grouped(async (found: readonly FoundArtifacts[]) => {
    await saveArtifacts(found);
    return found.map(() => {});
  });
  return {
    ...others,
    record: grouped((attempts: readonly FinishedAttempt[]) => record(attempts), { restMs: RECORDS_REST_MS }),
    saveArtifacts: (runId, known, followUpAt) => save({ runId, known, followUpAt }),
  };
}
