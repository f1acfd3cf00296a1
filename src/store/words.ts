/**
 * When runs get into the full-text index: on SQLite after the transaction that brought them, many at a time, which costs a
 * fraction of what each by itself does, and none of it while somebody waits for an answer. Which are still to come is
 * noted in that transaction, so none is lost. On PostgreSQL at once.
 */
import type { Kysely } from "kysely";
import type { Run } from "../run.ts";
import type { Database } from "./database.ts";
import { indexedText, markGroups } from "./search.ts";
import type { Rows } from "./statements.ts";
import { stateOf, statesOf } from "./states.ts";
import { StorageFault, type RunFilter, type Store } from "./store.ts";
import type { Tables } from "./tables.ts";

/** In the transaction that changes runs: what they are found by is new, by their number. */
export async function noteWords(rows: Rows, runs: ReadonlyMap<number, Run>): Promise<void> {
  if (rows.dialect === "postgres") await rows.index(new Map([...runs].map(([doc, run]) => [doc, indexedText(run)])));
  else
    await rows.insert(
      "unindexed",
      [...runs.keys()].map((doc) => ({ doc })),
      "on conflict do nothing",
    );
}

/** In one transaction. Returns how many were due, up to the limit. */
export async function indexNext(rows: Rows, limit: number): Promise<number> {
  if (rows.dialect === "postgres") return 0;
  const due = await rows.query<{ doc: number }>("select doc from unindexed order by doc limit ?", [limit]);
  const last = due.at(-1);
  if (last === undefined) return 0;
  // One that was removed since has no state, and no words.
  const states = await statesOf(
    rows,
    due.map(({ doc }) => doc),
  );
  await rows.index(new Map([...states].map(([doc, state]) => [doc, indexedText(stateOf(state).run)])));
  await rows.query("delete from unindexed where doc <= ?", [last.doc]);
  return due.length;
}

/** Whether there are runs whose words are not in the index. */
export async function isBehind({ db, dialect }: Pick<Database, "db" | "dialect">): Promise<boolean> {
  if (dialect === "postgres") return false;
  return (await firstDue(db)) !== undefined;
}

const firstDue = (db: Kysely<Tables>) => db.selectFrom("unindexed").select("doc").limit(1).executeTakeFirst();

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
