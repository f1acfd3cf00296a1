/** Taking receipts: what was decided of a run, the run itself, its deliveries and the bytes, written together. */
import { sql, type Kysely } from "kysely";
import type { RunState } from "../run.ts";
import { briefOf } from "./brief.ts";
import type { Change } from "./change.ts";
import { queueArchiving } from "./copies.ts";
import { stateOf } from "./rows.ts";
import type { Accepted, Arrival, Decision, Known, NewDelivery } from "./store.ts";
import type { Tables } from "./tables.ts";

type Db = Kysely<Tables>;

export async function acceptAll(change: Change, items: readonly Arrival[]): Promise<Accepted[]> {
  const answers: Accepted[] = [];
  for (const item of items) answers.push(await acceptOne(change, item));
  return answers;
}

async function acceptOne(change: Change, { receipt, run }: Arrival): Promise<Accepted> {
  const { tx } = change;
  const same = await countCopy(tx, receipt.bodyHash, receipt.receivedAt);
  if (same) {
    const verdict = same.run_id === null ? "kept" : "duplicate";
    return { verdict, runId: same.run_id, note: "the same bytes again", deliveries: 0 };
  }
  if (run === null) {
    await insertReceipt(tx, receipt, { runId: null, verdict: "kept", note: receipt.note, routing: null });
    return { verdict: "kept", runId: null, note: receipt.note, deliveries: 0 };
  }
  const known = await knownRun(tx, run.id);
  const decision = run.decide(known);
  await writeDecision(change, known, decision, receipt.receivedAt);
  await insertReceipt(tx, receipt, { runId: run.id, ...decision });
  return { verdict: decision.verdict, runId: run.id, note: decision.note, deliveries: decision.deliveries.length };
}

export async function revise(
  change: Change,
  runId: string,
  decide: (known: Known) => Decision | null,
  now: number,
): Promise<boolean> {
  const known = await knownRun(change.tx, runId);
  const decision = known === null ? null : decide(known);
  if (decision === null) return false;
  await writeDecision(change, known, decision, now);
  return true;
}

export async function adopt(
  change: Change,
  receiptId: string,
  reportedStatus: string,
  run: NonNullable<Arrival["run"]>,
  now: number,
): Promise<boolean> {
  const { tx } = change;
  const kept = tx.selectFrom("receipts").select("id").where("id", "=", receiptId).where("run_id", "is", null);
  if ((await kept.executeTakeFirst()) === undefined) return false;
  const known = await knownRun(tx, run.id);
  const decision = run.decide(known);
  await writeDecision(change, known, decision, now);
  await tx
    .updateTable("receipts")
    .set({ run_id: run.id, reported_status: reportedStatus, ...resultColumns(decision) })
    .where("id", "=", receiptId)
    .execute();
  return true;
}

const resultColumns = ({ verdict, note, routing }: Pick<Decision, "verdict" | "note" | "routing">) => ({
  verdict,
  note,
  routing: routing === null ? null : JSON.stringify(routing),
});

const countCopy = (tx: Db, bodyHash: string, now: number) =>
  tx
    .updateTable("receipts")
    .set((row) => ({ copies: row("copies", "+", 1), last_received_at: now }))
    .where("body_hash", "=", bodyHash)
    .returning("run_id")
    .executeTakeFirst();

async function knownRun(tx: Db, runId: string): Promise<Known | null> {
  const row = await tx.selectFrom("runs").select("state").where("run_id", "=", runId).executeTakeFirst();
  if (!row) return null;
  const deliveries = await tx
    .selectFrom("deliveries")
    .select(["id", "sink", "state", "attempts"])
    .where("run_id", "=", runId)
    .orderBy("id")
    .execute();
  return { state: stateOf(row.state), deliveries: deliveries as Known["deliveries"] };
}

async function writeDecision(change: Change, known: Known | null, decision: Decision, now: number): Promise<void> {
  const { tx, ledger } = change;
  const { run } = decision.state;
  const before = known?.state.run ?? null;
  const columns = {
    run_type: run.run_type,
    status: run.status,
    source: run.source,
    organization_id: run.organization_id,
    channel: run.channel,
    workflow: run.workflow?.permanent_id ?? null,
    title: run.title,
    received_at: run.received_at,
    brief: briefOf(run),
    state: JSON.stringify(decision.state),
    ...(decision.followUpAt === undefined ? {} : { follow_up_at: decision.followUpAt, follow_ups: 0 }),
  };
  const written =
    before === null
      ? tx
          .insertInto("runs")
          .values({
            run_id: run.run_id,
            artifacts_status: "pending",
            follow_up_at: null,
            doc: sql<number>`(select coalesce(max(doc), 0) + 1 from runs)`,
            ...columns,
          })
          .returning("doc")
      : tx.updateTable("runs").set(columns).where("run_id", "=", run.run_id).returning("doc");
  const doc = (await written.executeTakeFirstOrThrow()).doc ?? 0;
  ledger.run(before, run, doc);
  if (decision.verdict !== "duplicate") ledger.changed(run.run_id);
  if (decision.cancel.length > 0) {
    const canceled = await tx
      .updateTable("deliveries")
      .set({ state: "canceled", next_attempt_at: null })
      .where("id", "in", decision.cancel)
      .where("state", "=", "pending")
      .returningAll()
      .execute();
    for (const row of canceled) ledger.moved(row);
  }
  await insertDeliveries(change, decision.state, decision.deliveries, now);
  if (decision.archiveAt !== undefined) await queueArchiving(tx, run.run_id, decision.archiveAt);
}

export async function insertDeliveries(
  { tx, ledger }: Change,
  state: RunState,
  fresh: readonly NewDelivery[],
  now: number,
): Promise<void> {
  if (fresh.length === 0) return;
  const rows = fresh.map((delivery) => ({
    ...delivery,
    run_id: state.run.run_id,
    revision: state.revision,
    state: "pending",
    attempts: 0,
    throttled: 0,
    next_attempt_at: now,
    maybe_sent: 0,
    last_error: null,
    created_at: now,
    delivered_at: null,
    receipt: null,
  }));
  await tx.insertInto("deliveries").values(rows).execute();
  for (const row of rows) ledger.made(row);
}

async function insertReceipt(
  tx: Db,
  receipt: Arrival["receipt"],
  result: Pick<Decision, "verdict" | "note" | "routing"> & { runId: string | null },
): Promise<void> {
  await tx
    .insertInto("receipts")
    .values({
      id: receipt.id,
      run_id: result.runId,
      body_hash: receipt.bodyHash,
      body_bytes: receipt.bodyBytes,
      ...resultColumns(result),
      reported_status: receipt.reportedStatus,
      source: receipt.source,
      channel: receipt.channel,
      key_name: receipt.keyName,
      sent_at: receipt.sentAt,
      received_at: receipt.receivedAt,
      copies: 1,
      last_received_at: receipt.receivedAt,
    })
    .execute();
  await tx.insertInto("bodies").values({ receipt_id: receipt.id, body: receipt.body }).execute();
}
