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

/** The most connections of one relay: a few write, the others read. PostgreSQL serves some hundred in all. */
const MAX_CONNECTIONS = 10;
/**
 * Skyvern waits 30 s for an answer. A webhook may wait for the batch before it to fail and then fail itself, so each
 * batch gets a third of that, whatever happens to the server.
 */
const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 8_000;
const ANSWER_TIMEOUT_MS = 10_000;
const LOCK_TIMEOUT_MS = 5_000;
/** A relay that goes silent in the middle of a transaction must not hold its locks for long. */
const IDLE_IN_TRANSACTION_MS = 10_000;
/** A session is for short, frequent statements: one that hangs must not keep the next ones from a new connection. */
const SESSION_TIMEOUT_MS = 3_000;
/** How often a transaction runs in all when it conflicts with another, after a short wait each time. */
const TRIES = 6;
const FIRST_WAIT_MS = 5;

const INT8 = 20;
const NUMERIC = 1700;

/**
 * Opens `postgres://…`. `patient` sets no time limits, as for building an index. Nothing is connected yet: while the
 * database is away, operations fail with a StorageFault.
 *
 * Transactions are READ COMMITTED and lock what must not change meanwhile: the run being decided on, its deliveries,
 * and (last) the roll-ups. SERIALIZABLE would need no locks, but any two transactions meet in the roll-ups, and one of
 * them would have to run again each time. When two transactions insert the same row, they meet in its unique index; the
 * second runs again from the start and then sees the first one's row.
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
          // Ends a connection whose server is gone without a word, when no timeout of the server's own applies.
          query_timeout: ANSWER_TIMEOUT_MS,
        }),
    keepAlive: true,
    types,
    // A server may be configured to answer before a commit is on its disk.
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
    transaction: (work) => runWithRetries(() => db.transaction().execute((tx) => work(tx, postgresRows(tx)))),
    session: (heard) => {
      const hear = (payload: string | null): void => {
        if (notifications.receive(payload)) heard();
      };
      const timeouts = { connectionTimeoutMillis: SESSION_TIMEOUT_MS, query_timeout: SESSION_TIMEOUT_MS };
      const pool = new pg.Pool({ ...settings, ...timeouts, max: 1, idleTimeoutMillis: 0 });
      pool.on("connect", (client) => {
        client.on("notification", ({ payload = "" }) => hear(payload));
        // When this fails, the statement that the connection was made for fails as well.
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

/** pg is loaded only by relays that use PostgreSQL. */
async function load() {
  try {
    return (await import("pg")).default;
  } catch (error) {
    throw new Error("PostgreSQL needs the package pg, which is not installed: npm install pg", { cause: error });
  }
}

function kyselyOn(pool: Pool): Kysely<Tables> {
  // The pool throws away an idle connection that breaks, and makes the next one when it is needed.
  pool.on("error", () => {});
  // When a connection breaks in use, its statement fails.
  pool.on("connect", (client) => void client.on("error", () => {}));
  return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: storePool(pool) }) });
}

/**
 * The pool as Kysely sees it: it accepts any text and fails as the Store does. A connection on which the storage failed
 * is not used again: nothing more is sent on it, not even ROLLBACK, and closing it undoes what was not committed.
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

async function runWithRetries<T>(run: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n += 1) {
    try {
      return await run();
    } catch (error) {
      if (n === TRIES || !mayRunAgain(error)) throw toFinalFault(error);
      await delay(FIRST_WAIT_MS * 2 ** (n - 1));
    }
  }
}
