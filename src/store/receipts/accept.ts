/**
 * Accepts receipts: writes the decision about a run, the run itself, its deliveries and the bytes together. For a
 * batch, what is known is read once, every receipt is decided in memory, each seeing the result of those before it, and
 * the result is written once.
 */
import type { Selectable } from "kysely";
import { isJsonObject, type Json } from "../../platform/json.ts";
import type { Run } from "../../domain/run.ts";
import { packBlock, stateIn, unpackBlock } from "./blocks.ts";
import { toListItem } from "../history/list-items.ts";
import type { WriteTransaction } from "../grouped.ts";
import { queueArchiving } from "../archive.ts";
import type { BulkSql } from "../bulk-sql.ts";
import { DecisionCrashed } from "../contract/faults.ts";
import { deliveryRow, toDelivery } from "../outbox/rows.ts";
import type { Accepted, IncomingReceipt, Decide, Decision, Known, KnownDelivery } from "../contract/receipts.ts";
import type { Db, DeliveryRow, Tables } from "../tables.ts";

type ReceiptRow = Selectable<Tables["receipts"]>;

export async function acceptAll(transaction: WriteTransaction, items: readonly IncomingReceipt[]): Promise<Accepted[]> {
  const { rows } = transaction;
  const hashes = items.flatMap(({ receipt, run }) => (run ? [] : [receipt.bodyHash]));
  const unrecognized = await unrecognizedBefore(rows, hashes);
  const runs = await OpenRuns.read(
    rows,
    items.flatMap(({ run }) => (run ? [run.id] : [])),
  );
  // This runs after the runs are locked, because another relay may just have accepted the same bytes.
  const ofRuns = await rows.find("receipts", ["id", "body_hash", "key_name", "run_id"], "run_id", runs.known);
  const before = new Map([...unrecognized, ...ofRuns].map((row) => [receiptKey(row.body_hash, row.key_name), row]));
  const repeated: Repeated[] = [];
  const receipts = new Map<string, ReceiptRow>();
  const answers: Accepted[] = [];
  for (const { receipt, run } of items) {
    const { receivedAt } = receipt;
    const about = { receiptId: receipt.id, reportedStatus: receipt.reportedStatus, bytes: receipt.body.length };
    const same = receiptKey(receipt.bodyHash, receipt.keyName);
    const fresh = receipts.get(same);
    const there = fresh ?? before.get(same);
    if (there !== undefined) {
      if (fresh) Object.assign(fresh, { copies: fresh.copies + 1, last_received_at: receivedAt });
      else repeated.push({ id: there.id, copies: 1, last_received_at: receivedAt });
      const { run_id: runId } = there;
      const verdict = runId === null ? "unrecognized" : "duplicate";
      const nothing = { revision: null, deliveries: 0, matchedRoutes: null };
      answers.push({ ...about, verdict, runId, note: "the same bytes again", ...nothing });
      continue;
    }
    const decision = run && runs.decide(run.id, run.decide, { receipt: receipt.id, now: receivedAt });
    const { verdict, note, routing } = decision ?? { verdict: "unrecognized", note: receipt.note, routing: null };
    const block = packBlock(run && runs.stateJson(run.id), receipt.body);
    receipts.set(same, receiptRow(receipt, { runId: run?.id ?? null, verdict, note, routing, block }));
    answers.push({
      ...about,
      verdict,
      runId: run?.id ?? null,
      note,
      revision: decision?.state.revision ?? null,
      deliveries: decision?.deliveries.length ?? 0,
      matchedRoutes: countMatched(routing),
    });
  }
  await countRepeated(rows, repeated);
  await runs.write(transaction);
  await rows.insert("receipts", [...receipts.values()]);
  return answers;
}

/**
 * The same bytes are the same receipt only under the same key: another organization's key may sign what the owner will
 * have to confirm.
 */
const receiptKey = (bodyHash: string, keyName: string | null): string => `${bodyHash} ${keyName ?? ""}`;

type TakenBefore = Pick<ReceiptRow, "id" | "body_hash" | "key_name" | "run_id">;

