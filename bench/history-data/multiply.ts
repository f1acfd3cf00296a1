/**
 * A large database out of a small one: every run with all that hangs on it so many times over, each copy with ids, a
 * time and an order number of its own, in the order in which they would have come. What counts them is counted anew.
 */
import type BetterSqlite from "better-sqlite3";
import { sql } from "kysely";
import { packBlock, stateIn, unpackBlock } from "../../src/store/receipts/blocks.ts";
import { connect } from "../../src/store/sqlite/connection.ts";
import { sqliteDatabase } from "../../src/store/database.ts";
import { bucketOf } from "../../src/store/stats/latency-buckets.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { indexedText } from "../../src/store/search/search.ts";
import { FIRST_NUMBER, NUMBER_STEP } from "./payloads.ts";

export interface MultiplyOptions {
  from: string;
  to: string;
  copies: number;
  /** From one copy to the next, ms; perhaps not a whole number. */
  stepMs: number;
  progress(done: number): void;
}

/** Of the small one, at one time. */
const CHUNK = 400;
/** Numbers of copies differ by this. */
export const COPY_STEP = 7;

export async function multiply({ from, to, copies, stepMs, progress }: MultiplyOptions): Promise<void> {
  const sqlite = connect(to);
  addFunctions(sqlite, copies);
  const database = sqliteDatabase(sqlite);
  const { db } = database;
  await migrate(database);
  // A power cut would lose it; it is made anew then.
  sqlite.exec(
    `pragma journal_mode = OFF; pragma synchronous = OFF; pragma cache_size = -600000;
    attach ${quoted(from)} as small; pragma small.cache_size = -100000;
    create temp table k as with recursive c (k) as (select 0 union all select k + 1 from c where k < ${copies - 1}) select k from c;
    create temp table words (seq integer primary key, words text not null);
    create temp table spans (ms integer primary key, bucket integer not null);`,
  );
  const last = (await sql<{ seq: number }>`select max(seq) as seq from small.runs`.execute(db)).rows[0]?.seq ?? 0;
  const shift = `cast(k.k * ${stepMs} as integer)`;
  const own = (text: string, seq = "r.seq") => `own_text(${text}, ${seq}, k.k)`;
  const seqOf = (seq: string) => `(${seq} - 1) * ${copies} + k.k + 1`;
  /** Ids begin with their time. */
  const id = (name: string, at: string) =>
    `substr(${name}, 1, 4) || printf('%012x', ${at} + ${shift}) || substr(${name}, 17)`;
  for (let seq = 1; seq <= last; seq += CHUNK) {
    const upTo = Math.min(last, seq + CHUNK - 1);
    const { rows } = await sql<{ seq: number; block: Uint8Array }>`select r.seq, x.block from small.runs r
      join small.receipts x on x.id = r.state_receipt where r.seq between ${seq} and ${upTo}`.execute(db);
    const words = rows.map(({ seq: one, block }) => [one, indexedText(stateIn(block).run)]);
    await sql`insert into temp.words select value ->> 0, value ->> 1 from json_each(${JSON.stringify(words)})`.execute(
      db,
    );
    const of = (table: string, key = "run_id") =>
      `from small.runs r cross join temp.k cross join small.${table} x on x.${key} = r.run_id
        where r.seq between ${seq} and ${upTo} order by r.seq, k.k`;
    sqlite.exec(
      `begin;
      insert into main.runs (seq, run_id, run_type, status, source, organization_id, channel, workflow, title, received_at, list_item, state_receipt, state_bytes,
          artifacts_status, artifacts, follow_up_at, follow_ups)
        select ${seqOf("r.seq")}, ${own("r.run_id")}, run_type, status, source, organization_id, channel, workflow, title, received_at + ${shift}, ${own("list_item")},
          ${id("state_receipt", "received_at")}, state_bytes, artifacts_status,
          replace(artifacts, '"a_' || r.seq || '_', '"a_' || (${seqOf("r.seq")}) || '_'), follow_up_at, follow_ups
        from small.runs r cross join temp.k where r.seq between ${seq} and ${upTo} order by r.seq, k.k;
      insert into main.run_words (rowid, words) select ${seqOf("w.seq")}, ${own("w.words", "w.seq")}
        from temp.words w cross join temp.k order by w.seq, k.k;
      insert into main.receipts (id, run_id, body_hash, body_bytes, verdict, note, routing, reported_status, source, channel, key_name, sent_at, received_at, copies,
          last_received_at, block)
        select ${id("x.id", "x.received_at")}, ${own("r.run_id")}, lower(hex(randomblob(32))), body_bytes, verdict, note, routing, reported_status, x.source, x.channel,
          key_name, sent_at, x.received_at + ${shift}, copies, last_received_at + ${shift}, own_block(x.block, r.seq, k.k, r.received_at, ${shift}) ${of("receipts")};
      insert into main.deliveries (id, subject_kind, subject_id, revision, sink, kind, cause, state, attempts, ended, throttled, next_attempt_at, maybe_sent, last_error,
          created_at, delivered_at, receipt, log, subject_at)
        select ${id("x.id", "x.created_at")}, subject_kind, ${own("r.run_id")}, revision, sink, kind, cause, x.state, attempts, ended, throttled, next_attempt_at + ${shift},
          maybe_sent, last_error, created_at + ${shift}, delivered_at + ${shift}, receipt, own_log(log, ${shift}), subject_at + ${shift} ${of("deliveries", "subject_id")};
      insert into main.listed_runs (run_id, created_at, seen_at, targets_this_relay, settled, dead)
        select ${own("r.run_id")}, created_at + ${shift}, seen_at + ${shift}, targets_this_relay, settled, dead ${of("listed_runs")};
      delete from temp.words;
      commit;`,
    );
    progress(upTo * copies);
  }
  const spans = await sql<{
    ms: number;
  }>`select distinct delivered_at - created_at as ms from small.deliveries where state = 'delivered'`.execute(db);
  const buckets = spans.rows.map(({ ms }) => [ms, bucketOf(ms)]);
  await sql`insert into temp.spans select value ->> 0, value ->> 1 from json_each(${JSON.stringify(buckets)})`.execute(
    db,
  );
  const grains = `(select 'hour' as grain, 3600000 as ms union all select 'day', 86400000) g`;
  sqlite.exec(
    `begin;
    insert into main.circuits select * from small.circuits;
    insert into main.run_counts select g.grain, received_at / g.ms * g.ms, status, count(*) from main.runs cross join ${grains} group by 1, 2, 3;
    insert into main.delivery_counts select sink, state, count * ${copies} from small.delivery_counts;
    insert into main.delivery_times select g.grain, d.delivered_at / g.ms * g.ms, d.sink, s.bucket, count(*)
      from main.deliveries d cross join temp.spans s on s.ms = d.delivered_at - d.created_at cross join ${grains} where d.state = 'delivered' group by 1, 2, 3, 4;
    insert into main.listed_run_counts select created_at / 86400000 * 86400000, count(*), sum(dead) from main.listed_runs group by 1;
    insert into main.run_hours select received_at / 3600000 * 3600000, min(seq), max(seq) from main.runs group by 1;
    commit;
    detach small;
    pragma journal_mode = WAL;`,
  );
  await database.close();
}

