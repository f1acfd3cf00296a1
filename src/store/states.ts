/** Where the states of runs and the bodies of their receipts are: beside the runs, and on SQLite packed when a run is at rest. */
import { sql, type Kysely, type RawBuilder } from "kysely";
import type { RunState } from "../run.ts";
import { parseJson } from "../json.ts";
import type { Database } from "./database.ts";
import { packBody, packState, unpackBody, unpackState } from "./packing.ts";
import type { Dialect, Rows } from "./statements.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

/** JSON, or packed. */
export type Stored = string | Uint8Array;

export const jsonOf = (stored: Stored): string => (typeof stored === "string" ? stored : unpackState(stored));
export const stateOf = (stored: Stored): RunState => parseJson(jsonOf(stored)) as unknown as RunState;

/** For a select from `runs`. Both tables in one statement: a run may be packed meanwhile. */
export const storedState = (dialect: Dialect): RawBuilder<Stored> =>
  dialect === "postgres"
    ? sql`(select state from states where states.doc = runs.doc)`
    : sql`coalesce((select state from states where states.doc = runs.doc),
        (select state from packed_states p where p.doc = runs.doc))`;

/** In a transaction; of runs that are locked where others write. By their number. */
export async function statesOf(rows: Rows, docs: readonly number[]): Promise<Map<number, Stored>> {
  const states = new Map<number, Stored>();
  for (const { doc, state } of await rows.find("states", ["doc", "state"], "doc", docs)) states.set(doc, state);
  if (rows.dialect === "postgres" || states.size === docs.length) return states;
  const missing = docs.filter((doc) => !states.has(doc));
  for (const { doc, state } of await rows.find("packed_states", ["doc", "state"], "doc", missing))
    states.set(doc, state);
  return states;
}

/** New states, and changed ones in place of those before. */
export const writeStates = (rows: Rows, states: readonly Tables["states"][]): Promise<void> =>
  rows.insert("states", states, "on conflict (doc) do update set state = excluded.state");

/** The bytes of one receipt, masked, as they were stored; null when they are gone. */
export async function readBody({ db, dialect }: Pick<Database, "db" | "dialect">, receiptId: string) {
  const plain = db.selectFrom("bodies").select("body").where("receipt_id", "=", receiptId);
  if (dialect === "postgres") return (await plain.executeTakeFirst())?.body ?? null;
  const { rows } = await sql<{ body: Uint8Array | null; packed: Uint8Array | null; state: Stored | null }>`
    select bodies.body, b.body as packed, case when b.body is not null then ${storedState(dialect)} end as state
    from (select ${receiptId} as id) as asked left join bodies on bodies.receipt_id = asked.id
      left join packed_bodies b on b.receipt_id = asked.id
      left join receipts on receipts.id = b.receipt_id left join runs on runs.run_id = receipts.run_id`.execute(db);
  const { body = null, packed = null, state = null } = rows[0] ?? {};
  return packed === null || state === null ? body : unpackBody(packed, jsonOf(state));
}

// --- packing --------------------------------------------------------------------------------------------------------

/** Packs so many runs that were received before a time. Returns how many those were. */
export async function packRuns(rows: Rows, before: number, limit: number): Promise<number> {
  const oldest = await rows.query<{ doc: number; run_id: string; received_at: number; state: string }>(
    "select s.doc, r.run_id, r.received_at, s.state from states s join runs r on r.doc = s.doc order by s.doc limit ?",
    [limit],
  );
  const young = oldest.findIndex(({ received_at }) => received_at >= before);
  const due = young < 0 ? oldest : oldest.slice(0, young);
  const stateByRun = new Map(due.map(({ run_id, state }) => [run_id, state]));
  const receipts = await rows.find("receipts", ["id", "run_id"], "run_id", [...stateByRun.keys()]);
  const runOf = new Map(receipts.map(({ id, run_id }) => [id, run_id]));
  const bodies = await rows.find("bodies", ["receipt_id", "body"], "receipt_id", [...runOf.keys()]);
  await rows.insert(
    "packed_states",
    due.map(({ doc, state }) => ({ doc, state: packState(state) })),
  );
  await rows.insert(
    "packed_bodies",
    bodies.map(({ receipt_id, body }) => ({
      receipt_id,
      body: packBody(body, stateByRun.get(runOf.get(receipt_id) ?? "") ?? ""),
    })),
  );
  await rows.query("delete from states where doc in (select value from json_each(?))", [
    JSON.stringify(due.map(({ doc }) => doc)),
  ]);
  await removeNamed(rows, "bodies", bodies);
  return due.length;
}

/** Whether {@link packRuns} would find any. */
export async function isPackingDue({ db, dialect }: Pick<Database, "db" | "dialect">, before: number) {
  if (dialect === "postgres") return false;
  const oldest = db.selectFrom("states").innerJoin("runs", "runs.doc", "states.doc").select("received_at");
  const first = await oldest.orderBy("states.doc").limit(1).executeTakeFirst();
  return first !== undefined && first.received_at < before;
}

/** Before the state of a run that was packed is written anew: its bodies are packed beside the old one. */
export async function unpackRun(rows: Rows, run: { id: string; doc: number; state: string }): Promise<void> {
  const receipts = await rows.find("receipts", ["id"], "run_id", [run.id]);
  const ids = receipts.map(({ id }) => id);
  const bodies = await rows.find("packed_bodies", ["receipt_id", "body"], "receipt_id", ids);
  await rows.insert(
    "bodies",
    bodies.map(({ receipt_id, body }) => ({ receipt_id, body: unpackBody(body, run.state) })),
  );
  await removeNamed(rows, "packed_bodies", bodies);
  await rows.query("delete from packed_states where doc = ?", [run.doc]);
}

const removeNamed = (rows: Rows, table: "bodies" | "packed_bodies", bodies: readonly { receipt_id: string }[]) =>
  rows.query(`delete from ${table} where receipt_id in (select value from json_each(?))`, [
    JSON.stringify(bodies.map(({ receipt_id }) => receipt_id)),
  ]);

// --- removing -------------------------------------------------------------------------------------------------------

/** Before the rows of the runs go. */
export async function removeStates(tx: Db, dialect: Dialect, runIds: readonly string[]): Promise<void> {
  const docs = sql`(select doc from runs where run_id in (${sql.join(runIds)}))`;
  await sql`delete from states where doc in ${docs}`.execute(tx);
  if (dialect === "sqlite") await sql`delete from packed_states where doc in ${docs}`.execute(tx);
}

export async function removeBodies(tx: Db, dialect: Dialect, receiptIds: readonly string[]): Promise<void> {
  await tx.deleteFrom("bodies").where("receipt_id", "in", receiptIds).execute();
  if (dialect === "sqlite") await tx.deleteFrom("packed_bodies").where("receipt_id", "in", receiptIds).execute();
}
