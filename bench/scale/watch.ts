/**
 * What relays and their PostgreSQL do while a load is on: CPU of each process by /proc, what the server's sessions wait
 * for (looked at 50 times a second), its log (WAL), its statements and the rows it changed.
 */
import { readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import pg from "pg";
import { cpuMsOf, descendants, threadMsOf } from "../process.ts";

/** Over the time watched. Cores: CPU time by time that passed. */
export interface Watched {
  seconds: number;
  cores: {
    /** All relays. */
    relays: number;
    /** The busiest thread that runs a relay. */
    thread: number;
    postgres: number;
    /** Of the machine, whoever used them. */
    machine: number;
  };
  /**
   * Relays' sessions that were not idle, the mean number by what they waited for. `relay`: for its next statement;
   * `cpu`: for nothing.
   */
  sessions: Record<string, number>;
  walBytes: number;
  /** Flushes of the log. */
  flushes: number;
  commits: number;
  /** How much larger the database has become. */
  bytes: number;
  rows: { inserted: number; updated: number; updatedInPlace: number; deleted: number };
  /** In the server, ms: all statements that write the roll-ups. */
  rollupMs: number;
  /** How many transactions wrote the roll-ups. */
  rollups: number;
}

const LOOK_MS = 20;
/** A session tells what it did at most once a second. */
const TOLD_MS = 1_200;

/** Begins to watch. What it returns ends that, and says what was seen. */
export async function watch(url: string, postmaster: number, relays: readonly number[]) {
  const client = new pg.Client({ connectionString: url, application_name: "bench" });
  await client.connect();
  await client.query("create extension if not exists pg_stat_statements");
  await pause(TOLD_MS);
  await client.query("select pg_stat_statements_reset()");
  const counted = await counters(client);
  const used = usage(postmaster, relays);
  const ending = new AbortController();
  const looked = look(client, ending.signal);
  return async (): Promise<Watched> => {
    const now = usage(postmaster, relays);
    ending.abort();
    const sessions = await looked;
    await pause(TOLD_MS);
    const after = await counters(client);
    const [rollups] = (await client.query<{ ms: number; calls: number }>(ROLLUPS)).rows;
    await client.end();
    const seconds = (now.at - used.at) / 1000;
    const cores = (ms: number) => ms / 1000 / seconds;
    const since = (name: keyof Counters) => Number(after[name]) - Number(counted[name]);
    return {
      seconds,
      cores: {
        relays: cores(now.relays - used.relays),
        thread: cores(Math.max(...now.threads.map((ms, n) => ms - (used.threads[n] ?? 0)))),
        postgres: cores(now.postgres - used.postgres),
        machine: cores(now.machine - used.machine),
      },
      sessions,
      walBytes: since("wal"),
      flushes: since("flushes"),
      commits: since("commits"),
      bytes: since("bytes"),
      rows: {
        inserted: since("inserted"),
        updated: since("updated"),
        updatedInPlace: since("in_place"),
        deleted: since("deleted"),
      },
      rollupMs: rollups?.ms ?? 0,
      rollups: Number(rollups?.calls ?? 0),
    };
  };
}

/** A session between two statements of a transaction waits for its relay: that is `idle in transaction`. */
const SESSIONS = `select case when state = 'idle in transaction' then 'relay' when wait_event is null then 'cpu'
    else wait_event_type || ':' || wait_event end as what, count(*)::int as n
  from pg_stat_activity where application_name = 'skyvern-relay' and state in ('active', 'idle in transaction') group by 1`;

async function look(client: pg.Client, signal: AbortSignal): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  let looks = 0;
  for (; !signal.aborted; looks += 1) {
    const { rows } = await client.query<{ what: string; n: number }>({ name: "sessions", text: SESSIONS });
    for (const { what, n } of rows) sums[what] = (sums[what] ?? 0) + n;
    await pause(LOOK_MS);
  }
  return Object.fromEntries(Object.entries(sums).map(([what, n]) => [what, n / looks]));
}

/** What runs under the lock of the roll-ups. */
const ROLLUPS = `select coalesce(sum(total_exec_time + total_plan_time), 0) as ms,
    coalesce(max(calls) filter (where query like 'insert into "delivery_counts"%'), 0) as calls
  from pg_stat_statements where query ~ '^insert into "(run_counts|delivery_counts|delivery_times|run_hours)"'`;

interface Counters {
  wal: string;
  flushes: string;
  commits: string;
  bytes: string;
  inserted: string;
  updated: string;
  in_place: string;
  deleted: string;
}

async function counters(client: pg.Client): Promise<Counters> {
  const [version] = (await client.query<{ server_version_num: string }>("show server_version_num")).rows;
  const flushes =
    Number(version?.server_version_num) >= 180_000
      ? "(select coalesce(sum(fsyncs), 0) from pg_stat_io where object = 'wal')"
      : "(select wal_sync from pg_stat_wal)";
  const { rows } = await client.query<Counters>(
    `select pg_current_wal_insert_lsn() - '0/0'::pg_lsn as wal, ${flushes} as flushes, pg_database_size(current_database()) as bytes,
      (select xact_commit from pg_stat_database where datname = current_database()) as commits,
      coalesce(sum(n_tup_ins), 0) as inserted, coalesce(sum(n_tup_upd), 0) as updated,
      coalesce(sum(n_tup_hot_upd), 0) as in_place, coalesce(sum(n_tup_del), 0) as deleted
    from pg_stat_user_tables`,
  );
  if (rows[0] === undefined) throw new Error("PostgreSQL has no figures of itself");
  return rows[0];
}

function usage(postmaster: number, relays: readonly number[]) {
  const sum = (pids: readonly number[]) => pids.reduce((all, pid) => all + cpuMsOf(pid), 0);
  return {
    at: performance.now(),
    relays: sum(relays),
    threads: relays.map(threadMsOf),
    postgres: sum(descendants(postmaster)),
    machine: machineMs(),
  };
}

/** user, nice, system, idle, iowait, irq, softirq: ticks of 10 ms. */
function machineMs(): number {
  const [first = ""] = readFileSync("/proc/stat", "utf8").split("\n");
  const [user = 0, nice = 0, system = 0, , , irq = 0, soft = 0] = first.split(/\s+/).slice(1).map(Number);
  return (user + nice + system + irq + soft) * 10;
}
