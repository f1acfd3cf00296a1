/**
 * The thread that SQLite is written in: the disk holds up nobody but those that wait for it. It runs what `threaded.ts` sends, in
 * order, and knows nothing of what it is for.
 */
import { parentPort } from "node:worker_threads";
import Sqlite from "better-sqlite3";
import { connect } from "./connection.ts";
import { createSharedCommit } from "./shared-commit.ts";
import { sqliteRows } from "./statements.ts";

/** What to do, and with what: a transaction's ends, a method of `Rows`, or a statement of Kysely's. */
export type Step = readonly [name: string, ...parameters: unknown[]];
/** The number goes with the answer; null when nobody waits for one. */
export type Asked = readonly [number: number | null, step: Step];
export type Answer = readonly [number: number, came: { value: unknown } | { error: Fault }];
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

/** First the file, then what to do there. */
const main = parentPort;
main?.once("message", (path: string) => serve(path, main));

function serve(path: string, port: NonNullable<typeof parentPort>): void {
  const sqlite = connect(path);
  const take = taker(sqlite);
  const shared = createSharedCommit(sqlite);
  let answers: Answer[] = [];
  /** Between begin and its commit or rollback. */
  let inTransaction = false;
  /** The first fault of the transaction: nothing more of it is done. */
  let broken: Fault | null = null;
  const takeOne = async ([number, step]: Asked): Promise<void> => {
    const answer = (came: Answer[1]): void => {
      if (number !== null) answers.push([number, came]);
    };
    const [name, more] = step;
    try {
      if (name === "commit" && broken === null) {
        inTransaction = false;
        shared.end(more === true, (fault) => answer(fault === null ? { value: null } : { error: faultOf(fault) }));
      } else if (name === "commit" || name === "rollback") {
        const came = name === "commit" && broken !== null ? { error: broken } : { value: null };
        inTransaction = false;
        broken = null;
        shared.rollback(more === true);
        answer(came);
      } else if (broken !== null) {
        answer({ error: broken });
      } else if (name === "begin") {
        inTransaction = true;
        shared.begin();
      } else {
        if (!inTransaction) shared.commit();
        answer({ value: await take(step) });
      }
    } catch (cause) {
      const error = faultOf(cause);
      if (inTransaction) broken = error;
      shared.failed(cause);
      answer({ error });
    }
  };
  const takeAll = async (steps: readonly Asked[]): Promise<void> => {
    for (const step of steps) await takeOne(step);
    if (answers.length > 0) port.postMessage(answers);
    answers = [];
    if (!sqlite.open) port.close();
  };
  // One after the other: a step may take a turn of the event loop.
  let before = Promise.resolve();
  port.on("message", (steps: readonly Asked[]) => {
    before = before.then(() => takeAll(steps));
  });
}

const faultOf = (cause: unknown): Fault => ({
  message: cause instanceof Error ? cause.message : String(cause),
  code: cause instanceof Sqlite.SqliteError ? cause.code : null,
});

function taker(sqlite: Sqlite.Database): (step: Step) => unknown {
  const rows = sqliteRows(sqlite);
  return ([name, ...parameters]) => {
    switch (name) {
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
