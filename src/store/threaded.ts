/**
 * SQLite, written in a thread of its own (`sqlite-thread.ts`) and read in this one. While a commit waits for the disk, this thread
 * takes the next webhooks; what it reads, it reads from what is committed.
 *
 * A transaction is still decided here, step by step: reads travel to the thread and back, writes travel with the next one
 * that is waited for, the last of them with the commit. Transactions that wait for their turn share a commit (`shared-commit.ts`).
 */
import type Sqlite from "better-sqlite3";
import {
  Kysely,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Driver,
  type QueryResult,
} from "kysely";
import { connect } from "./connection.ts";
import { takeLock, type Database } from "./database.ts";
import type { Operations } from "./operations.ts";
import { schemaSql } from "./schema.ts";
import { sqliteRows, type Rows } from "./statements.ts";
import { StorageFault } from "./store.ts";
import { threadOn } from "./thread.ts";
import type { Answer, Asked, Fault, StatementResult, Step } from "./sqlite-thread.ts";
import type { Tables } from "./tables.ts";

/** Opens `path` as `openSqlite` does, for the only relay on it. */
export function openSqliteThreaded(path: string): Database {
  const lock = takeLock(`${path}.lock`);
  try {
    const reader = connect(path);
    reader.pragma("query_only = ON");
    const thread = startThread(path);
    const turn = createTurn();
    const writing = kysely({ acquire: turn.take, release: turn.give, run: (query) => send(thread, query) });
    const run = async (query: CompiledQuery): Promise<QueryResult<unknown>> => {
      const statement = prepared(query.sql);
      if (statement.readonly && statement.reader) return { rows: statement.all(...query.parameters) };
      await turn.take();
      try {
        return await send(thread, query);
      } finally {
        turn.give();
      }
    };
    const db = kysely({ acquire: async () => {}, release: () => {}, run });
    const rows = threadRows(thread);
    const readRows = sqliteRows(reader);
    const prepared = preparedOn(reader);
    let closed: Promise<void> | null = null;
    const close = async (): Promise<void> => {
      await turn.take();
      turn.end();
      await thread.close();
      reader.close();
      lock.close();
    };
    return {
      dialect: "sqlite",
      db,
      schema: () => schemaSql("sqlite"),
      script: async (_tx, sql) => {
        await thread.call(["script", sql]);
      },
      transaction: async (work) => {
        const { result, committed } = await writing.connection().execute(async (connection) => {
          thread.add(["begin"]);
          try {
            const result = await work(connection, rows);
            // Nobody waits for the disk with the turn in hand.
            return { result, committed: thread.call(["commit"]) };
          } catch (error) {
            await thread.call(["rollback"]);
            throw error;
          }
        });
        await committed;
        return result;
      },
      read: (work) => work(readRows),
      elsewhere: operationsIn(thread, turn),
      close: () => (closed ??= close()),
    };
  } catch (error) {
    lock.close();
    throw error;
  }
}

/** Kysely's statements differ by what is looked for, and by how many of it. */
const PREPARED_KEPT = 300;

function preparedOn(sqlite: Sqlite.Database): (sql: string) => Sqlite.Statement {
  const known = new Map<string, Sqlite.Statement>();
  return (sql) => {
    const statement = known.get(sql) ?? sqlite.prepare(sql);
    if (known.size >= PREPARED_KEPT) known.clear();
    known.set(sql, statement);
    return statement;
  };
}

// --- the thread -----------------------------------------------------------------------------------------------------

interface Thread {
  /** To be done with what is called next, in the same transaction: its fault, if it has one, is that of the commit. */
  add(step: Step): void;
  /** Resolves with what came of it. Rejects with a StorageFault where the storage cannot do it. */
  call(step: Step): Promise<unknown>;
  close(): Promise<void>;
}

