import { setTimeout as delay } from "node:timers/promises";
import { CompiledQuery, Kysely, PostgresDialect } from "kysely";
import type { PoolConfig } from "pg";
import type { Database, Session } from "../database.ts";
import { connectionsOf, type Connections } from "./connection.ts";
import { postgresRows } from "./bulk-sql.ts";
import { schemaSql } from "../schema/schema.ts";
import { faultOf, mayRunAgain } from "./errors.ts";
import type { BulkSql } from "../bulk-sql.ts";
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
    // A server may be set to answer before a commit is on its disk. A plan that was made while a table was small must not be kept.
    options: `-c synchronous_commit=on -c plan_cache_mode=force_custom_plan${readOnly ? " -c default_transaction_read_only=on" : ""}`,
  };
  const pool = new pg.Pool({ ...settings, max: MAX_CONNECTIONS, pipeline: true });
  // An idle connection that breaks is thrown away by the pool; the next one is made when it is needed.
  pool.on("error", () => {});
  const connections = connectionsOf(pool);
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool: connections.pool }) });
  return {
    dialect: "postgres",
    db,
    schema: () => schemaSql("postgres"),
    script: async (tx, sql) => {
      await tx.executeQuery(CompiledQuery.raw(sql));
    },
    read: (work) => reading(connections, work),
    transaction: (work) => again(() => inTransaction(connections, work)),
    session: () => openSession(pg, settings),
    close: async () => {
      await db.destroy();
      await pool.end();
    },
  };
}

async function openSession(pg: Awaited<ReturnType<typeof load>>, settings: PoolConfig): Promise<Session> {
  const client = new pg.Client(settings);
  const ended = new Promise<void>((resolve) => {
    client.on("end", resolve);
    client.on("error", () => resolve());
  });
  try {
    await client.connect();
  } catch (error) {
    throw faultOf(error);
  }
  return {
    query: async <Row extends object>(sql: string, values: readonly unknown[]) => {
      try {
        return (await client.query<Row>(sql, [...values])).rows;
      } catch (error) {
        throw faultOf(error);
      }
    },
    onNotification: (listener) => void client.on("notification", ({ payload = "" }) => listener(payload)),
    ended,
    end: () => client.end(),
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

async function again<T>(run: () => Promise<T>): Promise<T> {
  for (let n = 1; ; n += 1) {
    try {
      return await run();
    } catch (error) {
      if (n === TRIES || !mayRunAgain(error)) throw faultOf(error);
      await delay(FIRST_WAIT_MS * 2 ** (n - 1));
    }
  }
}

async function inTransaction<T>(
  { take }: Connections,
  work: (tx: Kysely<Tables>, rows: BulkSql) => Promise<T>,
): Promise<T> {
  const connection = await take();
  try {
    connection.begin();
    const result = await work(connection.db, postgresRows(connection));
    const { command } = await connection.ask("COMMIT");
    // What PostgreSQL answers when a statement had failed before.
    if (command === "ROLLBACK") throw new Error("a transaction in which a statement had failed was to be committed");
    return result;
  } catch (error) {
    await connection.rollback();
    throw error;
  } finally {
    connection.release();
  }
}

async function reading<T>({ take }: Connections, work: (rows: BulkSql) => Promise<T>): Promise<T> {
  const connection = await take();
  try {
    return await work(postgresRows(connection));
  } finally {
    connection.release();
  }
}
