/**
 * SQLite, written in a thread of its own and read in this one. An operation that writes travels there as one message, and its answer back
 * once it is on the disk; whoever wants another does not wait for that. What is read here is what is committed.
 */
import { connect } from "./connection.ts";
import { sqliteDatabase, takeLock, type Database } from "./database.ts";
import { sliced } from "./grouped.ts";
import { migrate } from "./migrate.ts";
import { createOperations, type Operations } from "./operations.ts";
import { storeOf } from "./sql.ts";
import { StorageFault, type Deciding, type Store } from "./store.ts";
import { threadOn } from "./thread.ts";
import type { Answer, Asked, Fault } from "./sqlite-thread.ts";

/** What the thread is asked for besides operations, its entry knows. */
export interface Thread {
  /**
   * Resolves with what it answered, once that is on the disk. Rejects with a StorageFault where the storage cannot do it. Given and answered is
   * plain data. `transfer`: memory that is the thread's from now on.
   */
  call(name: string, given: readonly unknown[], transfer?: readonly ArrayBuffer[]): Promise<unknown>;
}

export interface Threaded extends Thread {
  store: Store;
}

/**
 * Opens `path`, creates or migrates it, for the only relay on it; DatabaseInUse when there is another. `entry`: the module that serves in the
 * thread (`serveOperations`).
 */
export async function openThreaded(path: string, entry: URL): Promise<Threaded> {
  const lock = takeLock(`${path}.lock`);
  let reader: Database | null = null;
  try {
    const sqlite = connect(path);
    reader = sqliteDatabase(sqlite, lock);
    await migrate(reader);
    sqlite.pragma("query_only = ON");
  } catch (error) {
    await reader?.close();
    lock.close();
    throw error;
  }
  const worker = threadOn(entry, path);
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  // A bug that ended the thread ends the process as it would in one thread: its host starts it anew.
  worker.on("error", (error) => {
    throw error;
  });
  return threadedStore(reader, worker, ended);
}

/** Another thread, or what stands for one. */
export interface Port {
  postMessage(asked: readonly Asked[], transfer: readonly ArrayBuffer[]): void;
  on(event: "message", listener: (answers: readonly Answer[]) => void): unknown;
}

/** `ended`: resolves when the port is closed. */
export function threadedStore(reader: Database, port: Port, ended: Promise<void>): Threaded {
  const { call, end } = callsOn(port);
  let closed: Promise<void> | null = null;
  const close = async (): Promise<void> => {
    await end();
    await ended;
    await reader.close();
  };
  const operations = { ...createOperations(reader), ...operationsIn(call), close: () => (closed ??= close()) };
  return { call, store: storeOf(operations, sliced) };
}

/** What the thread does: it writes. */
const WRITING = [
  "claimDue",
  "giveBack",
  "record",
  "expire",
  "shiftDue",
  "saveCircuit",
  "unclaim",
  "pause",
  "takeOver",
  "buryOrphans",
  "redeliver",
  "redeliverAll",
  "saveTest",
  "saveArtifacts",
  "setFollowUp",
  "sight",
  "setArchiving",
  "saveCopy",
  "setDiscarded",
  "pruneRuns",
  "pruneBodies",
  "indexWords",
  "packRuns",
  "shrink",
  "pruneKept",
  "pruneTests",
  "pruneSightings",
  "pruneEvents",
  "ping",
  "setting",
  "saveSetting",
] as const satisfies (keyof Omit<Operations, keyof Deciding>)[];

const operationsIn = (call: Thread["call"]) =>
  Object.fromEntries(WRITING.map((name) => [name, (...given: unknown[]) => call(name, given)])) as unknown as Pick<
    Operations,
    (typeof WRITING)[number]
  >;

// --- calls ----------------------------------------------------------------------------------------------------------

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

function callsOn(port: Port) {
  const waiting = new Map<number, Waiting>();
  let asked: Asked[] = [];
  let transferred: ArrayBuffer[] = [];
  let number = 0;
  let hasEnded = false;
  const flush = (): void => {
    // oxlint-disable-next-line require-post-message-target-origin -- a thread has none; windows do
    port.postMessage(asked, transferred);
    asked = [];
    transferred = [];
  };
  port.on("message", (answers) => {
    for (const [number, came] of answers) {
      const caller = waiting.get(number);
      waiting.delete(number);
      if ("value" in came) caller?.resolve(came.value);
      else caller?.reject(errorOf(came.error));
    }
  });
  const call: Thread["call"] = (name, given, transfer = []) =>
    new Promise((resolve, reject) => {
      if (hasEnded) return reject(new StorageFault("the database is closed"));
      waiting.set(++number, { resolve, reject });
      // What is called in one turn travels together.
      if (asked.length === 0) queueMicrotask(flush);
      asked.push([number, name, given]);
      transferred.push(...transfer);
    });
  const end = async (): Promise<void> => {
    const ending = call("end", []);
    hasEnded = true;
    await ending;
  };
  return { call, end };
}

const errorOf = ({ message, stack, isStorage }: Fault): Error =>
  isStorage ? new StorageFault(message) : Object.assign(new Error(message), stack === null ? {} : { stack });
