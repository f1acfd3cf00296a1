/**
 * Taking receipts: what was decided of a run, the run itself, its deliveries and the bytes, written together. However
 * many come at a time: what is known is read at once, all is decided in memory, each seeing what those before it came to,
 * and what came of it is written at once.
 */
import type { Selectable } from "kysely";
import type { Run, RunState } from "../run.ts";
import { briefOf } from "./brief.ts";
import type { Change } from "./change.ts";
import { queueArchiving } from "./copies.ts";
import { jsonOf, stateOf, statesOf, unpackRun, writeStates, type Stored } from "./states.ts";
import type { Rows } from "./statements.ts";
import { DecisionCrashed, type Accepted, type Arrival, type Decision, type Known, type NewDelivery } from "./store.ts";
import type { Tables } from "./tables.ts";

type DeliveryRow = Selectable<Tables["deliveries"]>;
type ReceiptRow = Selectable<Tables["receipts"]>;

export async function acceptAll(change: Change, items: readonly Arrival[]): Promise<Accepted[]> {
  const { rows } = change;
  const [kept, runs] = await Promise.all([
    keptBefore(
      rows,
      items.flatMap(({ receipt, run }) => (run ? [] : [receipt.bodyHash])),
    ),
    openRuns(
      rows,
      items.flatMap(({ run }) => (run ? [run.id] : [])),
    ),
  ]);
  // After the runs are locked: another relay may just have taken the same bytes.
  const ofRuns = await rows.find("receipts", ["id", "body_hash", "run_id"], "run_id", runs.known);
  const before = new Map([...kept, ...ofRuns].map((row) => [row.body_hash, row]));
  const copies: Copy[] = [];
  const receipts = new Map<string, ReceiptRow>();
  const bodies: Tables["bodies"][] = [];
  const answers: Accepted[] = [];
  for (const { receipt, run } of items) {
    const { bodyHash, receivedAt } = receipt;
    const fresh = receipts.get(bodyHash);
    const there = fresh ?? before.get(bodyHash);
    if (there !== undefined) {
      if (fresh) Object.assign(fresh, { copies: fresh.copies + 1, last_received_at: receivedAt });
      else copies.push({ id: there.id, copies: 1, last_received_at: receivedAt });
      const { run_id: runId } = there;
      const verdict = runId === null ? "kept" : "duplicate";
      answers.push({ verdict, runId, note: "the same bytes again", revision: null, deliveries: 0 });
      continue;
    }
    const decision = run && runs.decide(run, receivedAt);
    const { verdict, note, routing } = decision ?? { verdict: "kept", note: receipt.note, routing: null };
    receipts.set(bodyHash, receiptRow(receipt, { runId: run?.id ?? null, verdict, note, routing }));
    bodies.push({ receipt_id: receipt.id, body: receipt.body });
    answers.push({
      verdict,
      runId: run?.id ?? null,
      note,
      revision: decision?.state.revision ?? null,
      deliveries: decision?.deliveries.length ?? 0,
    });
  }
  await countCopies(rows, copies);
  await runs.write(change);
  await rows.insert("receipts", [...receipts.values()]);
  await rows.insert("bodies", bodies);
  return answers;
}

type TakenBefore = Pick<ReceiptRow, "id" | "body_hash" | "run_id">;

/** Of these hashes, receipts that were not understood then either. */
async function keptBefore(rows: Rows, hashes: readonly string[]): Promise<TakenBefore[]> {
  const found: TakenBefore[] = [];
  for (const hash of new Set(hashes))
    found.push(
      ...(await rows.query<TakenBefore>(
        "select id, body_hash, run_id from receipts where run_id is null and body_hash = ?",
        [hash],
      )),
    );
  return found;
}

export async function revise(
  change: Change,
  runId: string,
  decide: (known: Known) => Decision | null,
  now: number,
): Promise<boolean> {
  const runs = await openRuns(change.rows, [runId]);
  const known = runs.of(runId);
  const decision = known === null ? null : decide(known);
  if (decision === null) return false;
  runs.decide({ id: runId, decide: () => decision }, now);
  await runs.write(change);
  return true;
}

