import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";
import type { BulkSql } from "./bulk-sql.ts";
import type { Change } from "./contract/changes.ts";
import { StorageFault } from "./contract/faults.ts";
import type { Database } from "./database.ts";
import { createLedger, type Ledger } from "./stats/rollups.ts";
import type { Db } from "./tables.ts";

/** A write transaction, with the roll-ups and index entries that it owes at its end. */
export interface WriteTransaction {
  tx: Db;
  /** The same transaction, for many rows at a time. */
  rows: BulkSql;
  ledger: Ledger;
}

/** Runs a change in a transaction. The change may run more than once, and must await nothing but the database. */
export type Write = <T>(change: (transaction: WriteTransaction) => Promise<T>) => Promise<T>;

/**
 * All changes requested in one turn of the event loop share one transaction: one BEGIN, one COMMIT, one wait for the
 * disk. `committed` is told what has changed.
 */
export function createWrite(database: Database, committed: (changes: readonly Change[]) => void): Write {
  const writeAll = async (works: readonly Parameters<Write>[0][]): Promise<unknown[]> => {
    const { results, changes } = await database.transaction(async (tx, rows) => {
      const ledger = createLedger();
      const results: unknown[] = [];
      for (const work of works) results.push(await work({ tx, rows, ledger }));
      await ledger.write(rows);
      return { results, changes: ledger.changes };
    });
    committed(changes);
    return results;
  };
  const gathered = grouped(writeAll);
  return <T>(change: (transaction: WriteTransaction) => Promise<T>) => gathered(change) as Promise<T>;
}

/** The most items in one transaction; more would hold up the items behind them. */
const MAX_BATCH = 256;
/**
 * The most bytes in one batch, counted for items that say their size, since a batch is copied on its way to the disk. A
 * single item always fits.
 */
const MAX_BATCH_BYTES = 1024 * 1024;

interface GroupedOptions<Item> {
  /** Bytes of an item; default: not counted. */
  bytesOf?: (item: Item) => number;
  /**
   * How long the next batch gathers at least after one was written, ms. Default: to the next turn of the event loop.
   */
  restMs?: number;
}

interface Waiter<Item, Answer> {
  item: Item;
  resolve(answer: Answer): void;
  reject(error: unknown): void;
}

/**
 * Turns many calls into one transaction and one fsync: while a batch is being written, the next one gathers. States:
 * idle (nothing waits) → gathering (until the turn of the event loop ends) → writing → resting → writing or idle. Each
 * call resolves when its item is durable, or rejects with the storage's fault. A fault that concerns one item costs
 * none of the others.
 */
export function grouped<Item, Answer>(
  write: (items: readonly Item[]) => Promise<readonly Answer[]>,
  { bytesOf = () => 0, restMs }: GroupedOptions<Item> = {},
): (item: Item) => Promise<Answer> {
  let waiting: Waiter<Item, Answer>[] = [];
  let busy = false;

  const writeAll = async (): Promise<void> => {
    while (waiting.length > 0) {
      const batch = waiting.slice(0, fitting(waiting.slice(0, MAX_BATCH).map(({ item }) => bytesOf(item))));
      waiting = waiting.slice(batch.length);
      await writeBatch(write, batch);
      // Yields to requests and answers between two batches.
      await (restMs === undefined ? immediate() : sleep(restMs));
    }
    busy = false;
  };

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (busy) return;
      busy = true;
      setImmediate(() => void writeAll());
    });
}

/** Never rejects: every entry gets its result. */
async function writeBatch<Item, Answer>(
  write: (items: readonly Item[]) => Promise<readonly Answer[]>,
  batch: readonly Waiter<Item, Answer>[],
): Promise<void> {
  try {
    const answers = await write(batch.map(({ item }) => item));
    for (const [i, entry] of batch.entries()) entry.resolve(answers[i] as Answer);
  } catch (error) {
    // A storage that cannot be used fails every entry.
    if (error instanceof StorageFault || batch.length === 1) for (const entry of batch) entry.reject(error);
    else for (const entry of batch) await writeBatch(write, [entry]);
  }
}

/** How many of these sizes, from the first on, fit into one batch. */
function fitting(sizes: readonly number[]): number {
  let sum = 0;
  const over = sizes.findIndex((size) => (sum += size) > MAX_BATCH_BYTES);
  return over < 0 ? sizes.length : Math.max(over, 1);
}
