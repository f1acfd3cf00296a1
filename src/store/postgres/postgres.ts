import { setTimeout as delay } from "node:timers/promises";
import { CompiledQuery, Kysely, PostgresDialect, sql, type PostgresPool, type PostgresPoolClient } from "kysely";
import type { Pool, PoolConfig } from "pg";
import type { Database } from "../database.ts";
import { connectionFault, toStorageFault, toFinalFault, mayRunAgain } from "./errors.ts";
import { postgresRows, storable } from "./bulk-sql.ts";
import { CHANNEL, PeerNotifications } from "./peer-notifications.ts";
import { schemaSql } from "../schema/schema.ts";
import { StorageFault } from "../contract/faults.ts";
import type { Tables } from "../tables.ts";

/** Of one relay: a few transactions that write, and what reads beside them. PostgreSQL serves some hundred in all. */
const MAX_CONNECTIONS = 10;
/**
 * Skyvern waits for 30 s. A webhook may have to wait for the batch before it to fail, and then fail itself, so each may take a third of
 * that, whatever has become of the server.
 */
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 8_000;
const ANSWER_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS = 5_000;
/** A relay that went silent in the middle of a transaction must not hold its locks for long. */
const IDLE_IN_TRANSACTION_MS = 10_000;
/** A session is for short statements that come often: one that hangs is not to keep the next ones from a new connection. */
const SESSION_TIMEOUT_MS = 3_000;
/** A transaction that met another is run so often in all, after a moment each. */
const TRIES = 6;
const FIRST_WAIT_MS = 5;

const INT8 = 20;
const NUMERIC = 1700;

/**
 * `patient`: nothing has to be done within a time, as for building an index.
 *
 * Opens `postgres://…`. Nothing is connected yet: a database that is away makes operations fail with a StorageFault until it
 * is back.
 *
 * Transactions are READ COMMITTED, and what must not change meanwhile is locked: a run that is decided on, its deliveries, the
 * roll-ups (last). SERIALIZABLE would need no locks, but every two transactions meet in the roll-ups, and it would run one of them
 * again each time. Two that make the same row at once meet in its unique index, and the second runs again from the start, then with the
 * first one's row before it.
 */
export async function openPostgres(url: string, { readOnly = false, patient = false } = {}): Promise<Database> {
  const pg = await load();
  const types = {
    // Times and counts are far below 2^53.
    getTypeParser: ((oid: number, format?: "text" | "binary") =>
      oid === INT8 || oid === NUMERIC ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
  };
  const settings: PoolConfig = {
    connectionString: url,
    application_name: "skyvern-relay",
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    ...(patient
      ? {}
      : {
          statement_timeout: STATEMENT_TIMEOUT_MS,
          lock_timeout: LOCK_TIMEOUT_MS,
          idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
          // For a server that is gone without a word: it answers to nothing, and no timeout of its own holds.
          query_timeout: ANSWER_TIMEOUT_MS,
        }),
    keepAlive: true,
    types,
    // A server may be set to answer before a commit is on its disk.
    options: `-c synchronous_commit=on${readOnly ? " -c default_transaction_read_only=on" : ""}`,
  };
  const db = kyselyOn(new pg.Pool({ ...settings, max: MAX_CONNECTIONS }));
  const notifications = new PeerNotifications((payloads) =>
    sql`select pg_notify(${CHANNEL}, payload) from unnest(${payloads}::text[]) as payload`.execute(db),
  );
  return {
    dialect: "postgres",
    db,
    schema: () => schemaSql("postgres"),
    script: async (tx, text) => {
      await tx.executeQuery(CompiledQuery.raw(text));
    },
    foreignChanges: () => notifications.take(),
    notifyPeers: (changes) => notifications.announce(changes),
    read: (work) => work(postgresRows(db)),
    transaction: (work) => again(() => db.transaction().execute((tx) => work(tx, postgresRows(tx)))),
    session: (heard) => {
      const hear = (payload: string | null): void => {
        if (notifications.receive(payload)) heard();
      };
      const timeouts = { connectionTimeoutMillis: SESSION_TIMEOUT_MS, query_timeout: SESSION_TIMEOUT_MS };
      const pool = new pg.Pool({ ...settings, ...timeouts, max: 1, idleTimeoutMillis: 0 });
      pool.on("connect", (client) => {
        client.on("notification", ({ payload = "" }) => hear(payload));
        // Where this fails, so does the statement that the connection was made for.
        client.query(`listen ${CHANNEL}`).then(
          () => hear(null),
          () => {},
        );
      });
      const own = kyselyOn(pool);
      return { db: own, close: () => own.destroy() };
    },
    close: async () => {
      await notifications.idle();
      await db.destroy();
    },
  };
}

/** Only who uses PostgreSQL needs its client. */
async function load() {
  try {
    return (await import("pg")).default;
  } catch (error) {
    throw new Error("PostgreSQL needs the package pg, which is not installed: npm install pg", { cause: error });
  }
}

function kyselyOn(pool: Pool): Kysely<Tables> {
  // An idle connection that breaks is thrown away by the pool; the next one is made when it is needed.
  pool.on("error", () => {});
  // On one that breaks while it is used, a statement fails.
  pool.on("connect", (client) => void client.on("error", () => {}));
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: storePool(pool) }) });
}

/**
 * The pool as Kysely is given it: takes any text, and fails as the Store does. A connection on which the storage failed is not used again:
 * nothing more is sent on it, not even ROLLBACK, and its end takes back what was not committed.
 */
const storePool = (pool: Pool): PostgresPool => ({
  options: pool.options,
  connect: async () => {
    const client = await pool.connect().catch((error: unknown) => {
      throw connectionFault(error);
    });
    let fault: StorageFault | null = null;
    const query = async (sql: string, parameters: readonly unknown[]) => {
      if (fault !== null) throw fault;
      try {
        return await client.query(sql, parameters.map(storable));
      } catch (error) {
        const reason = toStorageFault(error);
        if (reason instanceof StorageFault) fault = reason;
        throw reason;
      }
    };
    return { query: query as unknown as PostgresPoolClient["query"], release: () => client.release(fault !== null) };
  },
  end: () => pool.end(),
});

async function again<T>(run: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n += 1) {
    try {
      return await run();
    } catch (error) {
      if (n === TRIES || !mayRunAgain(error)) throw toFinalFault(error);
      await delay(FIRST_WAIT_MS * 2 ** (n - 1));
    }
  }
}
