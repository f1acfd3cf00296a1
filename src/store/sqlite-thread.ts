/**
 * The thread that SQLite is written in: the disk holds up nobody but those that wait for it. It does what `threaded.ts` asks for, one
 * after the other, and answers what is on the disk. As long as more waits it goes on before it commits, but not for long (`shared-commit.ts`).
 */
import { receiveMessageOnPort, type MessagePort } from "node:worker_threads";
import Sqlite from "better-sqlite3";
import { BUSY_TIMEOUT_MS, connect } from "./connection.ts";
import { faultOf, sqliteDatabase } from "./database.ts";
import { createOperations, type Operations } from "./operations.ts";
import { createSharedCommit } from "./shared-commit.ts";
import { StorageFault } from "./store.ts";

/** The number goes with the answer. */
export type Asked = readonly [number: number, name: string, given: readonly unknown[]];
export type Answer = readonly [number: number, came: { value: unknown } | { error: Fault }];
export interface Fault {
  message: string;
  stack: string | null;
  /** Whether it is the storage's. */
  isStorage: boolean;
}

type Act = (...given: never[]) => Promise<unknown>;

/**
 * Serves the operations of the database at `path` on a port, until it is told to end. `more`: what else it can be asked for, by name; a fault
 * of the storage in there must come out, as what was written before it may be gone with it.
 */
export function serveOperations(
  port: MessagePort,
  path: string,
  more: (operations: Operations) => Record<string, Act>,
): void {
  const sqlite = connect(path);
  const shared = createSharedCommit(sqlite);
  const operations = createOperations(sqliteDatabase(sqlite, null, shared));
  const end = async (): Promise<void> => {
    shared.commit();
    sqlite.close();
  };
  const acts = { ...operations, ...more(operations), end } as unknown as Record<
    string,
    (...given: unknown[]) => Promise<unknown>
  >;
  let answers: Answer[] = [];
  const refuse = (number: number, cause: unknown): void => void answers.push([number, { error: sent(faultOf(cause)) }]);
  const act = async ([number, name, given]: Asked): Promise<void> => {
    try {
      const value = await acts[name]?.(...given);
      shared.hold((fault) => {
        if (fault === null) answers.push([number, { value }]);
        else refuse(number, fault);
      });
    } catch (cause) {
      refuse(number, cause);
      if (impatient === 0 && isLocked(cause)) whoWaited();
    }
    if (impatient > 0 && --impatient === 0) waitForLocks(BUSY_TIMEOUT_MS);
  };
  const commit = (): void => {
    shared.commit();
    // oxlint-disable-next-line require-post-message-target-origin -- a thread has none; windows do
    if (answers.length > 0) port.postMessage(answers);
    answers = [];
    if (!sqlite.open) port.close();
  };
  const queue: Asked[] = [];
  /** Without a turn of the event loop. False: nothing has come. */
  const receive = (): boolean => {
    const more = receiveMessageOnPort(port);
    if (more) queue.push(...(more.message as readonly Asked[]));
    return more !== undefined;
  };
  const next = (): Asked | undefined => {
    if (queue.length === 0) receive();
    return queue.shift();
  };
  /** So many, from the next one on, have waited for a lock behind one that did so in vain. */
  let impatient = 0;
  const waitForLocks = (ms: number): void => {
    if (sqlite.open) sqlite.pragma(`busy_timeout = ${ms}`);
  };
  const whoWaited = (): void => {
    while (receive());
    // One more, as the one that is done counts as well.
    impatient = queue.length + 1;
    waitForLocks(0);
  };
  const afterCommit = (): Asked | undefined => {
    commit();
    return next();
  };
  const work = async (): Promise<void> => {
    for (let asked = next(); asked; asked = next() ?? afterCommit()) {
      await act(asked);
      if (shared.isDue()) commit();
    }
  };
  let isWorking = false;
  port.on("message", (asked: readonly Asked[]) => {
    queue.push(...asked);
    if (isWorking) return;
    isWorking = true;
    void work().finally(() => {
      isWorking = false;
    });
  });
}

/** Another process writes, and did so for as long as is waited for it. */
function isLocked(fault: unknown): boolean {
  const cause = fault instanceof StorageFault ? fault.cause : fault;
  return cause instanceof Sqlite.SqliteError && cause.code.startsWith("SQLITE_BUSY");
}

const sent = (cause: unknown): Fault => ({
  message: cause instanceof Error ? cause.message : String(cause),
  stack: cause instanceof Error ? (cause.stack ?? null) : null,
  isStorage: cause instanceof StorageFault,
});
