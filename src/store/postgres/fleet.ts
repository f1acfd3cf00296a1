/**
 * Several relays on one PostgreSQL. None leads; what they have to agree on is in the database:
 *
 * - *presence*: each relay keeps one connection with an advisory lock on its name, which ends with the process, however that
 *   ends. Deliveries leased by a name without a lock are taken over once it has been missing for {@link MISSING_MS}, far before
 *   their leases run out. A relay that lost its connection comes back sooner than that.
 * - *news*: whoever queues deliveries notifies the others, at most a few times a second, and whoever leaves. A notification that is lost costs time only: every relay
 *   looks by itself as well.
 * - *duties*: what one does for all, by rows that are taken for a time.
 * - *the clock*: the database's. Leases and due times of one relay are read by another, and a machine's own clock may be wrong.
 */
import { sql, type Kysely } from "kysely";
import type { Log } from "../../platform/log.ts";
import type { Database, Session } from "../database.ts";
import type { Tables } from "../tables.ts";

type Db = Kysely<Tables>;

export interface Fleet {
  /** This relay's, in leases. */
  readonly name: string;
  /** Whether the others can see that it is there. While they cannot it must not begin what they would take over. */
  isPresent(): boolean;
  /** Epoch ms, of the database's clock. */
  now(): number;
  /** There may be something to deliver: wakes the others. */
  announce(): void;
  /** Calls back when another relay announced something, or may have. */
  onNews(listener: () => void): void;
  /** Names that have leases and have been missing for a while. To be asked every ten seconds or so. */
  missing(): Promise<string[]>;
  /**
   * Does it, unless another relay is at it or began it less than `everyMs` ago and did not fail; null then. Others take over within a
   * minute from one that died.
   */
  alone<T>(duty: string, everyMs: number, act: () => Promise<T>): Promise<T | null>;
  /** Tells the others, so that they go on with what is left. */
  leave(): Promise<void>;
}

const MISSING_MS = 9_000;
/** A connection that broke is made again after so long. */
const RECONNECT_MS = 1_000;
const ANNOUNCE_EVERY_MS = 100;
const HOLD_MS = 60_000;
const CHANNEL = "skyvern_relay";
/** The class of our advisory locks on names. */
const PRESENCE = 7_390_010;

export interface FleetParts {
  database: Database;
  /** A session of the database. */
  connect(): Promise<Session>;
  name: string;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
  log: Log;
}

/** Resolves when this relay is present. Rejects with a StorageFault when the database cannot be reached. */
export async function joinFleet(parts: FleetParts): Promise<Fleet> {
  const { database, name, sleep, log } = parts;
  const { db } = database;
  const ending = new AbortController();
  const clock = await startClock(db);
  let news = (): void => {};
  const presence = await keepPresent(parts, ending.signal, () => news());
  const notify = async () => {
    await sql`select pg_notify(${CHANNEL}, ${name})`.execute(db).catch((error: unknown) => {
      log.warn("fleet.not_announced", { error: String(error) });
    });
  };
  const announce = coalesced(sleep, notify);
  /** When each was first missed, by a clock that nobody sets. */
  let missed = new Map<string, number>();
  return {
    name,
    isPresent: presence.is,
    now: clock.now,
    announce,
    onNews: (listener) => {
      news = listener;
    },
    missing: async () => {
      await clock.read();
      const names = await missingNames(db);
      const at = performance.now();
      missed = new Map(names.map((one) => [one, missed.get(one) ?? at]));
      return names.filter((one) => at - (missed.get(one) ?? at) >= MISSING_MS);
    },
    alone: async (duty, everyMs, act) => {
      const from = clock.now();
      if (!(await takeDuty(db, duty, from, HOLD_MS))) return null;
      let until = 0;
      const holding = setInterval(() => {
        void holdDuty(db, duty, clock.now() + HOLD_MS).catch(() => {});
      }, HOLD_MS / 3);
      try {
        const done = await act();
        until = from + everyMs;
        return done;
      } finally {
        clearInterval(holding);
        await holdDuty(db, duty, until);
      }
    },
    leave: async () => {
      ending.abort();
      // What it did not begin is for the others, now and not when they next look by themselves.
      if (presence.is()) await notify();
      await presence.end();
    },
  };
}

