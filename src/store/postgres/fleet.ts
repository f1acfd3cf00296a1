/**
 * Several relays on one PostgreSQL. None leads; what they have to agree on is in the database:
 *
 * - *presence*: each relay has a row in `duties` under its own name and renews it every {@link BEAT_MS}. `deliveries.leased_by` names the relay
 *   that holds a lease. Once that relay's row has run out, any other may take its deliveries over.
 * - *duties*: what one relay does for all is a row in the same table, for as long as no other may do it.
 * - *news*: what a relay changes it tells the others, and that it leaves (peer-notifications.ts).
 * - *the clock*: the database's. One relay reads the leases and due times of another, and a machine's own clock may be wrong.
 */
import { sql } from "kysely";
import type { Log } from "../../platform/log.ts";
import type { Database, DatabaseSession } from "../database.ts";
import type { Db } from "../tables.ts";

export interface Fleet {
  /** This relay's, in leases. */
  readonly name: string;
  /** Whether its row is in force. While it may not be, the relay must not begin what the others would take over. */
  isPresent(): boolean;
  /** Epoch ms, of the database's clock. */
  now(): number;
  /** Calls back when another process told something, or may have: there may be something to deliver. */
  onPeerChange(listener: () => void): void;
  /** Relays that are gone and have leases still. To be asked every five seconds or so. */
  deadPeers(): Promise<string[]>;
  /**
   * Does it, unless another relay is at it or began it less than `everyMs` ago and did not fail; null then. Others may begin it within
   * {@link LEASE_MS} of the end of one that died.
   */
  runExclusively<T>(duty: string, everyMs: number, act: () => Promise<T>): Promise<T | null>;
  /** Tells the others, so that they go on with what is left. */
  leave(): Promise<void>;
}

const BEAT_MS = 2_000;
/** After its last heartbeat a relay is present for so long. */
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

/** Resolves when this relay is present. Rejects with a StorageFault when the database cannot be reached. */
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
      // A relay that died may not have told all that it changed.
      if (await removeRunOut(db)) database.notifyPeers?.(null);
      return missingNames(db);
    },
    runExclusively: async (duty, everyMs, act) => {
      // The heartbeat renews it.
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
        // What it did not begin is for the others, now and not when they next look by themselves.
        database.notifyPeers?.([]);
      }
      await session.close();
    },
  };
}

/** This relay's row, and the database's clock, which each renewal reads. */
class Presence {
  readonly #db: Db;
  readonly #name: string;
  /** Of the monotonic clock, as all times here: when the last renewal that succeeded was sent, and since when none came too late. */
  #renewedAt = -Infinity;
  #unbrokenSince = 0;
  /** What the database's clock is ahead of the monotonic one. */
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

  /** In force for so long that every other relay has had the time to renew its row, too. */
  isSettled(): boolean {
    return this.isInForce() && performance.now() - this.#unbrokenSince > LEASE_MS;
  }

  /** The heartbeat. Rejects with a StorageFault; the row stays in force until its time is over. */
  async renew(): Promise<void> {
    const sentAt = performance.now();
    const now = (await this.#write()) - LEASE_MS;
    const answeredAt = performance.now();
    // The database read its clock at some time between.
    const ahead = Math.min(Math.max(this.#ahead, now - answeredAt), now - sentAt);
    const isClockSet = Math.abs(ahead - this.#ahead) > LEASE_MS / 2;
    if (isClockSet || !this.isInForce()) this.#unbrokenSince = answeredAt;
    this.#ahead = ahead;
    this.#renewedAt = sentAt;
  }

  /** Renews what this relay holds; until when. */
  async #write(): Promise<number> {
    const [name, until] = [this.#name, inMs(LEASE_MS)];
    const held = this.#db.updateTable("duties").set({ until }).where("holder", "=", name).returning(["name", "until"]);
    const own = (await held.execute()).find((row) => row.name === name);
    if (own !== undefined) return own.until;
    // Not yet there, or it had run out and was removed.
    const joined = this.#db.insertInto("duties").values({ name, holder: name, until }).returning("until");
    return (await joined.executeTakeFirstOrThrow()).until;
  }
}

/** Removes rows that have run out, which count as none; whether one was a relay's. */
async function removeRunOut(db: Db): Promise<boolean> {
  const removed = await db.deleteFrom("duties").where("until", "<=", NOW).returning(["name", "holder"]).execute();
  return removed.some(({ name, holder }) => name === holder);
}

/** Who has a lease and no row. */
async function missingNames(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`select distinct leased_by as name from deliveries
    where state = 'sending' and leased_by is not null
      and not exists (select 1 from duties where duties.name = leased_by)`.execute(db);
  return rows.map(({ name }) => name);
}

/** When it was taken, epoch ms; null: it is not to be had. */
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
