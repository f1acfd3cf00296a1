/**
 * The thread that SQLite is written in: the disk holds up nobody but those that wait for it. It runs what `threaded.ts` sends, in
 * order: whole operations, or the steps of a transaction that is decided elsewhere.
 */
import { parentPort, receiveMessageOnPort, type MessagePort } from "node:worker_threads";
import type Sqlite from "better-sqlite3";
import { connect } from "./connection.ts";
import { faultOf, sqliteDatabase } from "./database.ts";
import { createOperations } from "./operations.ts";
import { createSharedCommit } from "./shared-commit.ts";
import { sqliteRows } from "./statements.ts";
import { StorageFault } from "./store.ts";

/** What to do, and with what: an operation, a transaction's ends, a method of `Rows`, or a statement of Kysely's. */
export type Step = readonly [name: string, ...parameters: unknown[]];
/** The number goes with the answer; null when nobody waits for one. */
export type Asked = readonly [number: number | null, step: Step];
export type Answer = readonly [number: number, came: { value: unknown } | { error: Fault }];
export interface Fault {
  message: string;
  /** Whether it is the storage's. */
  isStorage: boolean;
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

function serve(path: string, port: MessagePort): void {
  const sqlite = connect(path);
  const shared = createSharedCommit(sqlite);
  const take = taker(sqlite);
  const operations = createOperations(sqliteDatabase(sqlite, null, shared)) as unknown as Record<
    string,
    (...parameters: unknown[]) => Promise<unknown>
  >;
  let answers: Answer[] = [];
  /** Between begin and its commit or rollback. */
  let inTransaction = false;
  /** The first fault of the transaction: nothing more of it is done. */
  let broken: unknown = null;
  const answer = (number: number | null, came: Answer[1]): void => {
    if (number !== null) answers.push([number, came]);
  };
  const refuse = (number: number | null, cause: unknown): void => answer(number, { error: sentOf(faultOf(cause)) });
  /** Once it is on the disk. */
  const answerLater = (number: number | null, value: unknown): void =>
    shared.hold((fault) => {
      if (fault === null) answer(number, { value });
      else refuse(number, fault);
    });
  const perform = async ([number, step]: Asked): Promise<void> => {
    const [name, ...parameters] = step;
    try {
      if (name === "operation") {
        const [operation, ...given] = parameters as [string, ...unknown[]];
        answerLater(number, await operations[operation]?.(...given));
      } else if (name === "begin") {
        inTransaction = true;
        shared.begin();
      } else if (name === "commit" && broken === null) {
        inTransaction = false;
        shared.end();
        answerLater(number, null);
      } else if (name === "commit" || name === "rollback") {
        const why = broken;
        inTransaction = false;
        broken = null;
        shared.rollback(why);
        if (name === "commit") refuse(number, why);
        else answer(number, { value: null });
      } else if (broken !== null) {
        refuse(number, broken);
      } else {
        if (!inTransaction) shared.commit();
        answer(number, { value: await take(step) });
      }
    } catch (cause) {
      if (inTransaction) broken = cause;
      refuse(number, cause);
    }
  };
  const queue: Asked[] = [];
  /** Without a turn of the event loop. */
  const next = (): Asked | undefined => {
    while (queue.length === 0) {
      const more = receiveMessageOnPort(port) as { message: readonly Asked[] } | undefined;
      if (!more) return undefined;
      queue.push(...more.message);
    }
    return queue.shift();
  };
  const commit = (): void => {
    if (!inTransaction) shared.commit();
    // oxlint-disable-next-line require-post-message-target-origin -- a thread has none; windows do
    if (answers.length > 0) port.postMessage(answers);
    answers = [];
    if (!sqlite.open) port.close();
  };
  const afterCommit = (): Asked | undefined => {
    commit();
    return next();
  };
  const work = async (): Promise<void> => {
    for (let asked = next(); asked !== undefined; asked = next() ?? afterCommit()) {
      await perform(asked);
      if (shared.isDue()) commit();
    }
  };
  let working: Promise<void> | null = null;
  port.on("message", (steps: readonly Asked[]) => {
    queue.push(...steps);
    working ??= work().finally(() => {
      working = null;
    });
  });
}
const sentOf = (cause: unknown): Fault => ({
  message: cause instanceof Error ? cause.message : String(cause),
  isStorage: cause instanceof StorageFault,
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
