/**
 * When runs get into the full-text index: after the transaction that brought them, many at a time, which on SQLite costs a
 * fraction of what each by itself does, and nowhere any of it while somebody waits for an answer. Which are still to come is
 * noted in that transaction, so none is lost.
 */
import type { Database } from "./database.ts";
import { indexedText, markGroups } from "./search.ts";
import type { Rows } from "./statements.ts";
import { stateOf, statesOf } from "./states.ts";
import { StorageFault, type RunFilter, type Store } from "./store.ts";

/** In the transaction that changes runs: what they are found by is new, by their number. */
export const noteWords = (rows: Rows, docs: readonly number[]): Promise<void> =>
  rows.insert(
    "unindexed",
    docs.map((doc) => ({ doc })),
    // Not nothing: a note that another relay is just taking, with the words of before, is to be made again when that has ended.
    "on conflict (doc) do update set doc = excluded.doc",
  );

/** In one transaction. Returns how many were due, up to the limit. */
export async function indexNext(rows: Rows, limit: number): Promise<number> {
  // One relay at a time: two would wait for each other in the index's pages.
  await rows.lock("words");
  const skipping = rows.dialect === "postgres" ? " for update skip locked" : "";
  const due = await rows.query<{ doc: number }>(
    `with due as materialized (select doc from unindexed order by doc limit ?${skipping})
      delete from unindexed where doc in (select doc from due) returning doc`,
    [limit],
  );
  if (due.length === 0) return 0;
  // After the notes: whoever changes one of these runs from here on notes it again. One that was removed has no state, and no words.
  const states = await statesOf(
    rows,
    due.map(({ doc }) => doc),
  );
  await rows.index(new Map([...states].map(([doc, state]) => [doc, indexedText(stateOf(state).run)])));
  return due.length;
}

/** Whether there are runs whose words are not in the index. */
export const isBehind = async ({ db }: Pick<Database, "db">): Promise<boolean> =>
  // In order, as PostgreSQL would else look through what was taken away since it last cleaned up.
  (await db.selectFrom("unindexed").select("doc").orderBy("doc").limit(1).executeTakeFirst()) !== undefined;

const STEP = 100;
/** A search waits for no more than these, some tenths of a second, and then finds what there is. */
const MAX_STEPS = 20;

/** Before runs are looked for in the index: brings it up to date, as far as that is soon done. */
export async function catchUp(filter: RunFilter, index: Store["indexWords"]): Promise<void> {
  if (markGroups(filter) === null) return;
  try {
    for (let steps = 0; steps < MAX_STEPS; steps += 1) if ((await index(STEP)) < STEP) return;
  } catch (error) {
    // What only reads, or has a full disk, finds what there is.
    if (!(error instanceof StorageFault)) throw error;
  }
}