interface Waiting {
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

function startThread(path: string): Thread {
  const worker = threadOn(path);
  const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
  const waiting = new Map<number, Waiting>();
  let steps: Asked[] = [];
  let number = 0;
  let flushing = false;
  const flush = (): void => {
    flushing = false;
    // oxlint-disable-next-line require-post-message-target-origin -- a thread has none; windows do
    worker.postMessage(steps);
    steps = [];
  };
  worker.on("message", (answers: readonly Answer[]) => {
    for (const [number, came] of answers) {
      const asked = waiting.get(number);
      waiting.delete(number);
      if ("value" in came) asked?.resolve(came.value);
      else asked?.reject(errorOf(came.error));
    }
  });
  // A bug that ended the thread ends the process as it would in one thread: its host starts it anew.
  worker.on("error", (error) => {
    throw error;
  });
  const call = (step: Step): Promise<unknown> =>
    new Promise((resolve, reject) => {
      waiting.set(++number, { resolve, reject });
      steps.push([number, step]);
      // What is called in one turn travels together.
      if (!flushing) queueMicrotask(flush);
      flushing = true;
    });
  return {
    add: (step) => void steps.push([null, step]),
    call,
    close: async () => {
      await call(["close"]);
      await ended;
    },
  };
}

const errorOf = ({ message, isStorage }: Fault): Error => (isStorage ? new StorageFault(message) : new Error(message));

/** What the thread does as a whole: it writes, and what it is given and answers are plain data. */
const OPERATIONS = [
  "claimDue",
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
  "pruneKept",
  "pruneTests",
  "pruneSightings",
  "pruneEvents",
  "ping",
  "setting",
  "saveSetting",
] as const satisfies (keyof Operations)[];

/** `turn`: none is done within a transaction that is decided here. */
const operationsIn = (thread: Thread, turn: ReturnType<typeof createTurn>) =>
  Object.fromEntries(
    OPERATIONS.map((name) => [
      name,
      async (...given: unknown[]) => {
        await turn.take();
        const done = thread.call(["operation", name, ...given]);
        turn.give();
        return done;
      },
    ]),
  ) as unknown as Pick<Operations, (typeof OPERATIONS)[number]>;

function threadRows(thread: Thread): Rows {
  const call = (...step: Step) => thread.call(step) as Promise<never>;
  const add = async (...step: Step): Promise<void> => thread.add(step);
  return {
    dialect: "sqlite",
    query: (sql, parameters) => call("query", sql, parameters),
    find: async (table, columns, key, values) => (values.length === 0 ? [] : call("find", table, columns, key, values)),
    insert: async (table, rows, conflict) => {
      if (rows.length > 0) await add("insert", table, rows, conflict);
    },
    update: async (table, rows, change) => {
      if (rows.length === 0) return [];
      if (change.returning) return call("update", table, rows, change);
      await add("update", table, rows, change);
      return [];
    },
    newDocs: async (n) => (n === 0 ? [] : call("newDocs", n)),
    index: async (words) => {
      if (words.size > 0) await add("index", words);
    },
    appendEvents: async (events) => {
      if (events.length > 0) await add("appendEvents", events);
    },
    lock: async () => {},
    lockDeliveries: async () => {},
  };
}

// --- Kysely on it ---------------------------------------------------------------------------------------------------

/** One transaction or statement at a time has the thread, in the order they came; after the end, none. */
function createTurn() {
  const queue: { resolve(): void; reject(error: unknown): void }[] = [];
  let taken = false;
  let ended = false;
  const refuse = () => new StorageFault("the database is closed");
  return {
    take: async (): Promise<void> => {
      if (ended) throw refuse();
      if (taken) await new Promise<void>((resolve, reject) => queue.push({ resolve, reject }));
      taken = true;
    },
    give: (): void => {
      const next = queue.shift();
      if (next) next.resolve();
      else taken = false;
    },
    /** By whoever has the turn. */
    end: (): void => {
      ended = true;
      for (const { reject } of queue.splice(0)) reject(refuse());
    },
  };
}

async function send(thread: Thread, { sql, parameters }: CompiledQuery): Promise<QueryResult<unknown>> {
  const { rows, changes, insertId } = (await thread.call(["statement", sql, parameters])) as StatementResult;
  return { rows, numAffectedRows: BigInt(changes), insertId: BigInt(insertId) };
}

interface Way {
  acquire(): Promise<void>;
  release(): void;
  run(query: CompiledQuery): Promise<QueryResult<unknown>>;
}

function kysely({ acquire, release, run }: Way): Kysely<Tables> {
  const unused = async (): Promise<never> => {
    throw new Error("transactions are the database's own: database.transaction");
  };
  const connection: DatabaseConnection = {
    executeQuery: (query) => run(query) as never,
    // oxlint-disable-next-line require-yield
    streamQuery: async function* () {
      throw new Error("SQLite does not stream");
    },
  };
  const driver: Driver = {
    init: async () => {},
    acquireConnection: async () => {
      await acquire();
      return connection;
    },
    beginTransaction: unused,
    commitTransaction: unused,
    rollbackTransaction: unused,
    releaseConnection: async () => release(),
    destroy: async () => {},
  };
  return new Kysely({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => driver,
      createIntrospector: (db) => new SqliteIntrospector(db),
      createQueryCompiler: () => new SqliteQueryCompiler(),
    },
  });
}
