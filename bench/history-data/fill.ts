/**
 * A database as a relay leaves it that took so many runs and told everybody. Receipts go through the very parts that
 * take webhooks (masking, reading, settling, routing, the store), 500 in a transaction; what became of the deliveries
 * is written in bulk, with the store's own ledger, as attempts one by one would.
 */
import { createHash } from "node:crypto";
import { sql } from "kysely";
import type { Config } from "../../src/config/config.ts";
import { CLOSED } from "../../src/deliver/circuit-breaker.ts";
import { toIncomingRun } from "../../src/receive/decide.ts";
import { idMaker } from "../../src/platform/runtime.ts";
import { maskBody, parsePayload } from "../../src/skyvern/payload.ts";
import { createRedact } from "../../src/skyvern/redact.ts";
import { openSqlite, type Database } from "../../src/store/database.ts";
import { createLedger } from "../../src/store/stats/rollups.ts";
import { migrate } from "../../src/store/schema/migrate.ts";
import { createSqlStore } from "../../src/store/sql-store.ts";
import type { IncomingReceipt } from "../../src/store/contract/receipts.ts";
import type { Store } from "../../src/store/store.ts";
import { chanceOf, payloadOf } from "./payloads.ts";

const BATCH = 500;
/** Of a hundred deliveries. */
const DEAD = 0.8;
const SECOND_TRY = 3;
const YEARS_MS = 10 * 365 * 86_400_000;

export interface FillOptions {
  path: string;
  runs: number;
  /** When run `n` came, epoch ms. */
  at(n: number): number;
  /** So many wait, for ten years: no relay that looks at it later sends anything. */
  waiting: number;
  config: Pick<Config, "routes" | "sinks" | "redactKeys" | "keys">;
  progress(done: number): void;
}

export async function fill({ path, runs, at, waiting, config, progress }: FillOptions): Promise<void> {
  const database = openSqlite(path, { exclusive: true });
  // A power cut would lose it; it is made anew then.
  await database.script(
    database.db,
    "pragma synchronous = OFF; pragma cache_size = -600000; pragma wal_autocheckpoint = 20000",
  );
  await migrate(database);
  const store = createSqlStore(database);
  let now = 0;
  const runtime = { now: () => now, newId: idMaker(() => now), random: () => 0.5, sleep: async () => {} };
  const redact = createRedact(config.redactKeys);
  const parts = {
    ...config,
    redact,
    sinks: config.sinks.map(({ name, kind }) => ({ name, kind, updates: false })),
    organizations: config.keys.map((key) => key.organization),
    runtime,
  } as unknown as Parameters<typeof toIncomingRun>[0];
  const organization = config.keys[0]?.organization ?? null;

  const toIncomingReceipt = (n: number, receivedAt: number): IncomingReceipt => {
    now = receivedAt;
    const { channel, body } = payloadOf(n, receivedAt);
    const bytes = Buffer.from(body);
    const masked = maskBody(bytes, redact);
    const { stored } = masked;
    const parsed = parsePayload(masked);
    if (parsed.kind !== "run") throw new Error(`payload ${n} is not understood`);
    return {
      receipt: {
        id: runtime.newId("rcp"),
        bodyHash: createHash("sha256").update(stored).digest("hex"),
        body: stored,
        source: "webhook",
        channel,
        labels: null,
        keyName: config.keys[0]?.name ?? null,
        sentAt: String(Math.floor(receivedAt / 1000)),
        reportedStatus: parsed.payload.status,
        receivedAt,
        note: null,
      },
      run: toIncomingRun(parts, parsed.payload, { receivedAt, source: "webhook", channel, organization }, receivedAt),
    };
  };
  for (let from = 0; from < runs; from += BATCH) {
    const numbers = Array.from({ length: Math.min(BATCH, runs - from) }, (_none, i) => from + i);
    const arrivals = numbers.map((n) => toIncomingReceipt(n, at(n)));
    await store.accept(arrivals);
    await finish(database, {
      since: at(from),
      until: now,
      chance: chanceOf(from + 1),
      left: from + BATCH >= runs ? waiting : 0,
    });
    await sightAll(
      store,
      arrivals.map(({ receipt, run }) => ({ id: run?.id ?? "", at: receipt.receivedAt })),
    );
    progress(from + numbers.length);
  }
  for (const { name } of config.sinks) await store.saveCircuit(name, { ...CLOSED, last_success_at: now });
  await database.script(database.db, "pragma wal_checkpoint(TRUNCATE)");
  await store.close();
}

