/**
 * A large database out of a small one: every run with all that hangs on it so many times over, each copy with ids, a time
 * and an order number of its own, in the order in which they would have come. What counts them is counted anew.
 */
import { sql } from "kysely";
import { openSqlite } from "../../../src/store/database.ts";
import { bucketOf } from "../../../src/store/latency.ts";
import { EVENTS_KEPT } from "../../../src/store/statements.ts";
import { migrate } from "../../../src/store/migrate.ts";
import { stateOf } from "../../../src/store/states.ts";
import { indexedText } from "../../../src/store/search.ts";
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
  const database = openSqlite(to, { exclusive: true });
  const { db } = database;
  await migrate(database);
  // A power cut would lose it; it is made anew then.
  await database.script(
    database.db,
    `pragma journal_mode = OFF; pragma synchronous = OFF; pragma cache_size = -600000;
    attach ${quoted(from)} as small; pragma small.cache_size = -100000;
    create temp table k as with recursive c (k) as (select 0 union all select k + 1 from c where k < ${copies - 1}) select k from c;
    create temp table words (doc integer primary key, words text not null);
    create temp table spans (ms integer primary key, bucket integer not null);`,
  );
  const last = (await sql<{ doc: number }>`select max(doc) as doc from small.runs`.execute(db)).rows[0]?.doc ?? 0;
  const shift = `cast(k.k * ${stepMs} as integer)`;
  const old = `cast(${FIRST_NUMBER} + (doc - 1) * ${NUMBER_STEP} as text)`;
  const fresh = `cast(${FIRST_NUMBER} + (doc - 1) * ${NUMBER_STEP} + k.k * ${COPY_STEP} as text)`;
  const order = (n: string) => `'INV-2026-' || printf('%07d', ${n})`;
  const own = (text: string) =>
    `replace(replace(${text}, ${old}, ${fresh}), ${order("doc - 1")}, ${order(`(doc - 1) * ${copies} + k.k`)})`;
  /** Ids begin with their time. */
  const id = (name: string, at: string) =>
    `substr(${name}, 1, 4) || printf('%012x', ${at} + ${shift}) || substr(${name}, 17)`;
  for (let doc = 1; doc <= last; doc += CHUNK) {
    const upTo = Math.min(last, doc + CHUNK - 1);
    const rows = await sql<{
      doc: number;
      state: string;
    }>`select doc, state from small.states where doc between ${doc} and ${upTo}`.execute(db);
    const words = rows.rows.map((row) => [row.doc, indexedText(stateOf(row.state).run)]);
    await sql`insert into temp.words select value ->> 0, value ->> 1 from json_each(${JSON.stringify(words)})`.execute(
      db,
    );
    const some = `from small.runs r cross join temp.k where r.doc between ${doc} and ${upTo}`;
    const of = (table: string) =>
      `from small.runs r cross join temp.k cross join small.${table} x on x.run_id = r.run_id where r.doc between ${doc} and ${upTo}`;
    const inOrder = "order by r.doc, k.k";
    await database.script(
      database.db,
      `begin;
      insert into main.runs (run_id, run_type, status, source, organization_id, channel, workflow, title, received_at, artifacts_status, follow_up_at, follow_ups, brief, state_bytes, doc)
        select ${own("r.run_id")}, run_type, status, source, organization_id, channel, workflow, title, received_at + ${shift}, artifacts_status, follow_up_at, follow_ups, ${own("brief")},
          state_bytes, (doc - 1) * ${copies} + k.k + 1 ${some} ${inOrder};
      insert into main.states (doc, state)
        select (doc - 1) * ${copies} + k.k + 1, json_set(${own("state")}, '$.run.received_at', received_at + ${shift})
        ${some.replace("where", "join small.states using (doc) where")} ${inOrder};
      insert into main.run_words (rowid, words) select (w.doc - 1) * ${copies} + k.k + 1, ${own("w.words").replaceAll("doc", "w.doc")}
        from temp.words w cross join temp.k where w.doc between ${doc} and ${upTo} order by w.doc, k.k;
      insert into main.bodies (receipt_id, body) select ${id("x.id", "x.received_at")}, cast(${own("cast(b.body as text)")} as blob)
        ${of("receipts").replace("where", "cross join small.bodies b on b.receipt_id = x.id where")} ${inOrder};
      insert into main.receipts (id, run_id, body_hash, body_bytes, verdict, note, routing, reported_status, source, channel, key_name, sent_at, received_at, copies, last_received_at)
        select ${id("x.id", "x.received_at")}, ${own("r.run_id")}, lower(hex(randomblob(32))), body_bytes, verdict, note, routing, reported_status, x.source, x.channel, key_name,
          sent_at, x.received_at + ${shift}, copies, last_received_at + ${shift} ${of("receipts")} ${inOrder};
      insert into main.deliveries (id, run_id, revision, sink, kind, cause, state, attempts, throttled, next_attempt_at, maybe_sent, last_error, created_at, delivered_at, receipt, run_received_at)
        select ${id("x.id", "x.created_at")}, ${own("r.run_id")}, revision, sink, kind, cause, x.state, attempts, throttled, next_attempt_at + ${shift}, maybe_sent, last_error,
          created_at + ${shift}, delivered_at + ${shift}, receipt, run_received_at + ${shift} ${of("deliveries")} ${inOrder};
      insert into main.attempts (delivery_id, n, started_at, finished_at, outcome, reason)
        select ${id("x.id", "x.created_at")}, a.n, a.started_at + ${shift}, a.finished_at + ${shift}, outcome, reason
        ${of("deliveries").replace("where", "cross join small.attempts a on a.delivery_id = x.id where")} ${inOrder};
      insert into main.artifacts (run_id, position, artifact_id, type, created_at)
        select ${own("r.run_id")}, position, artifact_id || '_' || k.k, type, created_at + ${shift} ${of("artifacts")} ${inOrder};
      insert into main.sightings (run_id, created_at, seen_at, mine, settled, dead)
        select ${own("r.run_id")}, created_at + ${shift}, seen_at + ${shift}, mine, settled, dead ${of("sightings")} ${inOrder};
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
  await database.script(
    database.db,
    `begin;
    insert into main.circuits select * from small.circuits;
    insert into main.run_counts select g.grain, received_at / g.ms * g.ms, status, count(*) from main.runs cross join ${grains} group by 1, 2, 3;
    insert into main.delivery_counts select sink, state, count * ${copies} from small.delivery_counts;
    insert into main.delivery_times select g.grain, d.delivered_at / g.ms * g.ms, d.sink, s.bucket, count(*)
      from main.deliveries d cross join temp.spans s on s.ms = d.delivered_at - d.created_at cross join ${grains} where d.state = 'delivered' group by 1, 2, 3, 4;
    insert into main.sighting_counts select created_at / 86400000 * 86400000, count(*), sum(dead) from main.sightings group by 1;
    insert into main.doc_hours select received_at / 3600000 * 3600000, min(doc), max(doc) from main.runs group by 1;
    insert into main.events (id, kind, run_id, delivery) select doc * 3, 'run', run_id, null from main.runs order by doc desc limit ${EVENTS_KEPT};
    commit;
    detach small;
    pragma journal_mode = WAL;`,
  );
  await database.close();
}

const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
