/**
 * Several relays on one PostgreSQL, without a leader. They agree through the database:
 *
 * - *presence*: each relay has a row in `duties` under its own name and renews it every {@link BEAT_MS}.
 *   `deliveries.leased_by` names the relay that holds a lease. Once that relay's row has expired, any other relay may
 *   reclaim its deliveries.
 * - *duties*: work that one relay does for all is a row in the same table, which excludes the others while it is in
 *   force.
 * - *notifications*: a relay announces its changes, and its leaving, to the others (peer-notifications.ts).
 * - *the clock*: all relays use the database's clock, because one relay reads the leases and due times of another, and
 *   a machine's own clock may be wrong.
 */
import { sql } from "kysely";
import type { Log } from "../../platform/log.ts";
import type { Database, DatabaseSession } from "../database.ts";
import type { Db } from "../tables.ts";

export interface Fleet {
  /** This relay's name, as leases hold it. */
  readonly name: string;
  /** True while this relay's row is in force. Otherwise the relay must not begin work that others would reclaim. */
  isPresent(): boolean;
  /** The database's clock, epoch ms. */
  now(): number;
  /** Calls back when another process announced something, or may have: there may be something to deliver. */
  onPeerChange(listener: () => void): void;
  /** Names of relays that are gone but still hold leases. Callers ask about every five seconds. */
  deadPeers(): Promise<string[]>;
  /**
   * Runs `act`, unless another relay is running it or began it less than `everyMs` ago and did not fail; the answer is
   * then null. When a relay dies, others may begin within {@link LEASE_MS}.
   */
  runExclusively<T>(duty: string, everyMs: number, act: () => Promise<T>): Promise<T | null>;
  /** Announces the leaving, so that the others continue the work. */
  leave(): Promise<void>;
}

const BEAT_MS = 2_000;
/** How long a relay stays present after its last heartbeat. */
const LEASE_MS = 10_000;

/** The database's clock, epoch ms. */
const NOW = sql<number>`floor(extract(epoch from clock_timestamp()) * 1000)::bigint`;
const inMs = (ms: number) => sql<number>`${NOW} + ${sql.lit(ms)}`;

export interface FleetDeps {
  database: Pick<Database, "db" | "notifyPeers">;
  openSession: NonNullable<Database["session"]>;
  name: string;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  log: Log;
}

/** Resolves once this relay is present. Rejects with a StorageFault when the database cannot be reached. */
export async function joinFleet({ database, openSession, name, sleep, log }: FleetDeps): Promise<Fleet> {
  const { db } = database;
  const ending = new AbortController();
  let onChange = (): void => {};
  const session = openSession(() => onChange());
  const presence = new Presence(session, name);
  try {
    await presence.renew();
  } catch (error) {
    await session.close();
    throw error;
  }
  const beat = async (): Promise<void> => {
    for (;;) {
      await sleep(BEAT_MS, ending.signal);
      if (ending.signal.aborted) return;
      await presence.renew().catch((error: unknown) => {
        if (presence.isInForce()) log.warn("fleet.heartbeat_missed", { name, error: String(error) });
      });
    }
  };
  const beating = beat();
  return {
    name,
    isPresent: () => presence.isInForce(),
    now: () => presence.now(),
    onPeerChange: (listener) => {
      onChange = listener;
    },
    deadPeers: async () => {
      if (!presence.isSettled()) return [];
      // A dead relay may not have announced all of its changes.
      if (await removeRunOut(db)) database.notifyPeers?.(null);
      return missingNames(db);
    },
    runExclusively: async (duty, everyMs, act) => {
      // The heartbeat renews the duty.
      const begun = await takeDuty(db, duty, name);
      if (begun === null) return null;
      let until = 0;
      try {
        const done = await act();
        until = begun + everyMs;
        return done;
      } finally {
        const mine = db.updateTable("duties").where("name", "=", duty).where("holder", "=", name);
        await mine.set({ holder: null, until }).execute();
      }
    },
    leave: async () => {
      ending.abort();
      await beating;
      if (presence.isInForce()) {
        await db
          .deleteFrom("duties")
          .where("holder", "=", name)
          .execute()
          .catch(() => {});
        // Lets the others take this relay's unstarted deliveries now, instead of at their next check.
        database.notifyPeers?.([]);
      }
      await session.close();
    },
  };
}

/** This relay's row, and the database's clock, which every renewal reads. */
class Presence {
  readonly #db: Db;
  readonly #name: string;
  /**
   * When the last successful renewal was sent, and since when none was late. All times here are of the monotonic clock.
   */
  #renewedAt = -Infinity;
  #unbrokenSince = 0;
  /** How far the database's clock is ahead of the monotonic one. */
  #ahead = -Infinity;

  constructor(session: DatabaseSession, name: string) {
    this.#db = session.db;
    this.#name = name;
  }

  now(): number {
    return Math.floor(this.#ahead + performance.now());
  }

  isInForce(): boolean {
    return performance.now() - this.#renewedAt < LEASE_MS;
  }

  /** True when the row has been in force long enough for every other relay to have renewed its own. */
  isSettled(): boolean {
    return this.isInForce() && performance.now() - this.#unbrokenSince > LEASE_MS;
  }

  /** The heartbeat. Rejects with a StorageFault; the row then stays in force until it expires. */
  async renew(): Promise<void> {
    const sentAt = performance.now();
    const now = (await this.#write()) - LEASE_MS;
    const answeredAt = performance.now();
    // The database read its clock at some time between the two.
    const ahead = Math.min(Math.max(this.#ahead, now - answeredAt), now - sentAt);
    const isClockSet = Math.abs(ahead - this.#ahead) > LEASE_MS / 2;
    if (isClockSet || !this.isInForce()) this.#unbrokenSince = answeredAt;
    this.#ahead = ahead;
    this.#renewedAt = sentAt;
  }

  /** Renews everything this relay holds and returns until when. */
  async #write(): Promise<number> {
    const [name, until] = [this.#name, inMs(LEASE_MS)];
    const held = this.#db.updateTable("duties").set({ until }).where("holder", "=", name).returning(["name", "until"]);
    const own = (await held.execute()).find((row) => row.name === name);
    if (own !== undefined) return own.until;
    // The row is missing, or it had expired and was removed.
    const joined = this.#db.insertInto("duties").values({ name, holder: name, until }).returning("until");
    return (await joined.executeTakeFirstOrThrow()).until;
  }
}

/** Removes expired rows, which count as absent. Returns whether one was a relay's. */
async function removeRunOut(db: Db): Promise<boolean> {
  const removed = await db.deleteFrom("duties").where("until", "<=", NOW).returning(["name", "holder"]).execute();
  return removed.some(({ name, holder }) => name === holder);
}

/** Names that hold a lease but have no row. */
async function missingNames(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select distinct leased_by as name from deliveries
    where state = 'sending' and leased_by is not null
      and not exists (select 1 from duties where duties.name = leased_by)`.execute(db);
  return rows.map(({ name }) => name);
}

/** When the duty was taken, epoch ms; null when another relay has it. */
async function takeDuty(db: Db, name: string, holder: string): Promise<number | null> {
  const row = { holder, until: inMs(LEASE_MS) };
  const duty = await db
    .insertInto("duties")
    .values({ name, ...row })
    .onConflict((conflict) => conflict.column("name").doUpdateSet(row).where("duties.until", "<=", NOW))
    .returning("until")
    .executeTakeFirst();
  return duty === undefined ? null : duty.until - LEASE_MS;
}