/**
 * - `own_text (text, seq, k)`: what is said of run `seq` of the small database, as its copy `k` says it, with a number
 *   of its own.
 * - `own_block (block, seq, k, received_at, shift)`: the same of its state and body; the copy came `shift` ms later.
 * - `own_log (log, shift)`: attempts that began later.
 */
function addFunctions(sqlite: BetterSqlite.Database, copies: number): void {
  const order = (n: number): string => `INV-2026-${String(n).padStart(7, "0")}`;
  const ownText = (text: string, seq: number, k: number): string => {
    const number = BigInt(FIRST_NUMBER) + (BigInt(seq) - 1n) * BigInt(NUMBER_STEP);
    return text
      .replaceAll(String(number), String(number + BigInt(k) * BigInt(COPY_STEP)))
      .replaceAll(order(seq - 1), order((seq - 1) * copies + k));
  };
  // A block is unpacked once for all of its copies.
  let last: { block: Buffer; state: string; body: string } | null = null;
  const ownBlock = (block: Buffer, seq: number, k: number, receivedAt: number, shift: number): Buffer => {
    if (!last?.block.equals(block)) {
      const { state, body } = unpackBlock(block);
      last = { block, state: state ?? "", body: String(body ?? "") };
    }
    const state = last.state.replace(`"received_at":${receivedAt}`, `"received_at":${receivedAt + shift}`);
    return packBlock(ownText(state, seq, k), Buffer.from(ownText(last.body, seq, k)));
  };
  const ownLog = (log: string | null, shift: number): string | null =>
    log?.replace(
      /^\[(\d+),(\d+),(\d+)/gm,
      (_whole, n, from, to) => `[${n},${Number(from) + shift},${Number(to) + shift}`,
    ) ?? null;
  const text = (value: unknown): string | null => (value === null ? null : String(value));
  const options = { deterministic: true };
  sqlite.function("own_text", options, (value, seq, k) => {
    const given = text(value);
    return given === null ? null : ownText(given, Number(seq), Number(k));
  });
  sqlite.function("own_block", options, (block, seq, k, receivedAt, shift) =>
    ownBlock(block as Buffer, Number(seq), Number(k), Number(receivedAt), Number(shift)),
  );
  sqlite.function("own_log", options, (log, shift) => ownLog(text(log), Number(shift)));
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