/** Keeps a session with a lock on the name, and makes a new one when it breaks. Resolves with what ends it. */
async function keepPresent(
  { connect, name, sleep, log }: FleetParts,
  ending: AbortSignal,
  onNews: () => void,
): Promise<{ is: () => boolean; end: () => Promise<void> }> {
  const begin = async (): Promise<Session> => {
    const session = await connect();
    try {
      // A machine that lost its power closes nothing: the server is to find out within half a minute.
      await session.query(
        "set tcp_keepalives_idle = 10; set tcp_keepalives_interval = 5; set tcp_keepalives_count = 3",
        [],
      );
      await session.query("select pg_advisory_lock($1::int, hashtext($2))", [PRESENCE, name]);
      session.onNotification((from) => {
        if (from !== name) onNews();
      });
      await session.query(`listen ${CHANNEL}`, []);
      return session;
    } catch (error) {
      await session.end().catch(() => {});
      throw error;
    }
  };
  let session: Session | null = await begin();
  const keep = async (): Promise<void> => {
    for (;;) {
      await session?.ended;
      if (session !== null && !ending.aborted) log.warn("fleet.connection_lost", { name });
      session = null;
      if (ending.aborted) return;
      session = await begin().catch(() => null);
      if (session === null) await sleep(RECONNECT_MS, ending);
      else if (ending.aborted) await session.end().catch(() => {});
      else {
        log.info("fleet.connected", { name });
        // Whatever was announced meanwhile was not heard.
        onNews();
      }
    }
  };
  const kept = keep();
  return {
    is: () => session !== null,
    end: async () => {
      await session?.end().catch(() => {});
      await kept;
    },
  };
}

/** The database's clock, carried on by one that nobody sets. `read` sets it right. */
async function startClock(db: Db) {
  let base = 0;
  const now = (): number => Math.floor(base + performance.now());
  const read = async (): Promise<void> => {
    const before = performance.now();
    const { rows } = await sql<{ ms: number }>`select extract(epoch from clock_timestamp()) * 1000 as ms`.execute(db);
    base = (rows[0]?.ms ?? 0) - (before + performance.now()) / 2;
  };
  await read();
  return { now, read };
}

/** Who leases something and holds no lock on its name. Nobody, unless our own kind of lock is to be seen: behind a pooler it is not. */
async function missingNames(db: Db): Promise<string[]> {
  const { rows } = await sql<{ name: string }>`
    with present as (
      select objid from pg_locks where locktype = 'advisory' and classid = ${sql.lit(PRESENCE)} and objsubid = 2 and granted
        and database = (select oid from pg_database where datname = current_database())
    )
    select distinct leased_by as name from deliveries
    where state = 'sending' and leased_by is not null and exists (select 1 from present)
      and (hashtext(leased_by)::bigint & 4294967295)::oid not in (select objid from present)`.execute(db);
  return rows.map(({ name }) => name);
}

async function takeDuty(db: Db, name: string, now: number, forMs: number): Promise<boolean> {
  const seen = await db.selectFrom("duties").select("taken_until").where("name", "=", name).executeTakeFirst();
  if (seen !== undefined && seen.taken_until > now) return false;
  const taken = await db
    .insertInto("duties")
    .values({ name, taken_until: now + forMs })
    .onConflict((conflict) =>
      conflict
        .column("name")
        .doUpdateSet({ taken_until: now + forMs })
        .where("duties.taken_until", "<=", now),
    )
    .returning("name")
    .execute();
  return taken.length > 0;
}

const holdDuty = (db: Db, name: string, until: number) =>
  db.updateTable("duties").set({ taken_until: until }).where("name", "=", name).execute();

/** Runs `act` now, and again once what came meanwhile has waited for a moment. */
function coalesced(sleep: FleetParts["sleep"], act: () => Promise<void>): () => void {
  let busy = false;
  let wanted = false;
  const run = async (): Promise<void> => {
    while (wanted) {
      wanted = false;
      await act();
      await sleep(ANNOUNCE_EVERY_MS);
    }
    busy = false;
  };
  return () => {
    wanted = true;
    if (busy) return;
    busy = true;
    void run();
  };
}
