import type { Database } from "./database.ts";
import { grouped } from "./grouped.ts";
import { createOperations } from "./operations.ts";
import { stateOf } from "./rows.ts";
import type { FoundArtifacts, Store } from "./store.ts";

/** The Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database): Store {
  const here = createOperations(database);
  const { claimDue, record, saveArtifacts, ...others } = { ...here, ...database.elsewhere };
  const save = grouped(async (found: readonly FoundArtifacts[]) => {
    await saveArtifacts(found);
    return found.map(() => {});
  });
  return {
    ...others,
    claimDue: async (queue, claim) =>
      (await claimDue(queue, claim)).map((claimed) => ({ ...claimed, state: stateOf(claimed.state) })),
    record: grouped(record),
    saveArtifacts: (runId, known, followUpAt) => save({ runId, known, followUpAt }),
  };
}