/** Receipts with these hashes that were unrecognized before, too. */
async function unrecognizedBefore(rows: BulkSql, hashes: readonly string[]): Promise<TakenBefore[]> {
  const found: TakenBefore[] = [];
  for (const hash of new Set(hashes))
    found.push(
      ...(await rows.query<TakenBefore>(
        "select id, body_hash, key_name, run_id from receipts where run_id is null and body_hash = ?",
        [hash],
      )),
    );
  return found;
}

export async function revise(
  transaction: WriteTransaction,
  runId: string,
  decide: (known: Known) => Decision | null,
  now: number,
): Promise<boolean> {
  const runs = await OpenRuns.read(transaction.rows, [runId]);
  const open = runs.of(runId);
  const decision = open.known === null ? null : decide(open.known);
  if (decision === null) return false;
  runs.decide(runId, () => decision, { receipt: open.stateReceipt, now });
  await runs.write(transaction);
  await rewriteState(transaction.rows, open.stateReceipt, runs.stateJson(runId));
  if (decision.routing !== null) await saveRouting(transaction.tx, open.stateReceipt, decision);
  return true;
}

export async function adopt(
  transaction: WriteTransaction,
  receiptId: string,
  reportedStatus: string,
  run: NonNullable<IncomingReceipt["run"]>,
  now: number,
): Promise<boolean> {
  const { tx, rows } = transaction;
  const [receipt] = await rows.find("receipts", ["id", "run_id", "verdict"], "id", [receiptId], "id");
  if (receipt === undefined || (receipt.run_id !== null && receipt.verdict !== "disputed")) return false;
  const runs = await OpenRuns.read(rows, [run.id]);
  const decision = runs.decide(run.id, run.decide, { receipt: receiptId, now });
  await runs.write(transaction);
  await rewriteState(rows, receiptId, runs.stateJson(run.id));
  await tx
    .updateTable("receipts")
    .set({ run_id: run.id, reported_status: reportedStatus, ...resultColumns(decision) })
    .where("id", "=", receiptId)
    .execute();
  return true;
}

/** Replaces the state in front of a receipt's body. */
async function rewriteState(rows: BulkSql, receiptId: string, state: string): Promise<void> {
  const [row] = await rows.find("receipts", ["block"], "id", [receiptId]);
  const body = row?.block ? unpackBlock(row.block).body : null;
  const change = { set: "block = v.block", where: "receipts.id = v.id" };
  await rows.update("receipts", [{ id: receiptId, block: packBlock(state, body) }], change);
}

/** A decision without a receipt of its own chose sinks: the trace stands with the receipt that it was about. */
async function saveRouting(tx: Db, receiptId: string, decision: Decision): Promise<void> {
  const { routing } = resultColumns(decision);
  await tx.updateTable("receipts").set({ routing }).where("id", "=", receiptId).execute();
}

const resultColumns = ({ verdict, note, routing }: Pick<Decision, "verdict" | "note" | "routing">) => ({
  verdict,
  note,
  routing: routing === null ? null : JSON.stringify(routing),
});

// --- runs -----------------------------------------------------------------------------------------------------------

/** What is known of one run and what was decided since. */
interface OpenRun {
  /** The stored state; null when there is none. */
  before: Run | null;
  seq: number;
  /** The receipt whose block holds the state. */
  stateReceipt: string;
  known: Known | null;
  /** The state as JSON, once something was decided. */
  stateJson: string | null;
  followUpAt: number | null;
}

/** Runs under decision, in memory until they are written. */
class OpenRuns {
  readonly #open: Map<string, OpenRun>;
  readonly #changed = new Set<string>();
  readonly #deliveries: DeliveryRow[] = [];
  readonly #canceled: string[] = [];
  readonly #archiving = new Map<string, number>();

  private constructor(open: Map<string, OpenRun>) {
    this.#open = open;
  }