export async function adopt(
  change: Change,
  receiptId: string,
  reportedStatus: string,
  run: NonNullable<Arrival["run"]>,
  now: number,
): Promise<boolean> {
  const { tx, rows } = change;
  const [receipt] = await rows.find("receipts", ["id", "run_id"], "id", [receiptId], "id");
  if (receipt === undefined || receipt.run_id !== null) return false;
  const runs = await openRuns(rows, [run.id]);
  const decision = runs.decide(run, now);
  await runs.write(change);
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

// --- runs -----------------------------------------------------------------------------------------------------------

/** Runs that are being decided on, in memory until they are written. */
interface OpenRuns {
  /** Ids of those that were there. */
  known: readonly string[];
  of(runId: string): Known | null;
  decide(run: NonNullable<Arrival["run"]>, now: number): Decision;
  write(change: Change): Promise<void>;
}

/** What is known of one run, and what was decided since. */
interface OpenRun {
  /** As stored; null: not yet. */
  before: Run | null;
  stored: Stored | null;
  doc: number | null;
  known: Known | null;
  decided: boolean;
  followUpAt: number | null;
}

async function openRuns(rows: Rows, runIds: readonly string[]): Promise<OpenRuns> {
  const open = new Map<string, OpenRun>(runIds.map((id) => [id, newRun()]));
  const kept = ["run_id", "doc"] as const;
  const there = await rows.find("runs", kept, "run_id", [...open.keys()], "run_id");
  // After the lock: another relay may just have written them.
  const states = await statesOf(
    rows,
    there.flatMap(({ doc }) => (doc === null ? [] : [doc])),
  );
  for (const { run_id, doc } of there) {
    const stored = states.get(doc ?? 0);
    if (stored === undefined) throw new Error(`the run ${run_id} has no state`);
    const state = stateOf(stored);
    const known: Known = { state, deliveries: [] };
    Object.assign(opened(open, run_id), { before: state.run, stored, doc, known });
  }
  const known = [...open].flatMap(([id, { known }]) => (known ? [id] : []));
  const columns = ["id", "run_id", "sink", "state", "attempts"] as const;
  const told = await rows.find("deliveries", columns, "run_id", known, "id");
  for (const { run_id, ...delivery } of told.toSorted((a, b) => (a.id < b.id ? -1 : 1)))
    opened(open, run_id).known?.deliveries.push(delivery as Known["deliveries"][number]);

  const changed: string[] = [];
  const deliveries: DeliveryRow[] = [];
  const canceled: string[] = [];
  const archiving = new Map<string, number>();
  return {
    known,
    of: (runId) => opened(open, runId).known,
    decide: ({ id, decide }, now) => {
      const run = opened(open, id);
      const decision = decideSafely(decide, run.known);
      const fresh = decision.deliveries.map((delivery) => deliveryRow(decision.state, delivery, now));
      run.known = { state: decision.state, deliveries: afterDecision(run.known, decision) };
      run.decided = true;
      run.followUpAt = decision.followUpAt ?? run.followUpAt;
      if (decision.verdict !== "duplicate") changed.push(id);
      if (decision.archiveAt !== undefined) archiving.set(id, decision.archiveAt);
      deliveries.push(...fresh);
      canceled.push(...decision.cancel);
      return decision;
    },
    write: async (change) => {
      await writeRuns(
        change,
        [...open.values()].filter(({ decided }) => decided),
      );
      for (const id of changed) change.ledger.changed(id);
      await insertDeliveries(change, deliveries);
      await cancel(change, canceled);
      await queueArchiving(rows, archiving);
    },
  };
}

function decideSafely(decide: (known: Known | null) => Decision, known: Known | null): Decision {
  try {
    return decide(known);
  } catch (cause) {
    throw new DecisionCrashed("deciding what a receipt means failed", { cause });
  }
}

const newRun = (): OpenRun => ({
  before: null,
  stored: null,
  doc: null,
  known: null,
  decided: false,
  followUpAt: null,
});

function opened(open: Map<string, OpenRun>, runId: string): OpenRun {
  const run = open.get(runId);
  if (!run) throw new Error(`the run ${runId} was not opened`);
  return run;
}

/** A run's deliveries as the next decision about it sees them. */
function afterDecision(known: Known | null, { deliveries, cancel }: Decision): Known["deliveries"] {
  const before = known?.deliveries ?? [];
  const gone = new Set(cancel);
  return [
    ...before.map((one) =>
      gone.has(one.id) && one.state === "pending" ? { ...one, state: "canceled" as const } : one,
    ),
    ...deliveries.map(({ id, sink }) => ({ id, sink, state: "pending" as const, attempts: 0 })),
  ];
}

async function writeRuns({ rows, ledger }: Change, runs: readonly OpenRun[]): Promise<void> {
  const added: Selectable<Tables["runs"]>[] = [];
  const updated: Omit<Selectable<Tables["runs"]>, "artifacts_status" | "follow_ups" | "doc">[] = [];
  const earlier: { run_id: string; run_received_at: number }[] = [];
  const states: Tables["states"][] = [];
  const docs = await rows.newDocs(runs.filter(({ before }) => before === null).length);
  for (const run of runs) {
    if (!run.known) continue;
    const state = JSON.stringify(run.known.state);
    const columns = { ...columnsOf(run.known.state, state), follow_up_at: run.followUpAt };
    if (run.before === null) {
      run.doc = docs.shift() ?? 0;
      added.push({ ...columns, artifacts_status: "pending", follow_ups: 0, doc: run.doc });
    } else {
      updated.push(columns);
      const { run_id, received_at } = columns;
      if (received_at !== run.before.received_at) earlier.push({ run_id, run_received_at: received_at });
    }
    const doc = run.doc ?? 0;
    if (run.stored !== null && typeof run.stored !== "string")
      await unpackRun(rows, { id: columns.run_id, doc, state: jsonOf(run.stored) });
    states.push({ doc, state });
    ledger.run(run.before, run.known.state.run, doc);
  }
  await rows.insert("runs", added);
  await writeStates(rows, states);
  await rows.update("runs", updated, { set: UPDATED, where: "runs.run_id = v.run_id" });
  await rows.update("deliveries", earlier, {
    set: "run_received_at = v.run_received_at",
    where: "deliveries.run_id = v.run_id",
  });
}

const columnsOf = (state: RunState, json: string) => ({
  run_id: state.run.run_id,
  run_type: state.run.run_type,
  status: state.run.status,
  source: state.run.source,
  organization_id: state.run.organization_id,
  channel: state.run.channel,
  workflow: state.run.workflow?.permanent_id ?? null,
  title: state.run.title,
  received_at: state.run.received_at,
  brief: briefOf(state.run),
  state_bytes: Buffer.byteLength(json),
});

/** When to ask again stays as it is unless that was decided anew. */
const UPDATED = `run_type = v.run_type, status = v.status, source = v.source, organization_id = v.organization_id,
  channel = v.channel, workflow = v.workflow, title = v.title, received_at = v.received_at, brief = v.brief, state_bytes = v.state_bytes,
  follow_up_at = coalesce(v.follow_up_at, runs.follow_up_at),
  follow_ups = case when v.follow_up_at is null then runs.follow_ups else 0 end`;

async function cancel({ rows, ledger }: Change, ids: readonly string[]): Promise<void> {
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

export const deliveryRow = (state: RunState, delivery: NewDelivery, now: number): DeliveryRow => ({
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
  run_received_at: state.run.received_at,
});

export async function insertDeliveries({ rows, ledger }: Change, deliveries: readonly DeliveryRow[]): Promise<void> {
  await rows.insert("deliveries", deliveries);
  for (const row of deliveries) ledger.made(row);
}

const receiptRow = (
  receipt: Arrival["receipt"],
  result: Pick<Decision, "verdict" | "note" | "routing"> & { runId: string | null },
): ReceiptRow => ({
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
});

type Copy = Pick<ReceiptRow, "id" | "copies" | "last_received_at">;

/** Bytes that came before, once more each. */
async function countCopies(rows: Rows, copies: readonly Copy[]): Promise<void> {
  const byId = new Map<string, Copy>();
  for (const copy of copies) byId.set(copy.id, { ...copy, copies: copy.copies + (byId.get(copy.id)?.copies ?? 0) });
  await rows.update("receipts", [...byId.values()], {
    set: "copies = receipts.copies + v.copies, last_received_at = v.last_received_at",
    where: "receipts.id = v.id",
  });
}
