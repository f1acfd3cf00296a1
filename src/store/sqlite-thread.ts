/**
 * The thread that SQLite is written in: the disk holds up nobody but those that wait for it. It runs what `threaded.ts` sends, in
 * order, and knows nothing of what it is for.
 */
import { parentPort, workerData } from "node:worker_threads";
import Sqlite from "better-sqlite3";
import { connect } from "./connection.ts";
import { sqliteRows } from "./statements.ts";

/** What to do, and with what: a transaction's ends, a method of `Rows`, or a statement of Kysely's. */
export type Step = readonly [name: string, ...parameters: unknown[]];
export interface Steps {
  id: number;
  steps: readonly Step[];
}
/** What came of each step. */
export interface Results {
  id: number;
  results: ({ value: unknown } | { error: Fault })[];
}
export interface Fault {
  message: string;
  /** SQLite's; null when it is none of its faults. */
  code: string | null;
}
/** Of a statement, as Kysely wants it. */
export interface StatementResult {
  rows: unknown[];
  changes: number;
  insertId: number;
}

if (parentPort) serve((workerData as { path: string }).path, parentPort);

function serve(path: string, port: NonNullable<typeof parentPort>): void {
  const sqlite = connect(path);
  const take = taker(sqlite);
  /** Between begin and its commit or rollback. SQLite may have ended it by itself, on a full disk. */
  let inTransaction = false;
  /** The first fault of the transaction: nothing more of it is done. */
  let broken: Fault | null = null;
  const takeOne = async (step: Step): Promise<Results["results"][number]> => {
    const [name] = step;
    if (name === "rollback") broken = null;
    if (broken !== null) return { error: broken };
    if (name === "begin") inTransaction = true;
    try {
      const value = await take(step);
      if (name === "commit" || name === "rollback") inTransaction = false;
      return { value };
    } catch (cause) {
      const error = faultOf(cause);
      if (inTransaction) broken = error;
      return { error };
    }
  };
  const takeAll = async ({ id, steps }: Steps): Promise<void> => {
    const results: Results["results"] = [];
    for (const step of steps) results.push(await takeOne(step));
    port.postMessage({ id, results } satisfies Results);
    if (!sqlite.open) port.close();
  };
  // One after the other: a step may take a turn of the event loop.
  let before = Promise.resolve();
  port.on("message", (message: Steps) => {
    before = before.then(() => takeAll(message));
  });
}

const faultOf = (cause: unknown): Fault => ({
  message: cause instanceof Error ? cause.message : String(cause),
  code: cause instanceof Sqlite.SqliteError ? cause.code : null,
});

function taker(sqlite: Sqlite.Database): (step: Step) => unknown {
  const rows = sqliteRows(sqlite);
  const ends = {
    // IMMEDIATE: take the write lock at once, so that a writer elsewhere is met here and not at the first write.
    begin: sqlite.prepare("BEGIN IMMEDIATE"),
    commit: sqlite.prepare("COMMIT"),
    rollback: sqlite.prepare("ROLLBACK"),
  };
  return ([name, ...parameters]) => {
    switch (name) {
      case "begin":
      case "commit":
        ends[name].run();
        return null;
      case "rollback":
        // A failed COMMIT or a full disk may have rolled back already.
        if (sqlite.inTransaction) ends.rollback.run();
        return null;
      case "script":
        sqlite.exec(parameters[0] as string);
        return null;
      case "statement":
        return statement(sqlite, parameters[0] as string, parameters[1] as unknown[]);
      case "close":
        sqlite.close();
        return null;
      default:
        return (rows as unknown as Record<string, (...parameters: unknown[]) => unknown>)[name]?.(...parameters);
    }
  };
}

function statement(sqlite: Sqlite.Database, sql: string, parameters: unknown[]): StatementResult {
  const prepared = sqlite.prepare(sql);
  if (prepared.reader) return { rows: prepared.all(...parameters), changes: 0, insertId: 0 };
  const { changes, lastInsertRowid } = prepared.run(...parameters);
  return { rows: [], changes, insertId: Number(lastInsertRowid) };
}