  static async read(rows: BulkSql, runIds: readonly string[]): Promise<OpenRuns> {
    const open = new Map<string, OpenRun>(runIds.map((id) => [id, newRun()]));
    const there = await rows.find("runs", ["run_id", "seq", "state_receipt"], "run_id", [...open.keys()], "run_id");
    if (there.length === 0) return new OpenRuns(open);
    // This runs after the lock, because another relay may just have written them.
    const receiptIds = there.map(({ state_receipt }) => state_receipt);
    const blocks = new Map(
      (await rows.find("receipts", ["id", "block"], "id", receiptIds)).map(({ id, block }) => [id, block]),
    );
    for (const { run_id, seq, state_receipt: stateReceipt } of there) {
      const block = blocks.get(stateReceipt);
      if (!block) throw new Error(`the run ${run_id} has no state`);
      const state = stateIn(block);
      open.set(run_id, { ...newRun(), before: state.run, seq, stateReceipt, known: { state, deliveries: [] } });
    }
    const columns = [
      "id",
      "subject_id",
      "subject_kind",
      "revision",
      "sink",
      "kind",
      "state",
      "attempts",
      "maybe_sent",
    ] as const;
    const known = there.map(({ run_id }) => run_id);
    const deliveries = await rows.find("deliveries", columns, "subject_id", known, "id");
    for (const { subject_id, subject_kind: subject, ...delivery } of deliveries.toSorted((a, b) =>
      a.id < b.id ? -1 : 1,
    ))
      open.get(subject_id)?.known?.deliveries.push({ ...delivery, subject } as KnownDelivery);
    return new OpenRuns(open);
  }

