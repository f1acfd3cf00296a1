/**
 * A connection of the pool while somebody has it. Statements go out as soon as they are there and run in the order they were sent in; who
 * needs no answer waits for none, so that a transaction costs as many round trips as it has questions
 * (https://node-postgres.com/features/pipelining).
 */
import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from "kysely";
import type { Pool, PoolClient, QueryResult } from "pg";
import { storable } from "./arrays.ts";
import { endsConnection, faultOf, mayRunAgain } from "./errors.ts";
import type { Tables } from "../tables.ts";

/** A Buffer is sent as it is, in PostgreSQL's binary form of the parameter's type. */
type Values = readonly unknown[];

export interface Connection {
  /** For what is rare, with a statement made by Kysely; in order with the others. */
  readonly db: Kysely<Tables>;
  /** Answers with what came of a statement. Rejects with what failed first, be that one told before. */
  ask(sql: string, values?: Values, name?: string): Promise<QueryResult>;
  /**
   * Sends a statement and does not wait for it: what becomes of it shows in the next answer. Rejects, sending nothing, when one has
   * failed already.
   */
  tell(sql: string, values?: Values, name?: string): Promise<void>;
  /** The transaction is open when a statement after it has been answered; nothing is told before. */
  begin(): void;
  rollback(): Promise<void>;
  release(): void;
}

export interface Connections {
  take(): Promise<Connection>;
  /** The pool as Kysely sees it, which does not end it: it never knew of it unless it was asked something. */
  pool: PostgresPool;
}

export function connectionsOf(pool: Pool): Connections {
  const known = new WeakMap<PoolClient, ReturnType<typeof connectionOver>>();
  const take = async () => {
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch (error) {
      throw faultOf(error);
    }
    const connection = known.get(client) ?? connectionOver(client);
    known.set(client, connection);
    connection.taken();
    return connection;
  };
  return {
    take,
    pool: { options: pool.options, connect: async () => (await take()).client, end: async () => {} },
  };
}

function connectionOver(client: PoolClient) {
  let broken = false;
  // A connection that breaks between two statements says so here; the next statement on it fails.
  const onError = () => {
    broken = true;
  };
  /** Of what was told, and of BEGIN: what failed first, and when all has been answered. */
  let failure: { error: unknown } | null = null;
  let told = Promise.resolve();
  let begun = Promise.resolve();

  const send = async (sql: string, values: Values, name: string | undefined): Promise<QueryResult> => {
    try {
      const query = { text: sql, values: values.map(storable), ...(name === undefined ? {} : { name }) };
      return await client.query(query);
    } catch (error) {
      broken ||= endsConnection(error);
      // What may be run again is told apart by the transaction.
      throw mayRunAgain(error) ? error : faultOf(error);
    }
  };
  const sendUnawaited = (sql: string, values: Values, name?: string): void => {
    const before = told;
    const sent = send(sql, values, name).catch((error: unknown) => {
      failure ??= { error };
    });
    told = sent.then(() => before);
  };
  const ask: Connection["ask"] = async (sql, values = [], name) => {
    const before = told;
    const sent = send(sql, values, name);
    const [answer] = await Promise.allSettled([sent, before]);
    // After a failure PostgreSQL refuses whatever comes until the transaction ends; that is not the reason.
    if (failure !== null) throw failure.error;
    if (answer.status === "rejected") throw answer.reason;
    return answer.value;
  };
  const facade = {
    query: ask as unknown as PostgresPoolClient["query"],
    release: () => release(),
  };
  const release = () => {
    client.off("error", onError);
    client.release(broken);
  };
  const lasting = { query: facade.query, release: () => {} };
  let db: Kysely<Tables> | null = null;
  return {
    client: facade,
    taken: () => {
      client.on("error", onError);
      failure = null;
      begun = told = Promise.resolve();
    },
    get db() {
      const pool: PostgresPool = { options: {}, connect: async () => lasting, end: async () => {} };
      return (db ??= new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) }));
    },
    ask,
    tell: async (sql: string, values: Values = [], name?: string) => {
      // Were BEGIN refused, what follows it would be written for good, each by itself.
      await begun;
      if (failure !== null) throw failure.error;
      sendUnawaited(sql, values, name);
    },
    begin: () => {
      sendUnawaited("BEGIN", []);
      begun = told;
    },
    // On a connection that is gone there is nothing to take back: the server did.
    rollback: async () => {
      await Promise.allSettled([send("ROLLBACK", [], undefined), told]);
    },
    release,
  };
}
