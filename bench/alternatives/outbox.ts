/**
 * Hono and better-sqlite3: one table, one row a run, and one commit for all that a turn of the event loop writes. It is
 * the limit of what one SQLite file can do; it masks, settles and finds nothing.
 */
import BetterSqlite from "better-sqlite3";
import { CONCURRENCY, MOST_ATTEMPTS, post } from "./event.ts";
import { listen } from "./endpoint.ts";

const database = new BetterSqlite(process.env.DATABASE ?? "outbox.db");
database.pragma("journal_mode = WAL");
database.pragma("synchronous = FULL");
database.exec(`
  CREATE TABLE IF NOT EXISTS outbox (
    id       INTEGER PRIMARY KEY,
    state    INTEGER NOT NULL DEFAULT 0,
    attempts INTEGER NOT NULL DEFAULT 0,
    due      INTEGER NOT NULL DEFAULT 0,
    run_id   TEXT    NOT NULL UNIQUE,
    event    TEXT    NOT NULL
  );
  CREATE INDEX IF NOT EXISTS outbox_fresh ON outbox (id) WHERE state = 0;
  CREATE INDEX IF NOT EXISTS outbox_failed ON outbox (due) WHERE state = 2;
`);
/** The states of a row; it is 0 before its first attempt. */
const DELIVERED = 1;
const FAILED = 2;
const DEAD = 3;

interface Row {
  id: number;
  attempts: number;
  run_id: string;
  event: string;
}
const COLUMNS = "id, attempts, run_id, event";
const insert = database.prepare("INSERT INTO outbox (run_id, event) VALUES (?, ?) ON CONFLICT DO NOTHING");
const record = database.prepare("UPDATE outbox SET state = ?, attempts = attempts + 1, due = ? WHERE id = ?");
const selectFresh = database.prepare<[number, number], Row>(
  `SELECT ${COLUMNS} FROM outbox WHERE state = 0 AND id > ? ORDER BY id LIMIT ?`,
);
const selectFailed = database.prepare<[number, number], Row>(
  `SELECT ${COLUMNS} FROM outbox WHERE state = 2 AND due <= ? ORDER BY due LIMIT ?`,
);
const begin = database.prepare("BEGIN IMMEDIATE");
const commit = database.prepare("COMMIT");
const rollback = database.prepare("ROLLBACK");

interface Write {
  run: () => void;
  resolve: () => void;
  reject: (error: unknown) => void;
}
let writes: Write[] = [];

/** Resolves when the write is on the disk, together with all others of this turn of the event loop. */
const grouped = (run: () => void): Promise<void> =>
  new Promise((resolve, reject) => {
    if (writes.push({ run, resolve, reject }) === 1) setImmediate(flush);
  });

function flush(): void {
  const group = writes;
  writes = [];
  try {
    begin.run();
    for (const { run } of group) run();
    commit.run();
    for (const { resolve } of group) resolve();
  } catch (error) {
    if (database.inTransaction) rollback.run();
    for (const { reject } of group) reject(error);
  }
}

const PAGE = 64;
const RETRY_PAGE = 256;
const RETRY_LOOK_MS = 500;
const FIRST_DELAY_MS = 1_000;

/** Fresh rows up to this id have been read since the process began. */
let readUpTo = 0;
let queue: Row[] = [];
let freeSlots = CONCURRENCY;
const retrying = new Set<number>();

function deliverNext(): void {
  while (freeSlots > 0) {
    if (queue.length === 0) {
      queue = selectFresh.all(readUpTo, PAGE);
      readUpTo = queue.at(-1)?.id ?? readUpTo;
    }
    const row = queue.shift();
    if (row === undefined) return;
    void deliver(row);
  }
}

/** The slot is free at the sink's answer; the record of the attempt is written with the next group. */
async function deliver({ id, attempts, run_id, event }: Row): Promise<void> {
  freeSlots--;
  let state = DELIVERED;
  try {
    await post(run_id, event);
  } catch (error) {
    state = attempts + 1 < MOST_ATTEMPTS ? FAILED : DEAD;
    console.error(run_id, String(error));
  }
  freeSlots++;
  deliverNext();
  const due = state === FAILED ? Math.round(Date.now() + FIRST_DELAY_MS * 2 ** attempts * (0.5 + Math.random())) : 0;
  await grouped(() => void record.run(state, due, id));
  retrying.delete(id);
}

setInterval(() => {
  const failed = selectFailed.all(Date.now(), RETRY_PAGE).filter(({ id }) => !retrying.has(id));
  for (const row of failed) retrying.add(row.id);
  queue.push(...failed);
  deliverNext();
}, RETRY_LOOK_MS);

deliverNext();
listen(async (event) => {
  const text = JSON.stringify(event);
  await grouped(() => void insert.run(event.data.run_id, text));
  deliverNext();
});
