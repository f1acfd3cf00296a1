import type { Database } from "./database.ts";
import { grouped } from "./grouped.ts";
import { createOperations, type Operations } from "./operations.ts";
import { toldStateOf } from "./states.ts";
import type { Deciding, FinishedAttempt, FoundArtifacts, Store } from "./store.ts";
import { catchUp } from "./words.ts";

export type SqlStore = Store & Deciding;

/** The Store over SQL. The database must be migrated. */
export function createSqlStore(database: Database): SqlStore {
  const operations = createOperations(database);
  const { accept, adopt, revise } = operations;
  return { ...storeOf(operations, grouped), accept, adopt, revise };
}

/** Calls that take one thing each, done many at a time. */
export type Gather = <Item, Answer>(
  write: (items: readonly Item[]) => Promise<readonly Answer[]>,
) => (item: Item) => Promise<Answer>;

/** The Store that operations are for. */
export function storeOf(operations: Omit<Operations, keyof Deciding>, gather: Gather): Store {
  const { claimDue, record, saveArtifacts, runs, briefs, ...others } = operations;
  const save = gather(async (found: readonly FoundArtifacts[]) => {
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
    claimDue: async (queue, claim) =>
      (await claimDue(queue, claim)).map((claimed) => ({ ...claimed, state: toldStateOf(claimed.state) })),
    record: gather((attempts: readonly FinishedAttempt[]) => record(attempts)),
    saveArtifacts: (runId, known, followUpAt) => save({ runId, known, followUpAt }),
  };
}