interface Finish {
  /** Of the receipts whose deliveries come to their end. */
  since: number;
  until: number;
  chance: () => number;
  /** So many go on waiting. */
  left: number;
}

/** Delivers what a batch queued, and writes what the artifacts were. */
async function finish(database: Database, { since, until, chance, left }: Finish): Promise<void> {
  const { db } = database;
  const queued = await db
    .selectFrom("deliveries")
    .selectAll()
    .where("created_at", ">=", since)
    .where("created_at", "<=", until)
    .where("state", "=", "pending")
    .where("attempts", "=", 0)
    .orderBy("id")
    .execute();
  const waiting = queued.slice(queued.length - left).map(({ id }) => id);
  const ended = queued.slice(0, queued.length - left).map((row) => {
    const percent = chance() * 100;
    const tries = percent < DEAD ? 10 : percent < DEAD + SECOND_TRY ? 2 : 1;
    const isDead = percent < DEAD;
    let at = row.created_at + 20 + Math.floor(200 * chance() ** 2);
    let log = "";
    for (let n = 1; n <= tries; n += 1) {
      const isLast = n === tries;
      const took = 15 + Math.floor(400 * chance() ** 2);
      const outcome = !isLast ? "retry" : isDead ? "dead" : "delivered";
      // As src/store/outbox/outbox.ts writes it.
      log += `${JSON.stringify([n, at, at + took, outcome, ...(outcome === "delivered" ? [] : ["the server answered 503"])])}\n`;
      at += took + (isLast ? 0 : 5_000 * 2 ** (n - 1));
    }
    const receipt =
      row.kind === "slack"
        ? { channel: "C0123ABCD", ts: `${at / 1000}`, permalink: `https://example.slack.com/archives/C0123ABCD/p${at}` }
        : row.kind === "email"
          ? { message_id: `<${row.id}@relay.example.com>` }
          : { status: 200 };
    return {
      ...row,
      state: isDead ? "dead" : "delivered",
      attempts: tries,
      ended: tries,
      log,
      next_attempt_at: null,
      last_error: isDead ? "the server answered 503" : null,
      delivered_at: isDead ? null : at,
      receipt: isDead ? null : JSON.stringify(receipt),
    };
  });
  await database.transaction(async (tx, rows) => {
    const ledger = createLedger();
    await sql`update deliveries set state = v ->> 'state', attempts = v ->> 'attempts', ended = v ->> 'ended', next_attempt_at = null,
      log = v ->> 'log', last_error = v ->> 'last_error', delivered_at = v ->> 'delivered_at', receipt = v ->> 'receipt'
      from (select value as v, value ->> 'id' as vid from json_each(${JSON.stringify(ended)})) where id = vid`.execute(
      tx,
    );
    for (const row of ended) ledger.moved(row);
    if (waiting.length > 0)
      await tx
        .updateTable("deliveries")
        .set({ next_attempt_at: until + YEARS_MS })
        .where("id", "in", waiting)
        .execute();
    await sql`update runs set artifacts_status = 'complete', follow_up_at = null, artifacts = (
        select json_object('artifacts', json_group_array(json_object('artifact_id', 'a_' || seq || '_' || p.key, 'type', p.value, 'created_at', received_at - 1000)))
        from json_each('["recording","screenshot_final","screenshot_action","llm_prompt"]') p)
      where received_at >= ${since} and received_at <= ${until}`.execute(tx);
    await ledger.write(rows);
  });
}

const sightAll = (store: Store, runs: readonly { id: string; at: number }[]): Promise<void> =>
  store.recordListedRuns(
    runs.map(({ id, at }) => ({ runId: id, createdAt: at - 90_000, seenAt: at + 60_000, targetsThisRelay: true })),
  );