  /** The ids of stored runs. */
  get known(): string[] {
    return [...this.#open].flatMap(([id, { before }]) => (before === null ? [] : [id]));
  }

  of(runId: string): OpenRun {
    const run = this.#open.get(runId);
    if (!run) throw new Error(`the run ${runId} was not opened`);
    return run;
  }

  /** The last decision. */
  stateJson(runId: string): string {
    const { stateJson } = this.of(runId);
    if (stateJson === null) throw new Error(`nothing was decided of the run ${runId}`);
    return stateJson;
  }

  /** `receipt` is the one whose block will hold the state. Throws DecisionCrashed when `decide` throws. */
  decide(id: string, decide: Decide, { receipt, now }: { receipt: string; now: number }): Decision {
    const run = this.of(id);
    const decision = decideSafely(decide, run.known);
    const { state, deliveries, cancel, archiveAt } = decision;
    const added = deliveries.map((delivery) => deliveryRow(state, delivery, now));
    run.known = { state, deliveries: afterDecision(run.known, decision, added) };
    run.stateJson = JSON.stringify(state);
    run.stateReceipt = receipt;
    run.followUpAt = decision.followUpAt ?? run.followUpAt;
    if (decision.verdict !== "duplicate") this.#changed.add(id);
    if (archiveAt !== undefined) this.#archiving.set(id, archiveAt);
    this.#deliveries.push(...added);
    this.#canceled.push(...cancel);
    return decision;
  }

  async write(transaction: WriteTransaction): Promise<void> {
    await this.#writeRuns(transaction);
    for (const id of this.#changed) transaction.ledger.changed(id);
    await insertDeliveries(transaction, this.#deliveries);
    await cancel(transaction, this.#canceled);
    await queueArchiving(transaction.rows, this.#archiving);
  }

  async #writeRuns({ rows, ledger }: WriteTransaction): Promise<void> {
    const decided = [...this.#open.values()].filter(({ stateJson }) => stateJson !== null);
    const fresh = decided.filter(({ before }) => before === null);
    const seqs = await rows.newSeqs(fresh.length);
    for (const [i, run] of fresh.entries()) run.seq = seqs[i] ?? 0;
    await rows.insert(
      "runs",
      fresh.map((run) => ({ seq: run.seq, ...toColumns(run) })),
    );
    const updated = decided.filter(({ before }) => before !== null);
    await rows.update("runs", updated.map(toColumns), { set: UPDATED, where: "runs.run_id = v.run_id" });
    // Deliveries are listed by their run's time, so they move with it.
    const earlier = updated
      .map(toColumns)
      .filter(({ received_at }, i) => received_at !== updated[i]?.before?.received_at);
    await rows.update(
      "deliveries",
      earlier.map(({ run_id, received_at }) => ({ subject_id: run_id, subject_at: received_at })),
      { set: "subject_at = v.subject_at", where: "deliveries.subject_id = v.subject_id" },
    );
    for (const { before, known, seq } of decided) if (known) ledger.run(before, known.state.run, seq);
  }
}

const newRun = (): OpenRun => ({
  before: null,
  seq: 0,
  stateReceipt: "",
  known: null,
  stateJson: null,
  followUpAt: null,
});

const countMatched = (routing: Json): number | null =>
  Array.isArray(routing) ? routing.filter((one) => isJsonObject(one) && one["matched"] === true).length : null;

function decideSafely(decide: Decide, known: Known | null): Decision {
  try {
    return decide(known);
  } catch (cause) {
    throw new DecisionCrashed("deciding what a receipt means failed", { cause });
  }
}

/** A run's deliveries as the next decision about it sees them. */
function afterDecision(known: Known | null, { cancel }: Decision, added: readonly DeliveryRow[]): KnownDelivery[] {
  const before = known?.deliveries ?? [];
  const gone = new Set(cancel);
  return [
    ...before.map((one) =>
      gone.has(one.id) && one.state === "pending" ? { ...one, state: "canceled" as const } : one,
    ),
    ...added.map(toDelivery),
  ];
}

function toColumns({ known, stateJson, stateReceipt, followUpAt }: OpenRun) {
  if (known === null || stateJson === null) throw new Error("nothing was decided of this run");
  const { run } = known.state;
  return {
    run_id: run.run_id,
    run_type: run.run_type,
    status: run.status,
    source: run.source,
    organization_id: run.organization_id,
    channel: run.channel,
    workflow: run.workflow?.permanent_id ?? null,
    title: run.title,
    received_at: run.received_at,
    list_item: toListItem(run),
    state_receipt: stateReceipt,
    state_bytes: Buffer.byteLength(stateJson),
    follow_up_at: followUpAt,
  };
}

/** The follow-up stays as planned unless the decision plans it anew. */
const UPDATED = `run_type = v.run_type, status = v.status, source = v.source, organization_id = v.organization_id,
  channel = v.channel, workflow = v.workflow, title = v.title, received_at = v.received_at, list_item = v.list_item,
  state_receipt = v.state_receipt, state_bytes = v.state_bytes,
  follow_up_at = coalesce(v.follow_up_at, runs.follow_up_at),
  follow_ups = case when v.follow_up_at is null then runs.follow_ups else 0 end`;

async function cancel({ rows, ledger }: WriteTransaction, ids: readonly string[]): Promise<void> {
  const canceled = await rows.update(
    "deliveries",
    ids.map((id) => ({ id })),
    {
      set: "state = 'canceled', next_attempt_at = null",
      where: "deliveries.id = v.id and deliveries.state = 'pending'",
      returning: true,
    },
  );
  for (const row of canceled) ledger.moved(row);
}

// --- deliveries and receipts ----------------------------------------------------------------------------------------

export async function insertDeliveries(
  { rows, ledger }: WriteTransaction,
  deliveries: readonly DeliveryRow[],
): Promise<void> {
  await rows.insert("deliveries", deliveries);
  for (const row of deliveries) ledger.made(row);
}

const receiptRow = (
  receipt: IncomingReceipt["receipt"],
  { runId, block, ...result }: Pick<Decision, "verdict" | "note" | "routing"> & { runId: string | null; block: Buffer },
): ReceiptRow => ({
  id: receipt.id,
  run_id: runId,
  body_hash: receipt.bodyHash,
  body_bytes: receipt.body.length,
  ...resultColumns(result),
  reported_status: receipt.reportedStatus,
  source: receipt.source,
  channel: receipt.channel,
  labels: receipt.labels === null ? null : JSON.stringify(receipt.labels),
  key_name: receipt.keyName,
  sent_at: receipt.sentAt,
  received_at: receipt.receivedAt,
  copies: 1,
  last_received_at: receipt.receivedAt,
  block,
});

/** A receipt whose bytes came before. */
type Repeated = Pick<ReceiptRow, "id" | "copies" | "last_received_at">;

async function countRepeated(rows: BulkSql, repeated: readonly Repeated[]): Promise<void> {
  const byId = new Map<string, Repeated>();
  for (const one of repeated) byId.set(one.id, { ...one, copies: one.copies + (byId.get(one.id)?.copies ?? 0) });
  await rows.update("receipts", [...byId.values()], {
    set: "copies = receipts.copies + v.copies, last_received_at = v.last_received_at",
    where: "receipts.id = v.id",
  });
}
